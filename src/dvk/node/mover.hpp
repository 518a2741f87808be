// Moves of endpoints between nodes. The source alone decides: until it has said `commit` the
// endpoint is the source's, from then on it is the target's, and it says commit only when a process
// on the target has taken the state over. So there is never more than one owner, whatever breaks.
#pragma once

#include <map>

#include "dvk/node/directory.hpp"
#include "dvk/node/local_table.hpp"
#include "dvk/node/output.hpp"
#include "dvk/node/router.hpp"

namespace dvk::node {

class Mover {
 public:
  Mover(NodeId self, Output& output, LocalTable& locals, Directory& directory, Router& router);

  // --- Source ---
  // Freezes the endpoint and sends its state. The process hears MoveResult.
  void on_move_out(LocalEndpoint& local, NodeId target, BytesView state, const View& view,
                   TimePoint now);
  void on_move_cancel(const LocalEndpoint& local);
  void on_more(NodeId from, const wire::MoveMore& message);
  void on_ready(NodeId from, const wire::MoveReady& message, TimePoint now);
  void on_query(NodeId from, const wire::MoveQuery& message);
  void on_settled(NodeId from, const wire::MoveSettled& message);

  // --- Target ---
  // A process wants to adopt `name` or `address`. It hears Welcome when the state is here.
  void on_adopt(LocalEndpoint& adopter, const std::string& name, const Address& address);
  void on_adopt_ready(const LocalEndpoint& adopter);
  void on_prepare(NodeId from, const wire::MovePrepare& message, TimePoint now);
  void on_decision(NodeId from, const wire::MoveDecision& message, TimePoint now);
  // The directory's answer to a registration whose ticket owns_ticket.
  bool owns_ticket(std::uint64_t ticket) const { return settling_.contains(ticket); }
  void on_registered(std::uint64_t ticket);

  // --- Both ---
  // The process is gone (it is still in the table). True: the endpoint's end needs no further
  // notice.
  bool on_local_closed(const LocalEndpoint& local, TimePoint now);
  void on_link_up(NodeId node, bool has_restarted, TimePoint now);
  void on_link_down(NodeId node, TimePoint now);
  void on_node_lost(NodeId node, TimePoint now);
  void on_tick(TimePoint now);
  TimePoint next_deadline() const;

  static constexpr std::size_t state_bytes_max = 64 * 1024 * 1024;
  static constexpr std::size_t piece_bytes = 192 * 1024;
  static constexpr Duration give_up_after = std::chrono::seconds(30);
  static constexpr std::uint64_t ticket_bit = std::uint64_t{1} << 62;

 private:
  struct Outgoing {
    Handle handle{};
    NodeId target{};
    Bytes state{};
    std::size_t sent = 0;
    TimePoint give_up_at{};
  };
  struct Arrival {
    NodeId source{};
    Address address{};
    std::string name{};
    std::uint32_t uid = 0;
    std::uint64_t moves = 0;
    std::uint64_t total_bytes = 0;
    Bytes state{};
    Handle adopter{};  // 0: none yet
    bool is_ready = false;
    bool is_complete() const { return state.size() == total_bytes; }
  };
  struct Given {
    Address address{};
    NodeId target{};
  };
  struct Wish {
    ContainerId container{};
    std::string name{};
    Address address{};
  };
  using Key = std::pair<NodeId, std::uint64_t>;  // source and its move number

  void send_piece(std::uint64_t move, Outgoing& outgoing);
  void abort(std::uint64_t move, Errc reason, const std::string& detail);
  static bool may_adopt(const LocalEndpoint& adopter, ContainerId container,
                        const Arrival& arrival);
  void match(const Key& key, Arrival& arrival);
  void hand_over(const Key& key, Arrival& arrival, LocalEndpoint& adopter);
  void register_arrival(const Key& key, const wire::DirectoryEntry& entry, TimePoint now);
  void release_given_to(NodeId node);
  void drop_arrivals_from(NodeId node, bool also_ready, TimePoint now);
  void drop_arrival(const Key& key, TimePoint now);

  NodeId self_;
  Output& output_;
  LocalTable& locals_;
  Directory& directory_;
  Router& router_;
  std::map<std::uint64_t, Outgoing> outgoing_;
  Memory<std::uint64_t, bool> decisions_;  // moves that were committed
  std::map<std::uint64_t, Given> given_;   // moves committed, and the directory not told yet
  std::map<Key, Arrival> arrivals_;
  std::map<std::uint64_t, Key> settling_;  // by ticket of the registration
  std::uint64_t next_ticket_ = 1;
  std::map<Handle, Wish> wishes_;  // adopters that wait
};

}  // namespace dvk::node

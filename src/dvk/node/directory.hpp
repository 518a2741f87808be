// Names and places. Every node runs the agent; the node the view determines is also the authority.
//
// The authority stores nothing: after a change of view every agent reports its entries, and until
// all members have (in a static view: those that can be heard) requests are answered not_ready and
// asked again. Law: at most one live endpoint holds a name; an id once given to a name stays that
// name's id while the authority remembers.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dvk/node/local_table.hpp"
#include "dvk/node/output.hpp"
#include "dvk/node/view.hpp"

namespace dvk::node {

// Who asked gets the answer here, with the ticket given. Tickets are the asker's own numbers.
class DirectoryUpper {
 public:
  // error 0: registered; `id` is the id the endpoint shall have.
  virtual void registered(std::uint64_t ticket, Errc error, EndpointId id) = 0;
  virtual void found(std::uint64_t ticket, Errc error, const Address& address, NodeId node) = 0;
  virtual void promote(const Address& backup, EndpointId id, const std::string& name) = 0;

 protected:
  ~DirectoryUpper() = default;
};

class Directory {
 public:
  Directory(NodeId self, Output& output, DirectoryUpper& upper, LocalTable& locals);

  // --- Agent ---
  enum class Purpose : std::uint8_t {
    opening,    // given up after request_timeout
    promotion,  // never given up, nor is a move: the endpoint lives already
    move,       // goes on even when the endpoint ends, so that its old entry can be taken out
  };
  // Errors reported: name_in_use; unreachable when no authority answered in time.
  void register_endpoint(std::uint64_t ticket, const wire::DirectoryEntry& entry, Purpose purpose,
                         TimePoint now);
  // Also undoes a registration of that incarnation that is still under way, without an answer to
  // it.
  void unregister(const Address& address, std::uint64_t moves);
  // The endpoint was given to another node. Until that one has told the directory, and so all
  // later reports name the place, this node's reports go on naming it.
  void keep(const wire::DirectoryEntry& entry);
  void release(const Address& address);
  // unknown_endpoint if nobody holds the name, or if the endpoint is not known.
  void lookup(std::uint64_t ticket, ContainerId container, const std::string& name, TimePoint now);
  void locate(std::uint64_t ticket, const Address& address, TimePoint now);
  // The asker is gone.
  void forget(std::uint64_t ticket);

  // --- From outside ---
  void on_register(NodeId from, const wire::Register& message);
  void on_unregister(NodeId from, const wire::Unregister& message);
  void on_lookup(NodeId from, const wire::Lookup& message);
  void on_locate(NodeId from, const wire::Locate& message);
  void on_report(NodeId from, const wire::Report& message);
  void on_report_query(NodeId from, const wire::ReportQuery& message, TimePoint now);
  void on_promote(const wire::Promote& message);
  void on_registered(const wire::Registered& message, TimePoint now);
  void on_lookup_result(const wire::LookupResult& message, TimePoint now);
  void install_view(const View& view, TimePoint now);
  // Frozen, nobody keeps the directory as far as this node is concerned: what is asked waits.
  void freeze(const View& view, TimePoint now) {
    install_view({view.number, {}, view.is_static}, now);
  }
  // The others see no new view, so they are asked for what they hold.
  void thaw(const View& view, TimePoint now) {
    install_view(view, now);
    query_reports();
  }
  void on_link_up(NodeId node, bool has_restarted, TimePoint now);
  void on_link_down(NodeId node);
  void on_node_lost(NodeId node);
  void on_tick(TimePoint now);
  TimePoint next_deadline() const;

  static constexpr Duration request_timeout = std::chrono::seconds(5);
  static constexpr Duration retry_after = std::chrono::milliseconds(50);
  static constexpr Duration repeat_after = std::chrono::seconds(1);

 private:
  struct Pending {
    std::uint64_t ticket = 0;
    wire::NodeMessage message;
    TimePoint give_up_at{}, send_at{};
    bool is_move = false;
    bool is_undone = false;  // a move whose endpoint has ended: taken back as soon as it is entered
    unsigned times_sent = 0;
  };
  struct Entry {
    wire::DirectoryEntry entry;
    NodeId node{};
  };
  using Name = std::pair<ContainerId, std::string>;

  // Agent
  void ask(Pending question, TimePoint now);
  void ask_anew(TimePoint now);
  void transmit(std::uint64_t request, Pending& pending, TimePoint now);
  void fail(const Pending& pending, Errc error);
  std::vector<wire::DirectoryEntry> own_entries();
  void send_report();
  void query_reports();
  // Authority
  void keep_early(NodeId from, const wire::Report& report);
  void take_early_reports();
  bool is_authority() const { return view_.directory_authority() == self_; }
  bool is_ready(std::uint64_t view) const {
    return is_authority() && view == view_.number && unreported_.empty();
  }
  void await(NodeId from, const wire::DirectoryEntry& entry);
  void strike(NodeId from, const wire::Unregister& message);
  Errc enter(NodeId from, const wire::DirectoryEntry& entry, EndpointId& id);
  void remove(const Address& address);
  void remove_node(NodeId node);
  std::set<NodeId> awaited_members() const;
  void replace_node(NodeId node, bool is_lost);
  void promote_backup(const Name& name);
  void promote_orphans();
  void has_reported(NodeId node);
  void become_ready();
  void send(NodeId node, const wire::NodeMessage& message);

  NodeId self_;
  Output& output_;
  DirectoryUpper& upper_;
  LocalTable& locals_;
  View view_;
  std::set<NodeId> down_;  // links given up
  TimePoint now_{};        // for answers that come from this very node

  std::map<std::uint64_t, Pending> pending_;  // by request number
  std::uint64_t next_request_ = 1;
  std::map<Address, wire::DirectoryEntry> kept_;

  std::set<NodeId> unreported_;  // members whose report is still missing
  // Reports of members that learnt of a view before this node did: nobody would send them again.
  std::map<NodeId, std::vector<wire::Report>> early_reports_;
  // Registrations that came before all reports were there. Not those of backups: one that has no
  // answer yet could not be promoted.
  std::map<Address, Entry> awaiting_;
  std::map<Address, Entry> entries_;
  std::map<Name, Address> holders_;
  std::map<Name, std::vector<Address>> backups_;
  std::map<Name, Address> promoting_;
  Memory<Name, EndpointId> past_ids_;
};

}  // namespace dvk::node

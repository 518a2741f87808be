// What an Endpoint does: drives an EndpointCore with the rings, the attach socket and the clock.
//
// One thread at a time. Every public call ends with everything sent off that can be (send_off), so
// nothing lies in a ring unseen while the program does something else.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <dvk/endpoint.hpp>

#include "dvk/core/endpoint_core.hpp"
#include "dvk/lib/attachment.hpp"
#include "dvk/lib/express_path.hpp"
#include "dvk/lib/ring_path.hpp"
#include "runtime/event.hpp"

namespace dvk {

struct Canceller::State {
  dvs::runtime::Event event;
};

// How long the daemon is given for what takes it a moment, whatever the caller's deadline.
constexpr auto daemon_patience = std::chrono::seconds(10);

// The state a move carries: the library's and the application's.
struct MovedState {
  Bytes core, application;
  void fields(auto&& field) { field(core, application); }
};

class EndpointImpl final : core::Carrier {
 public:
  static Result<std::unique_ptr<EndpointImpl>> open(const Options& options, wire::HelloKind kind,
                                                    const Address& address, Bytes* state);
  ~EndpointImpl();

  core::EndpointCore& core() { return *core_; }
  NodeId node() const { return node_; }
  const std::shared_ptr<Canceller::State>& canceller() const { return canceller_; }

  // --- Names ---
  Result<Address> lookup(std::string_view name, Deadline deadline);
  Result<std::vector<NodeId>> nodes(Deadline deadline);

  // --- Messages ---
  Result<void> send(const Address& to, BytesView payload, Deadline deadline);
  Result<void> flush(const Address& to, Deadline deadline);
  Result<core::Incoming> take(const core::EndpointCore::Filter& filter, Deadline deadline);
  Result<void> reply(const Address& to, std::uint64_t call, BytesView payload);
  Result<Bytes> call(const Address& to, BytesView payload, Deadline deadline);
  Result<std::uint64_t> start_call(const Address& to, BytesView payload);
  Result<Bytes> finish_call(std::uint64_t call, Deadline deadline);
  void cancel_call(std::uint64_t call);
  Result<void> notify(const Address& to, std::uint64_t bits);
  Result<void> watch(const Address& peer);

  // --- Memory ---
  Result<std::uint64_t> grant(const void* memory, std::size_t bytes, Access access,
                              const Address& to);
  Result<void> revoke(std::uint64_t grant, Deadline deadline);
  Result<std::uint64_t> start_copy(const wire::CopyOrder& order);
  Result<void> finish_copy(std::uint64_t copy, Deadline deadline);

  // --- Moving ---
  Result<void> move_to(NodeId target, BytesView state, Deadline deadline);

  // --- Event loops ---
  int poll_fd() const { return attachment_.waiter.epoll_fd(); }
  Result<dvs::Duration> prepare_sleep();
  Result<void> serve();

 private:
  EndpointImpl(lib::Attachment attachment, std::shared_ptr<Canceller::State> canceller);

  Result<void> become_open(const wire::Welcome& welcome, std::vector<lib::Fd>& fds, Bytes* state,
                           Deadline deadline);
  Result<void> await_welcome(Deadline deadline, wire::Welcome& welcome, std::vector<lib::Fd>& fds);

  // core::Carrier
  bool transmit(const Address& peer, const wire::PacketHeader& header, BytesView payload) override;
  void publish(const Address& peer, const core::Acknowledgement& acknowledgement) override;
  void want_route(const Address& peer) override;

  // --- The pump ---
  // Takes in what there is and sends off what can be. Errors: what ended the endpoint.
  Result<void> pump();
  // Waits until `is_done()`, pumping meanwhile. Errors: deadline, would_block, cancelled, detached,
  // moved.
  template <class Predicate>
  Result<void> wait_until(Predicate is_done, Deadline deadline);
  bool has_input();
  Result<void> wait_for_input(dvs::TimePoint until);
  Result<void> take_events();
  void take_control();
  void on_control(lib::ControlMessage message);
  void on_route(const wire::Route& route, std::vector<lib::Fd>& fds);
  void take_from_daemon();
  void take_from(lib::RingPath& path);
  bool take_record(ring::RingConsumer& ring, std::optional<Address> peer);
  void send_off();
  // Goes on after a move, or after one that failed.
  void thaw();
  void end(dvs::Error reason);
  void break_path(const Address& peer);

  lib::RingPath* ring_to(const Address& peer);
  void drop_ring(const Address& peer);
  void drop_all_paths();
  Result<void> ensure_route(const Address& peer, Deadline deadline);
  Result<void> await_room(const Address& to, std::size_t bytes, Deadline deadline);
  Result<void> check_usable() const;

  // --- Express connections (endpoint_express.cpp) ---
  struct ExpressUse {
    std::unique_ptr<lib::ExpressPath> path;
    std::uint64_t token = 0;  // in the waiter's set
    bool is_dirty = false;
    bool is_watching_write = false;
  };
  struct Relayed {
    std::uint64_t packets = 0;
    std::uint64_t ask_at = 0;
  };
  void count_relayed(const Address& peer);
  void on_express(const wire::Route& route, std::vector<lib::Fd>& fds);
  void on_express_event(std::uint64_t token);
  bool express_has_input();
  void take_from_express();
  static bool push_express(ExpressUse& use, BytesView header, BytesView payload);
  void send_off_express();
  void watch_writable(ExpressUse& use);
  void fall_back(const Address& peer);
  void drop_express(const Address& peer);

  // --- Copies (endpoint_copies.cpp) ---
  Result<void> ensure_routes(const wire::CopyOrder& order, Deadline deadline);
  Result<void> order_copy(std::uint64_t copy, const wire::CopyOrder& order);
  std::optional<Result<void>> copy_directly(const wire::CopyOrder& order);
  Result<void> move_bytes(lib::RingPath& path, const wire::CopyOrder& order, bool is_read);
  void on_copy_result(std::uint64_t copy, BytesView payload);

  lib::Attachment attachment_;
  std::shared_ptr<Canceller::State> canceller_;
  std::optional<core::EndpointCore> core_;
  NodeId node_{};
  std::optional<dvs::Error> end_;  // set: nothing works any more
  dvs::TimePoint now_{};           // of the pump's current turn

  std::map<Address, std::unique_ptr<lib::RingPath>> rings_;
  lib::RingPath* last_ring_ = nullptr;
  bool is_daemon_dirty_ = false;    // pushed to the daemon's ring and not sent off
  bool is_daemon_blocked_ = false;  // a push to the daemon found no room
  std::set<Address> blocked_by_daemon_;
  std::map<Address, ExpressUse> express_;
  std::map<std::uint64_t, Address> express_peers_;  // by token
  std::uint64_t next_token_ = lib::token_cancel + 1;
  std::map<Address, Relayed> relayed_;
  std::vector<Address> broken_;  // peers whose ring is rubbish, found in the middle of a call
  unsigned turns_since_look_ = 0;
  bool is_cancelled_ = false;

  // Answers that are waited for. One at a time: an endpoint is used by one thread.
  std::uint64_t next_request_ = 1;
  std::optional<wire::NameResult> name_result_;
  std::optional<wire::NodesResult> nodes_result_;
  std::optional<wire::MoveResult> move_result_;
  std::uint64_t barrier_ = 0;
  std::optional<std::pair<Address, Errc>> last_gone_;
  std::set<Address> routed_;              // peers to which a way was found in this life
  std::set<Address> found_while_frozen_;  // neighbours that were given a ring to us, not taken then

  struct Copy {
    wire::CopyOrder order{};
    bool is_done = false;
    Errc error{};
  };
  std::map<std::uint64_t, Copy> copies_;
  std::uint64_t next_copy_ = 1;
};

template <class Predicate>
Result<void> EndpointImpl::wait_until(Predicate is_done, Deadline deadline) {
  while (true) {
    DVS_CHECK(pump());
    if (is_done()) return {};
    if (deadline.is_now()) {
      DVS_TRY(const bool has_events, attachment_.waiter.look());
      if (!has_events) return dvs::fail(Errc::would_block);
      DVS_CHECK(take_events());
      DVS_CHECK(pump());
      if (is_done()) return {};
      return dvs::fail(Errc::would_block);
    }
    if (std::exchange(is_cancelled_, false)) return dvs::fail(Errc::cancelled);
    if (now_ >= deadline.at()) return dvs::fail(Errc::deadline);
    send_off();
    DVS_CHECK(wait_for_input(std::min(deadline.at(), core_->next_deadline())));
  }
}

}  // namespace dvk

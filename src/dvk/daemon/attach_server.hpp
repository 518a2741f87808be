// The attach sockets, one per container, and everything attached to them.
//
// Runs on the daemon's thread, driven by events of its Waiter; nothing blocks. Whoever breaks the
// protocol loses its connection. A connection that is to be closed stays in place, deaf, until
// `reap`: so nothing vanishes under a caller's hands.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "dvk/daemon/attached_process.hpp"
#include "dvk/daemon/config.hpp"
#include "dvk/ring/waiter.hpp"

namespace dvk::daemon {

using dvs::TimePoint;

// What the server tells the layer above. Must not destroy the server; may call it.
class AttachUpper {
 public:
  virtual void on_hello(AttachedProcess& process, const wire::Hello& hello) = 0;
  // `state`: the moved state, with MoveOut only.
  virtual void on_message(AttachedProcess& process, const wire::ToDaemon& message,
                          dvs::BytesView state) = 0;
  virtual void on_packet(AttachedProcess& process, const wire::Packet& packet) = 0;
  // Only for those whose Hello was handed up. The process is gone when this returns.
  virtual void on_closed(AttachedProcess& process) = 0;

 protected:
  ~AttachUpper() = default;
};

class AttachServer {
 public:
  // Tokens of this server's descriptors in the waiter have this bit set.
  static constexpr std::uint64_t token_bit = std::uint64_t{1} << 62;

  // Binds the sockets of all containers. `waiter` and `upper` must outlive the server. Errors:
  // system, invalid_argument (a path is too long).
  static Result<std::unique_ptr<AttachServer>> create(const Config& config, ring::Waiter& waiter,
                                                      AttachUpper& upper);
  // Closes everything without telling the layer above, and removes the socket files.
  ~AttachServer();
  AttachServer(const AttachServer&) = delete;
  AttachServer& operator=(const AttachServer&) = delete;

  // --- The loop ---
  void on_event(const ring::Waiter::Event& event, TimePoint now);
  // Hands up packets of every ring, a bounded number each. True: there were some.
  bool take_packets();
  // Whether take_packets would find something. Cheap, to be polled.
  bool has_packets() const;
  // Makes what was pushed visible, wakes whom it concerns, sends control messages. To be called at
  // the end of every turn.
  void flush();
  // Before sleeping: asks to be woken for room where results wait. False: there is room already.
  bool request_room();
  void on_tick(TimePoint now);
  TimePoint next_deadline() const { return deadline_; }
  // Closes what is to be closed. Not from within AttachUpper.
  void reap();

  // --- The layer above ---
  AttachedProcess* find(Handle handle);
  // Sends a control message; whatever it says of the connection (rings for Welcome, the end for
  // Refused) is done too.
  void send(AttachedProcess& process, const wire::ToProcess& message, dvs::BytesView state);
  void send(AttachedProcess& process, const wire::ToProcess& message, std::vector<SharedFd> fds);
  // To be published by flush.
  void mark_dirty(AttachedProcess& process);
  // The connection will be closed by reap. `why` is for the log.
  void doom(AttachedProcess& process, const dvs::Error& why);
  std::size_t size() const { return processes_.size(); }
  void for_each(const std::function<void(AttachedProcess&)>& each);
  // No new connections; all present ones are told by their sockets' end, and the layer above hears
  // on_closed.
  void close_all();

 private:
  struct Listener {
    const ContainerConfig* container = nullptr;
    dvs::runtime::Fd socket;
    std::size_t connections = 0;
    std::size_t endpoints = 0;         // those that have said hello
    TimePoint resume_at = dvs::never;  // accepting is paused until then
  };

  AttachServer(const Config& config, ring::Waiter& waiter, AttachUpper& upper);
  Result<void> listen();
  void accept(Listener& listener, TimePoint now);
  Result<void> take_connection(Listener& listener, dvs::runtime::Fd socket, TimePoint now);
  void pause(Listener& listener, TimePoint now);
  void read(AttachedProcess& process, TimePoint now);
  Result<void> handle(AttachedProcess& process, dvs::runtime::Packet& packet, dvs::BytesView bytes);
  Result<void> greet(AttachedProcess& process, const wire::ToDaemon& message,
                     std::vector<dvs::runtime::Fd> fds);
  Result<void> take_move(AttachedProcess& process, const wire::ToDaemon& message,
                         const std::vector<dvs::runtime::Fd>& fds);
  // So many bytes; 0: none, or the process broke the rules.
  std::size_t take_packets(AttachedProcess& process, std::size_t bytes_max);
  void set_deadline(TimePoint when) { deadline_ = std::min(deadline_, when); }
  Result<void> count_in(AttachedProcess& process);
  void refuse(AttachedProcess& process, Errc error, const std::string& detail);
  void flush_control(AttachedProcess& process);
  void watch(AttachedProcess& process);
  void close(AttachedProcess& process);
  Listener& listener_of(const AttachedProcess& process);

  const Config& config_;
  ring::Waiter& waiter_;
  AttachUpper& upper_;
  std::vector<Listener> listeners_;
  std::map<Handle, std::unique_ptr<AttachedProcess>> processes_;
  std::uint64_t next_handle_ = 1;
  std::size_t endpoints_ = 0;
  std::vector<AttachedProcess*> with_rings_;
  std::vector<AttachedProcess*> dirty_;   // to publish
  std::vector<AttachedProcess*> chatty_;  // with control messages to send
  std::vector<Handle> doomed_;
  dvs::Bytes buffer_;                // for control messages
  dvs::Bytes order_copy_;            // of a payload that the daemon itself reads
  TimePoint deadline_ = dvs::never;  // not later than the earliest time anything waits for
};

}  // namespace dvk::daemon

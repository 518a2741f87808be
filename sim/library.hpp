// What libdvk does inside a process: it keeps an EndpointCore, speaks the attach protocol with the
// daemon, and carries packets over the ring to the daemon or the ring to a peer beside it.
//
// Rules that go beyond the messages themselves:
//  * While frozen it believes no route, and what comes by the old ones is lost: it asks for all
//  anew
//    when it goes on.
//  * Before a peer's end is believed, what it had written into its ring is read.
//  * Only the ring that came with the latest route to a peer is read and written.
//  * A move begins only after a barrier, when no grant is valid any more, and with no copy ordered.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "dvk/core/endpoint_core.hpp"
#include "sim/attachment.hpp"
#include "sim/context.hpp"
#include "sim/node_clock.hpp"

namespace sim {

// The program around the library. Called when the library has finished what it was doing.
class LibraryUpper {
 public:
  virtual void on_welcome() = 0;
  virtual void on_refused(dvs::Errc error) = 0;
  virtual void on_adopting() = 0;  // the state is taken over, the decision is still out
  virtual void on_adopt_result(dvs::Errc error) = 0;
  virtual void on_frozen() = 0;
  virtual void on_move_result(dvs::Errc error) = 0;
  virtual void on_promoted(const Address& old) = 0;
  virtual void on_mail() = 0;  // something may have come or ended, or may be sent now
  virtual void on_name(std::uint64_t request, dvs::Errc error, const Address& address) = 0;
  virtual void on_barrier(std::uint64_t request) = 0;
  virtual void on_copy_end(std::uint64_t copy, dvs::Errc error) = 0;

 protected:
  ~LibraryUpper() = default;
};

class Library final : dvk::core::Carrier, public RingReader {
 public:
  Library(Context& context, Attachment& attachment, LibraryUpper& upper, const NodeClock& clock,
          const dvk::wire::Hello& hello);

  // Was welcomed; an adopter: with the state of what it adopts.
  bool has_endpoint() const { return core_.has_value(); }
  // Has an endpoint that may act.
  bool is_active() const { return state_ == State::active; }
  bool is_backup() const { return is_backup_; }
  const Address& address() const { return core_->self(); }
  dvk::core::EndpointCore& core() { return *core_; }
  dvs::TimePoint now() const { return clock_.local(context_.now()); }
  const NodeClock& clock() const { return clock_; }
  // To be called after each use of the core.
  void settle();

  std::uint64_t look_up(const std::string& name);
  std::uint64_t ask_barrier();
  // Orders a copy as soon as both sides can be reached.
  std::uint64_t order_copy(const dvk::wire::CopyOrder& order);
  bool has_copies() const { return !copies_.empty(); }
  // Ends in on_move_result. All grants must have been revoked, and no copies be ordered.
  void begin_move(NodeId target);
  void cancel_move();
  // Puts a packet of any kind into the ring to the daemon, as only a hostile program would.
  void forge(const dvk::wire::PacketHeader& header, dvs::Bytes payload);
  // The process is gone.
  void stop();

  // --- From the daemon ---
  void on_daemon_message(ToProcessItem&& item);
  void on_daemon_packet(RingRecord&& record);
  void on_daemon_ring_room() { on_ring_room(); }

 private:
  enum class State : std::uint8_t { attaching, active, preparing_move, moving, adopting, ended };
  struct Copy {
    dvk::wire::CopyOrder order;
    bool is_sent = false;
  };

  // Carrier
  bool transmit(const Address& peer, const dvk::wire::PacketHeader& header,
                dvs::BytesView payload) override;
  void publish(const Address& peer, const dvk::core::Acknowledgement& acknowledgement) override;
  void want_route(const Address& peer) override;
  // RingReader
  void on_peer_packet(PeerRing& ring, RingRecord&& record) override;
  void on_peer_words(PeerRing& ring, const dvk::core::Acknowledgement& words) override;
  void on_ring_room() override;
  Instant rings_ready_at() const override;

  void on_welcome(const dvk::wire::Welcome& message, dvs::BytesView state);
  void on_route(const dvk::wire::Route& route, std::shared_ptr<PeerRing> ring);
  void on_gone(const Address& peer, dvs::Errc reason);
  void on_move_result(const dvk::wire::MoveResult& message);
  void on_promoted(const Address& address);
  void freeze_and_move();
  void thaw();
  void use_ring(const Address& peer, std::shared_ptr<PeerRing> ring);
  const Address* peer_of(const PeerRing& ring) const;
  bool push_to_daemon(RingRecord record);
  void try_copies();
  bool is_reachable(const Address& peer);
  void end_copy(std::uint64_t copy, dvs::Errc error);
  void tell_daemon(dvk::wire::ToDaemon message, dvs::Bytes state = {});
  void tell_daemon_closed();
  void tick();
  void flush_blocked();

  Context& context_;
  Attachment& attachment_;
  LibraryUpper& upper_;
  NodeClock clock_;
  State state_ = State::attaching;
  bool is_adopter_ = false;
  bool is_backup_ = false;
  std::optional<dvk::core::EndpointCore> core_;
  std::map<Address, std::shared_ptr<PeerRing>> rings_;  // peers reached by a ring
  std::set<Address> blocked_;                           // peers whose packets found no room
  std::map<std::uint64_t, Copy> copies_;
  std::uint64_t next_request_ = 1;
  NodeId move_target_{};
  std::uint64_t move_barrier_ = 0;
  Alarm tick_alarm_, room_alarm_, copy_alarm_;
};

}  // namespace sim

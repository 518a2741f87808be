// All links of a node: the listener, one Link per peer, and the clock that drives them.
//
// Runs on one io_context that one thread runs; every function must be called from that thread.
// Nothing here blocks. Messages and events come by LinkSetUpper, synchronously from the loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/core/link_core.hpp"
#include "dvk/link/buffer_pool.hpp"
#include "dvk/link/compression.hpp"
#include "dvk/link/lane.hpp"
#include "dvk/link/lane_driver.hpp"
#include "dvk/link/pki.hpp"
#include "dvk/link/task_scope.hpp"
#include "dvk/link/transport.hpp"
#include "runtime/fd.hpp"

namespace dvk::link {

struct LinkSetConfig {
  dvs::NodeId self{};
  wire::ClusterId cluster{};
  std::uint64_t boot = 0;  // unique per start of this daemon; never 0
  std::string listen_host = "0.0.0.0";
  std::uint16_t listen_port = 0;  // 0: any free one, see LinkSet::port
  std::vector<PeerAddress> peers;
  NodeFiles certificate;            // not looked at with insecure_plaintext
  bool insecure_plaintext = false;  // no encryption, and peers are believed without a certificate
  bool is_compressing = false;      // payloads of at least compressed_bytes_min, where it pays
  std::size_t retained_bytes_max = 4 * 1024 * 1024;  // per peer and lane, not acknowledged
  core::LinkTimings timings{};  // retransmission is not used: TCP loses nothing
};

// The layer above. May call LinkSet::send, has_room, flush and cut from within; not stop.
class LinkSetUpper {
 public:
  // The next message from that node on that lane; the view is valid during the call.
  virtual void on_message(dvs::NodeId from, Lane lane, dvs::BytesView payload) = 0;
  // State changes, new sessions (with what was lost), room after a full queue.
  virtual void on_event(dvs::NodeId peer, Lane lane, const core::LinkEvent& event) = 0;
  // A connection could not be made or had to be closed. `peer` is no_node when it did not get as
  // far as saying who it is. A failure to dial that repeats is told once. Codes: version_mismatch,
  // wrong_cluster, certificate_expired, certificate_rejected, protocol_violation, unreachable,
  // system.
  virtual void on_connection_failed(dvs::NodeId peer, const dvs::Error& error) = 0;
  // All that had come in on one connection has been handed over; what is sent from within leaves at
  // once, together with everything that was sent since.
  virtual void on_batch_end() {}
  // A process wants to talk to one here directly. The socket is connected, non-blocking, and
  // nothing but preface and token was read from it. Whoever does not know the token closes it.
  virtual void on_express(dvs::runtime::Fd socket, const ExpressToken& token) {
    static_cast<void>(socket);
    static_cast<void>(token);
  }

 protected:
  ~LinkSetUpper() = default;
};

class LinkSet final : private LaneOwner {
 public:
  // Loads the certificates, binds the listener. `io` and `upper` must outlive the set.
  // Errors: certificate_rejected (files unusable), invalid_argument, system.
  static dvs::Result<std::unique_ptr<LinkSet>> create(boost::asio::io_context& io,
                                                      LinkSetConfig config, LinkSetUpper& upper);
  // Either never started, or stop has completed.
  ~LinkSet();

  // Begins to accept and dial.
  void start();
  // Closes everything and completes when no coroutine of the set is left. What was not acknowledged
  // is lost. To be awaited by a coroutine on `io` that is not called from LinkSetUpper.
  boost::asio::awaitable<void> stop();

  // Adds a peer, or changes the address at which it is dialled next.
  // Errors: invalid_argument (this node itself, or no node).
  dvs::Result<void> add_peer(const PeerAddress& peer);
  std::uint16_t port() const { return port_; }

  // Queues a message; it leaves at the end of the current turn of the loop. The payload is consumed
  // in every case. Errors: message_too_large, queue_full (an event follows), unreachable (the link
  // is down, or there is no such peer).
  dvs::Result<void> send(dvs::NodeId to, Lane lane, dvs::Bytes payload);
  // Whether a message of any allowed size would be taken; when false, room_available follows.
  bool has_room(dvs::NodeId to, Lane lane) const;
  // Writes what is queued for that node now rather than at the end of the turn.
  void flush(dvs::NodeId to);
  // A buffer of that size for `send`, with any contents: reused, so that large ones cost no page
  // faults.
  dvs::Bytes take_buffer(std::size_t bytes) { return pool_.take(bytes); }

  core::LinkState state(dvs::NodeId peer, Lane lane = Lane::message) const;
  const core::LinkStatistics* statistics(dvs::NodeId peer,
                                         Lane lane) const;  // nullptr: no such peer
  std::uint64_t peer_boot(dvs::NodeId peer) const;          // 0: never heard

  // Connects to the listener of that node, shows the token and hands the socket to `then`,
  // connected and non-blocking. Should it fail, or the set be stopped meanwhile, `then` is not
  // called.
  using ThenSocket = std::function<void(dvs::runtime::Fd)>;
  void dial_express(dvs::NodeId to, const ExpressToken& token, ThenSocket then);

  // For tests: breaks both connections to that node as a failing network would. False: there was
  // none.
  bool cut(dvs::NodeId peer);

 private:
  struct Peer {
    PeerAddress address;
    std::array<std::unique_ptr<LaneDriver>, lane_count> lanes;
  };

  LinkSet(boost::asio::io_context& io, LinkSetConfig config, LinkSetUpper& upper,
          std::unique_ptr<Transport> transport, std::uint16_t port);

  // LaneOwner
  void on_lane_message(LaneDriver& lane, dvs::BytesView payload) override;
  void on_lane_event(LaneDriver& lane, const core::LinkEvent& event) override;
  void on_lane_dirty(LaneDriver& lane) override;
  void begin_batch() override { ++batches_; }
  void end_batch() override;
  void spawn(boost::asio::awaitable<void> task) override { scope_.spawn(std::move(task)); }
  BufferPool& pool() override { return pool_; }
  Compressor* compressor() override { return config_.is_compressing ? &compressor_ : nullptr; }
  Compressor& expander() override { return compressor_; }

  class IncomingSlot;

  LaneDriver* find(dvs::NodeId id, Lane lane) const;
  void start_dialling(Peer& peer);
  boost::asio::awaitable<void> dial_forever(LaneDriver& lane);
  boost::asio::awaitable<dvs::Result<void>> dial_once(LaneDriver& lane);
  void report(LaneDriver& lane, const dvs::Error& error);
  boost::asio::awaitable<void> accept_forever();
  boost::asio::awaitable<void> connect_express(PeerAddress to, ExpressToken token, ThenSocket then);
  boost::asio::awaitable<void> take_incoming(dvs::runtime::Fd socket);
  boost::asio::awaitable<void> take_connection(std::unique_ptr<Connection> connection,
                                               IncomingSlot& slot);
  // The lane that a hello asks for, if the connection may have it. Sets `claimed` to who it says it
  // is.
  dvs::Result<LaneDriver*> lane_for(const Connection& connection, const wire::Frame& frame,
                                    dvs::NodeId& claimed);
  boost::asio::awaitable<void> run_clock();
  void arm(dvs::TimePoint deadline);
  void flush_dirty();

  LinkSetConfig config_;
  LinkSetUpper& upper_;
  std::unique_ptr<Transport> transport_;
  std::uint16_t port_;
  BufferPool pool_;
  Compressor compressor_;
  std::map<dvs::NodeId, Peer> peers_;
  std::vector<LaneDriver*> dirty_;
  bool is_flush_posted_ = false;
  unsigned batches_ = 0;  // under way: one, or none
  bool is_started_ = false;
  bool is_stopping_ = false;
  std::size_t incoming_ = 0;  // connections that have not said who they are
  boost::asio::steady_timer clock_;
  dvs::TimePoint armed_for_ = dvs::never;
  TaskScope scope_;
};

}  // namespace dvk::link

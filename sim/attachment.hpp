// What joins a process to its daemon (the attach socket and two rings), and two processes of one
// node to each other (a pair of rings).
#pragma once

#include <memory>
#include <optional>
#include <variant>

#include "dvk/core/conversation.hpp"
#include "dvk/node/output.hpp"
#include "sim/channel.hpp"
#include "sim/context.hpp"

namespace sim {

using dvk::node::Handle;
using dvs::NodeId;

class Process;
class PeerRing;

struct RingRecord {
  dvk::wire::PacketHeader header;
  dvs::Bytes payload;
  std::size_t bytes() const { return sizeof(header) + payload.size(); }
};

// One end of the pair of rings between two processes.
class RingReader {
 public:
  virtual void on_peer_packet(PeerRing& ring, RingRecord&& record) = 0;
  virtual void on_peer_words(PeerRing& ring, const dvk::core::Acknowledgement& words) = 0;
  virtual void on_ring_room() = 0;
  // When it next reads its rings; end_of_time when it is dead.
  virtual Instant rings_ready_at() const = 0;

 protected:
  ~RingReader() = default;
};

// Lossless and in order until it is replaced or an end dies; the side words are never queued, only
// the latest can be seen.
class PeerRing {
 public:
  PeerRing(Context& context, RingReader& first, RingReader& second);

  // False: no room.
  bool push(const RingReader& sender, RingRecord record);
  void publish(const RingReader& sender, const dvk::core::Acknowledgement& words);
  // Reads what has been written so far.
  void drain(const RingReader& reader);
  // The reader has got its end, and reads from now on. What was written before waits in the ring.
  void open(const RingReader& reader);
  // Reads no more.
  void close(const RingReader& reader);

 private:
  struct Side {
    Side(Context& context, PeerRing& ring, RingReader& reader, RingReader& writer);
    void show_words();
    Instant ready_at() const { return is_open ? reader.rings_ready_at() : end_of_time; }

    Context& context;
    PeerRing& ring;
    RingReader& reader;
    Channel<RingRecord> records;  // to `reader`
    bool is_open = false;
    std::optional<dvk::core::Acknowledgement> words;
    Alarm alarm;
  };
  Side& to(const RingReader& reader) { return &first_.reader == &reader ? first_ : second_; }
  Side& from(const RingReader& writer) { return &first_.reader == &writer ? second_ : first_; }

  Side first_, second_;
};

struct ToDaemonItem {
  std::optional<dvk::wire::ToDaemon> message;  // nothing: the socket was closed
  dvs::Bytes state;
};
struct ToProcessItem {
  dvk::wire::ToProcess message;
  dvs::Bytes state;
  std::shared_ptr<PeerRing> ring;  // the descriptors of a Route
};

struct Attachment {
  Attachment(Context& context, Handle its_handle, dvs::ContainerId its_container,
             std::uint32_t its_uid, Process& its_process,
             Channel<ToDaemonItem>::Receiver daemon_socket,
             Channel<RingRecord>::Receiver daemon_ring,
             Channel<ToProcessItem>::Receiver process_socket,
             Channel<RingRecord>::Receiver process_ring)
      : handle(its_handle),
        container(its_container),
        uid(its_uid),
        process(its_process),
        to_daemon(context.scheduler, context.random, context.scenario.local_delay, 0,
                  std::move(daemon_socket)),
        ring_to_daemon(context.scheduler, context.random, context.scenario.local_delay,
                       context.scenario.ring_bytes, std::move(daemon_ring)),
        to_process(context.scheduler, context.random, context.scenario.local_delay, 0,
                   std::move(process_socket)),
        ring_to_process(context.scheduler, context.random, context.scenario.local_delay,
                        context.scenario.ring_bytes, std::move(process_ring)) {}

  Handle handle;
  dvs::ContainerId container;
  std::uint32_t uid;
  Process& process;
  Channel<ToDaemonItem> to_daemon;
  Channel<RingRecord> ring_to_daemon;
  Channel<ToProcessItem> to_process;
  Channel<RingRecord> ring_to_process;
};

}  // namespace sim

// Byte streams between two nodes, carried over a lane of the link between them.
//
// Whoever wants a stream makes a socket pair and gives one end to open(); the other node is handed
// an end of a pair of its own. So a library that insists on sockets of its own talks through the
// one port of a node, authenticated and encrypted like all else, and never sees an address.
//
// A stream lives within one session of the lane: when that breaks, all streams of the peer end,
// and their owners open new ones. Nothing is lost or doubled within a stream.
//
// Bounds: bytes are read from a socket only while the lane has room. What the other end's socket
// does not take waits here; a stream that lets more than waiting_bytes_max gather is closed, as are
// streams beyond streams_max of a node.
//
// Not thread-safe: one event loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/link/socket.hpp"
#include "dvk/link/task_scope.hpp"
#include "runtime/fd.hpp"

namespace dvs::cluster {

// One message on the lane: this head, then bytes if it is data.
struct StreamHead {
  enum class Kind : std::uint8_t { open = 1, data = 2, close = 3 };
  Kind kind{};
  std::uint8_t is_from_opener = 0;  // the other direction otherwise
  std::uint16_t reserved[3] = {};
  std::uint64_t stream = 0;  // numbered by the node that opened it, never reused within a session
};
static_assert(sizeof(StreamHead) == 16);

// What the carrier needs. Its owner implements it.
class StreamUpper {
 public:
  // Whether the lane to the node takes a message of data_bytes_max and a head.
  virtual bool has_room(NodeId node) = 0;
  // Sends on the lane, in order. A message that cannot be sent may be dropped only if the session
  // of the lane ends with it, which on_session_end then tells. Must not call back.
  virtual void send(NodeId node, Bytes message) = 0;
  // The other node has opened a stream; `end` is this node's end of it.
  virtual void on_stream(NodeId from, dvs::runtime::Fd end) = 0;

 protected:
  ~StreamUpper() = default;
};

class StreamCarrier {
 public:
  static constexpr std::size_t data_bytes_max = 64 * 1024;
  static constexpr std::size_t waiting_bytes_max = 16 * 1024 * 1024;
  static constexpr std::size_t streams_max = 16;  // of one node, opened by one side

  // Both must outlive the carrier; `io` runs in one thread.
  StreamCarrier(boost::asio::io_context& io, StreamUpper& upper);
  ~StreamCarrier();

  // Carries what comes from `end` to the node, and back. A node that cannot be reached closes it.
  void open(NodeId node, dvs::runtime::Fd end);
  // A message of the lane. Errors: protocol_violation (rubbish; the streams go on).
  Result<void> on_message(NodeId from, BytesView message);
  void on_room(NodeId node);
  // What was under way on the lane is lost.
  void on_session_end(NodeId node);
  // Closes everything. To be awaited before the end.
  boost::asio::awaitable<void> stop();

  std::size_t stream_count() const { return streams_.size(); }

 private:
  struct Key {
    NodeId node{};
    bool is_opener = false;  // this node opened it
    std::uint64_t stream = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Stream;

  void begin(const Key& key, dvs::runtime::Fd end);
  void accept(const Key& key);
  void take_data(const Key& key, BytesView data);
  // Also tells the other node, unless it was it that closed the stream or its session is over.
  void end(const Key& key, bool is_to_be_told);
  void send(const Key& key, StreamHead::Kind kind, BytesView data = {});
  std::size_t count(NodeId node, bool is_opener) const;
  boost::asio::awaitable<void> read(Key key, std::shared_ptr<Stream> stream);
  boost::asio::awaitable<void> write(Key key, std::shared_ptr<Stream> stream);

  boost::asio::io_context& io_;
  StreamUpper& upper_;
  std::map<Key, std::shared_ptr<Stream>> streams_;
  std::uint64_t next_stream_ = 1;
  dvk::link::TaskScope scope_;
};

}  // namespace dvs::cluster

#include "cluster/carrier/stream_carrier.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace dvs::cluster {

namespace asio = boost::asio;
using dvs::runtime::Fd;

struct StreamCarrier::Stream {
  Stream(asio::io_context& io, Fd fd) : socket(io, std::move(fd)), room(io) {}

  dvk::link::Socket socket;
  std::deque<Bytes> waiting;  // for the socket to take
  std::size_t waiting_bytes = 0;
  std::size_t written = 0;  // of the first
  bool is_writing = false;
  bool is_ended = false;
  asio::steady_timer room;  // cancelled when the lane has room again
};

StreamCarrier::StreamCarrier(asio::io_context& io, StreamUpper& upper)
    : io_(io), upper_(upper), scope_(io) {}

StreamCarrier::~StreamCarrier() = default;

asio::awaitable<void> StreamCarrier::stop() {
  while (!streams_.empty()) end(Key(streams_.begin()->first), true);
  co_await scope_.stop();
}

// --- Beginning and end ---

std::size_t StreamCarrier::count(NodeId node, bool is_opener) const {
  const auto first = streams_.lower_bound(Key{node, is_opener, 0});
  const auto last = streams_.upper_bound(Key{node, is_opener, UINT64_MAX});
  return static_cast<std::size_t>(std::distance(first, last));
}

void StreamCarrier::open(NodeId node, Fd end) {
  if (scope_.is_stopping() || count(node, true) >= streams_max) return;  // closes it
  const Key key{node, true, next_stream_++};
  send(key, StreamHead::Kind::open);
  begin(key, std::move(end));
}

void StreamCarrier::begin(const Key& key, Fd end) {
  const auto stream = std::make_shared<Stream>(io_, std::move(end));
  streams_[key] = stream;
  scope_.spawn(read(key, stream));
}

void StreamCarrier::accept(const Key& key) {
  int ends[2];
  const bool is_wanted = count(key.node, false) < streams_max && !streams_.contains(key);
  if (!is_wanted || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
    return send(key, StreamHead::Kind::close);
  }
  begin(key, Fd(ends[0]));
  upper_.on_stream(key.node, Fd(ends[1]));
}

void StreamCarrier::end(const Key& key, bool is_to_be_told) {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return;
  const auto stream = std::move(found->second);
  streams_.erase(found);
  stream->is_ended = true;
  stream->room.cancel();
  // What the other end sent before it closed is still written by who is writing it.
  if (!stream->is_writing || is_to_be_told) stream->socket.close();
  if (is_to_be_told) send(key, StreamHead::Kind::close);
}

void StreamCarrier::on_session_end(NodeId node) {
  std::vector<Key> ended;
  for (const auto& [key, stream] : streams_) {
    if (key.node == node) ended.push_back(key);
  }
  for (const Key& key : ended) end(key, false);
}

// --- The lane ---

void StreamCarrier::send(const Key& key, StreamHead::Kind kind, BytesView data) {
  const StreamHead head{.kind = kind,
                        .is_from_opener = key.is_opener ? std::uint8_t{1} : std::uint8_t{0},
                        .stream = key.stream};
  Bytes message(sizeof head + data.size());
  std::memcpy(message.data(), &head, sizeof head);
  if (!data.empty()) std::memcpy(message.data() + sizeof head, data.data(), data.size());
  upper_.send(key.node, std::move(message));
}

Result<void> StreamCarrier::on_message(NodeId from, BytesView message) {
  StreamHead head;
  if (message.size() < sizeof head) return fail(Errc::protocol_violation, "short stream head");
  std::memcpy(&head, message.data(), sizeof head);
  const BytesView data = message.subspan(sizeof head);
  const Key key{from, head.is_from_opener == 0, head.stream};
  switch (head.kind) {
    case StreamHead::Kind::open:
      if (key.is_opener) return fail(Errc::protocol_violation, "opens the other node's stream");
      if (!scope_.is_stopping()) accept(key);
      return {};
    case StreamHead::Kind::data: take_data(key, data); return {};
    case StreamHead::Kind::close: end(key, false); return {};
  }
  return fail(Errc::protocol_violation, "unknown kind of stream message");
}

void StreamCarrier::on_room(NodeId node) {
  for (const auto& [key, stream] : streams_) {
    if (key.node == node) stream->room.cancel();
  }
}

// --- From the socket to the lane ---

asio::awaitable<void> StreamCarrier::read(Key key, std::shared_ptr<Stream> stream) {
  Bytes buffer(data_bytes_max);
  while (!stream->is_ended) {
    if (!upper_.has_room(key.node)) {
      stream->room.expires_at(asio::steady_timer::time_point::max());
      co_await stream->room.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    const ssize_t got = ::recv(stream->socket.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      send(key, StreamHead::Kind::data, BytesView(buffer).first(static_cast<std::size_t>(got)));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got == 0 || errno != EAGAIN) {
      co_return end(key, true);
    } else if (!co_await stream->socket.wait_readable()) {
      co_return;  // closed meanwhile
    }
  }
}

// --- From the lane to the socket ---

void StreamCarrier::take_data(const Key& key, BytesView data) {
  const auto found = streams_.find(key);
  // Ended meanwhile; the other node hears that perhaps for the second time, or else for ever not.
  if (found == streams_.end()) return send(key, StreamHead::Kind::close);
  if (data.empty()) return;
  const auto stream = found->second;
  stream->waiting.push_back(to_bytes(data));
  stream->waiting_bytes += data.size();
  if (stream->waiting_bytes > waiting_bytes_max) return end(key, true);
  if (std::exchange(stream->is_writing, true)) return;
  scope_.spawn(write(key, stream));
}

asio::awaitable<void> StreamCarrier::write(Key key, std::shared_ptr<Stream> stream) {
  while (!stream->waiting.empty() && stream->socket.is_open()) {
    const BytesView rest = BytesView(stream->waiting.front()).subspan(stream->written);
    const ssize_t sent =
        ::send(stream->socket.fd(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      stream->written += static_cast<std::size_t>(sent);
      stream->waiting_bytes -= static_cast<std::size_t>(sent);
      if (static_cast<std::size_t>(sent) < rest.size()) continue;
      stream->waiting.pop_front();
      stream->written = 0;
    } else if (errno != EAGAIN && errno != EINTR) {
      end(key, true);
      break;
    } else if (!co_await stream->socket.wait_writable()) {
      break;
    }
  }
  stream->is_writing = false;
  if (stream->is_ended && stream->socket.is_open()) stream->socket.close();
}

}  // namespace dvs::cluster

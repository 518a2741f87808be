// Two carriers over a lane that has little room, and real sockets at both ends.
#include "cluster/carrier/stream_carrier.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

namespace dvs::cluster {
namespace {

namespace asio = boost::asio;
using dvs::runtime::Fd;

constexpr NodeId left_node{1}, right_node{2};

// One node: its carrier, and the lane from it to the other one.
struct Side final : StreamUpper {
  Side(asio::io_context& loop, NodeId self) : io(loop), node(self), carrier(loop, *this) {}

  bool has_room(NodeId) override { return queue.size() < 4; }
  void send(NodeId to, Bytes message) override {
    EXPECT_NE(to, node);
    queue.push_back(std::move(message));
    most = std::max(most, queue.size());
    asio::post(io, [this] { deliver(); });
  }
  void on_stream(NodeId from, Fd end) override {
    EXPECT_EQ(from, other->node);
    accepted.push_back(std::move(end));
  }
  void deliver() {
    if (queue.empty() || is_held) return;
    const Bytes message = std::move(queue.front());
    queue.pop_front();
    EXPECT_TRUE(other->carrier.on_message(node, message).has_value());
    carrier.on_room(other->node);
  }

  asio::io_context& io;
  NodeId node;
  StreamCarrier carrier;
  Side* other = nullptr;
  std::deque<Bytes> queue;
  std::size_t most = 0;
  bool is_held = false;
  std::vector<Fd> accepted;
};

class StreamCarrierTest : public testing::Test {
 protected:
  StreamCarrierTest() {
    left.other = &right;
    right.other = &left;
  }
  ~StreamCarrierTest() override {
    int running = 2;
    io.restart();
    for (Side* side : {&left, &right}) {
      asio::co_spawn(io, side->carrier.stop(), [&](const std::exception_ptr&) { --running; });
    }
    while (running > 0) io.run_one();
    io.poll();
  }
  // Until nothing moves any more.
  void settle() {
    io.restart();
    while (io.poll() != 0) {
    }
  }
  Fd open(Side& side) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    side.carrier.open(side.other->node, Fd(ends[0]));
    settle();
    return Fd(ends[1]);
  }
  Fd take_accepted(Side& side) {
    EXPECT_EQ(side.accepted.size(), 1U);
    Fd end = std::move(side.accepted.front());
    side.accepted.clear();
    return end;
  }
  // Moves `bytes` bytes that differ from `from` to `to`, both ends of one stream.
  void expect_flow(const Fd& from, const Fd& to, std::size_t bytes) {
    std::size_t sent = 0, got = 0;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (got < bytes && std::chrono::steady_clock::now() < until) {
      Bytes piece(std::min<std::size_t>(bytes - sent, 10000));
      for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = pattern(sent + i);
      const ssize_t written = piece.empty() ? 0 : ::write(from.get(), piece.data(), piece.size());
      if (written > 0) sent += static_cast<std::size_t>(written);
      settle();
      Bytes taken(20000);
      const ssize_t read = ::read(to.get(), taken.data(), taken.size());
      for (ssize_t i = 0; i < read; ++i) {
        ASSERT_EQ(taken[static_cast<std::size_t>(i)], pattern(got++)) << "at " << got;
      }
    }
    EXPECT_EQ(got, bytes);
  }
  static std::byte pattern(std::size_t at) { return static_cast<std::byte>(at * 7 + at / 1009); }
  static bool is_at_end(const Fd& end) {
    char byte = 0;
    return ::read(end.get(), &byte, 1) == 0;
  }
  static bool is_silent(const Fd& end) {
    char byte = 0;
    return ::read(end.get(), &byte, 1) < 0 && errno == EAGAIN;
  }

  asio::io_context io;
  Side left{io, left_node}, right{io, right_node};
};

TEST_F(StreamCarrierTest, CarriesBytesBothWays) {
  const Fd here = open(left);
  const Fd there = take_accepted(right);
  expect_flow(here, there, 3'000'000);
  expect_flow(there, here, 3'000'000);
  EXPECT_LE(left.most, 6U);  // no more than there is room for, and opening and closing
}

TEST_F(StreamCarrierTest, StreamsOfBothNodesDoNotMix) {
  const Fd ours = open(left);
  const Fd ours_there = take_accepted(right);
  const Fd theirs = open(right);
  const Fd theirs_here = take_accepted(left);
  EXPECT_EQ(left.carrier.stream_count(), 2U);
  expect_flow(ours, ours_there, 1000);
  EXPECT_TRUE(is_silent(theirs));
  EXPECT_TRUE(is_silent(theirs_here));
  expect_flow(theirs, theirs_here, 1000);
}

TEST_F(StreamCarrierTest, AClosedEndClosesTheOtherAfterWhatWasSent) {
  Fd here = open(left);
  const Fd there = take_accepted(right);
  ASSERT_EQ(::write(here.get(), "last words", 10), 10);
  here = Fd();
  settle();
  char text[16];
  EXPECT_EQ(::read(there.get(), text, sizeof text), 10);
  EXPECT_TRUE(is_at_end(there));
  EXPECT_EQ(left.carrier.stream_count(), 0U);
  EXPECT_EQ(right.carrier.stream_count(), 0U);
}

TEST_F(StreamCarrierTest, TheEndOfASessionEndsItsStreams) {
  const Fd here = open(left);
  const Fd there = take_accepted(right);
  left.carrier.on_session_end(right_node);
  right.carrier.on_session_end(left_node);
  settle();
  EXPECT_TRUE(is_at_end(here));
  EXPECT_TRUE(is_at_end(there));
  EXPECT_EQ(left.carrier.stream_count(), 0U);
  const Fd again = open(left);
  const Fd again_there = take_accepted(right);
  expect_flow(again, again_there, 1000);
}

TEST_F(StreamCarrierTest, AnEndThatTakesNothingIsClosedInTheEnd) {
  const Fd here = open(left);
  const Fd there = take_accepted(right);
  const Bytes piece(100'000);
  for (int i = 0; i < 1000 && left.carrier.stream_count() == 1; ++i) {
    (void)::write(here.get(), piece.data(), piece.size());
    settle();
  }
  EXPECT_EQ(left.carrier.stream_count(), 0U);
  EXPECT_EQ(right.carrier.stream_count(), 0U);
}

TEST_F(StreamCarrierTest, StreamsAreBounded) {
  std::vector<Fd> ends;
  for (std::size_t i = 0; i < StreamCarrier::streams_max; ++i) ends.push_back(open(left));
  const Fd refused = open(left);
  EXPECT_TRUE(is_at_end(refused));
  // The other side does not rely on that.
  StreamHead head{.kind = StreamHead::Kind::open, .is_from_opener = 1, .stream = 1000};
  const BytesView message(reinterpret_cast<const std::byte*>(&head), sizeof head);
  EXPECT_TRUE(right.carrier.on_message(left_node, message).has_value());
  EXPECT_EQ(right.carrier.stream_count(), StreamCarrier::streams_max);
}

TEST_F(StreamCarrierTest, RubbishIsRefusedAndHarmsNobody) {
  const Fd here = open(left);
  const Fd there = take_accepted(right);
  const auto take = [&](StreamHead head, std::size_t bytes = sizeof(StreamHead)) {
    const BytesView message(reinterpret_cast<const std::byte*>(&head), bytes);
    const auto result = right.carrier.on_message(left_node, message);
    return result ? Errc{} : result.error().code;
  };
  using Kind = StreamHead::Kind;
  EXPECT_EQ(take({}, 0), Errc::protocol_violation);
  EXPECT_EQ(take({}, 15), Errc::protocol_violation);
  EXPECT_EQ(take({.kind = Kind{0}}), Errc::protocol_violation);
  EXPECT_EQ(take({.kind = Kind{4}}), Errc::protocol_violation);
  EXPECT_EQ(take({.kind = Kind::open, .is_from_opener = 0, .stream = 1}), Errc::protocol_violation);
  // Of streams that are none, or no more: nothing.
  EXPECT_EQ(take({.kind = Kind::data, .is_from_opener = 1, .stream = 99}), Errc{});
  EXPECT_EQ(take({.kind = Kind::close, .is_from_opener = 0, .stream = 1}), Errc{});
  settle();
  expect_flow(here, there, 1000);
}

}  // namespace
}  // namespace dvs::cluster

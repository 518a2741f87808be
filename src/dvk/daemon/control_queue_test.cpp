// The queue of control messages towards one process: order, descriptors, bounds, and routes that
// replace older ones.
#include "dvk/daemon/control_queue.hpp"

#include <unistd.h>

#include <gtest/gtest.h>

#include "runtime/unix_socket.hpp"

namespace dvk::daemon {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;

Address peer(std::uint64_t number) {
  return {dvs::ContainerId{1}, dvs::EndpointId{number}, dvs::Incarnation{number}};
}
wire::Route route(std::uint64_t number, wire::RouteKind kind) {
  return {.peer = peer(number), .kind = kind};
}

class ControlQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = dvs::runtime::unix_socket_pair();
    ASSERT_TRUE(pair);
    near_ = std::move(pair->first);
    far_ = std::move(pair->second);
  }
  struct Heard {
    wire::ToProcess message;
    std::size_t fds = 0;
  };
  std::vector<Heard> hear_all() {
    std::vector<Heard> heard;
    Bytes buffer(8192);
    for (;;) {
      const auto packet = dvs::runtime::receive_packet(far_.get(), buffer, dvs::runtime::Wait::no);
      if (!packet) return heard;
      const auto message =
          wire::decode_variant<wire::ToProcess>(BytesView(buffer).first(packet->bytes));
      heard.push_back({*message, packet->fds.size()});
    }
  }

  dvs::runtime::Fd near_, far_;
  ControlQueue queue_;
};

TEST_F(ControlQueueTest, KeepsOrderAndDescriptors) {
  const SharedFd fd = share(dvs::runtime::Fd(::dup(0)));
  ASSERT_TRUE(queue_.push(wire::Barrier{1}, {}));
  ASSERT_TRUE(queue_.push(wire::Barrier{2}, {fd, fd}));
  EXPECT_EQ(queue_.flush(near_.get()), true);
  const auto heard = hear_all();
  ASSERT_EQ(heard.size(), 2U);
  EXPECT_EQ(std::get<wire::Barrier>(heard[0].message).request, 1U);
  EXPECT_EQ(heard[0].fds, 0U);
  EXPECT_EQ(std::get<wire::Barrier>(heard[1].message).request, 2U);
  EXPECT_EQ(heard[1].fds, 2U);
}

TEST_F(ControlQueueTest, HasABound) {
  for (std::size_t i = 0; i < ControlQueue::messages_max; ++i) {
    ASSERT_TRUE(queue_.push(wire::Barrier{i}, {}));
  }
  EXPECT_EQ(queue_.push(wire::Barrier{0}, {}).error(), Errc::queue_full);
}

TEST_F(ControlQueueTest, ALaterRouteReplacesAnEarlierOneOfThatPeerOnly) {
  const SharedFd fd = share(dvs::runtime::Fd(::dup(0)));
  for (std::size_t i = 0; i < 10 * ControlQueue::messages_max; ++i) {
    ASSERT_TRUE(queue_.push(route(1, wire::RouteKind::ring), {fd}));
  }
  ASSERT_TRUE(queue_.push(route(2, wire::RouteKind::wait), {}));
  ASSERT_TRUE(queue_.push(route(1, wire::RouteKind::relay), {}));
  ASSERT_TRUE(queue_.flush(near_.get()));
  const auto heard = hear_all();
  ASSERT_EQ(heard.size(), 2U);
  EXPECT_EQ(std::get<wire::Route>(heard[0].message).peer, peer(2));
  const auto& last = std::get<wire::Route>(heard[1].message);
  EXPECT_EQ(last.kind, wire::RouteKind::relay);
  EXPECT_TRUE(last.is_reset);  // what was under way on the ring may be lost
  EXPECT_EQ(heard[1].fds, 0U);
}

TEST_F(ControlQueueTest, AnEndIsNeverSwallowed) {
  ASSERT_TRUE(queue_.push(route(1, wire::RouteKind::gone), {}));
  ASSERT_TRUE(queue_.push(route(1, wire::RouteKind::relay), {}));
  ASSERT_TRUE(queue_.flush(near_.get()));
  const auto heard = hear_all();
  ASSERT_EQ(heard.size(), 2U);
  EXPECT_EQ(std::get<wire::Route>(heard[0].message).kind, wire::RouteKind::gone);
}

TEST_F(ControlQueueTest, StopsAtAFullSocketAndGoesOnLater) {
  std::size_t sent = 0;
  dvs::Result<bool> is_done = true;
  while (*is_done) {
    ASSERT_TRUE(queue_.push(wire::Barrier{sent++}, {}));
    is_done = queue_.flush(near_.get());
    ASSERT_TRUE(is_done);
  }
  auto heard = hear_all();
  EXPECT_EQ(queue_.flush(near_.get()), true);
  const auto rest = hear_all();
  heard.insert(heard.end(), rest.begin(), rest.end());
  ASSERT_EQ(heard.size(), sent);
  for (std::size_t i = 0; i < sent; ++i) {
    EXPECT_EQ(std::get<wire::Barrier>(heard[i].message).request, i);
  }
  far_.close();
  ASSERT_TRUE(queue_.push(wire::Barrier{0}, {}));
  EXPECT_EQ(queue_.flush(near_.get()).error(), Errc::peer_died);
}

}  // namespace
}  // namespace dvk::daemon

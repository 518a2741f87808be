// The C interface: every function once, across two nodes.
#include <gtest/gtest.h>

#include <dvk/dvk.h>
#include <poll.h>

#include <cstdlib>
#include <thread>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"

namespace integration {
namespace {

constexpr int limit = 30'000;  // milliseconds

class CApi : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace();
    ASSERT_EQ(dvk_open(cluster->socket(1).c_str(), nullptr, 0, limit, &near), 0)
        << dvk_last_error();
    ASSERT_EQ(dvk_open(cluster->socket(2).c_str(), "far", 0, limit, &far), 0) << dvk_last_error();
    ASSERT_EQ(dvk_self(near, &near_address), 0);
    ASSERT_EQ(dvk_self(far, &far_address), 0);
  }
  void TearDown() override {
    if (near != nullptr) dvk_close(near);
    if (far != nullptr) dvk_close(far);
  }
  dvk_incoming receive(dvk_endpoint* endpoint) {
    dvk_incoming incoming{};
    EXPECT_EQ(dvk_receive(endpoint, nullptr, buffer, sizeof buffer, limit, &incoming), 0)
        << dvk_last_error();
    return incoming;
  }
  std::string text(const dvk_incoming& incoming) const { return {buffer, incoming.bytes}; }

  std::optional<Cluster> cluster;
  dvk_endpoint* near = nullptr;
  dvk_endpoint* far = nullptr;
  dvk_address near_address{};
  dvk_address far_address{};
  char buffer[DVK_MESSAGE_BYTES_MAX];
};

TEST_F(CApi, Messages) {
  EXPECT_EQ(dvk_node(near), 1);
  EXPECT_EQ(dvk_node(far), 2);
  dvk_address found{};
  ASSERT_EQ(dvk_lookup(near, "far", limit, &found), 0);
  EXPECT_EQ(found.id, far_address.id);
  EXPECT_EQ(found.incarnation, far_address.incarnation);
  EXPECT_EQ(dvk_lookup(near, "nobody", limit, &found), -DVK_E_UNKNOWN_ENDPOINT);
  EXPECT_STREQ(dvk_error_name(-DVK_E_UNKNOWN_ENDPOINT), "unknown_endpoint");
  EXPECT_NE(std::string(dvk_last_error()), "");

  ASSERT_EQ(dvk_send(near, &far_address, "hello", 5, limit), 0);
  dvk_incoming incoming = receive(far);
  EXPECT_EQ(incoming.kind, DVK_MESSAGE);
  EXPECT_EQ(text(incoming), "hello");
  EXPECT_EQ(incoming.from.id, near_address.id);
  EXPECT_EQ(dvk_send(near, &far_address, buffer, sizeof buffer + 1, limit),
            -DVK_E_MESSAGE_TOO_LARGE);
  ASSERT_EQ(dvk_send(near, &far_address, nullptr, 0, limit), 0);
  EXPECT_EQ(receive(far).bytes, 0U);
  EXPECT_EQ(dvk_receive(far, &near_address, buffer, sizeof buffer, 0, &incoming),
            -DVK_E_WOULD_BLOCK);
  EXPECT_EQ(dvk_receive(far, nullptr, buffer, sizeof buffer, 20, &incoming), -DVK_E_DEADLINE);
  EXPECT_EQ(dvk_receive(far, nullptr, buffer, 10, limit, &incoming), -DVK_E_INVALID_ARGUMENT);
  ASSERT_EQ(dvk_notify(near, &far_address, 5), 0);
  incoming = receive(far);
  EXPECT_EQ(incoming.kind, DVK_NOTIFY);
  EXPECT_EQ(incoming.bits, 5U);
  LoadThreads threads;
  threads.start("flush",
                [this] { EXPECT_EQ(dvk_flush(near, &far_address, limit), 0) << dvk_last_error(); });
  EXPECT_EQ(dvk_receive(far, nullptr, buffer, sizeof buffer, 100, &incoming), -DVK_E_DEADLINE);
  threads.join();
}

TEST_F(CApi, CallsAndTheEndOfAPeer) {
  LoadThreads threads;
  threads.start("server", [this] {
    static char request_buffer[DVK_MESSAGE_BYTES_MAX];
    for (int i = 0; i < 2; ++i) {
      dvk_incoming request{};
      EXPECT_EQ(dvk_receive_request(far, request_buffer, sizeof request_buffer, limit, &request),
                0);
      EXPECT_EQ(dvk_reply(far, &request, request_buffer, request.bytes), 0);
    }
  });
  char reply[8];
  ASSERT_EQ(dvk_call(near, &far_address, "ping", 4, reply, sizeof reply, limit), 4)
      << dvk_last_error();
  EXPECT_EQ(std::string(reply, 4), "ping");
  EXPECT_EQ(dvk_call(near, &far_address, "longer than eight", 17, reply, sizeof reply, limit),
            -DVK_E_MESSAGE_TOO_LARGE);
  threads.join();
  EXPECT_EQ(dvk_call(near, &far_address, "nobody", 6, reply, sizeof reply, 30), -DVK_E_DEADLINE);
  const dvk_incoming no_request{};
  EXPECT_EQ(dvk_reply(far, &no_request, "", 0), -DVK_E_INVALID_ARGUMENT);
  ASSERT_EQ(dvk_watch(near, &far_address), 0);
  dvk_close(std::exchange(far, nullptr));
  const dvk_incoming end = receive(near);
  EXPECT_EQ(end.kind, DVK_PEER_END);
  EXPECT_EQ(end.reason, DVK_E_PEER_DIED);
}

TEST_F(CApi, Copies) {
  std::string memory = "granted memory";
  std::uint64_t grant = 0;
  ASSERT_EQ(dvk_grant(far, memory.data(), memory.size(), DVK_READ_WRITE, &near_address, &grant), 0);
  std::string target(memory.size(), 0);
  LoadThreads threads;
  ASSERT_EQ(dvk_copy_from(near, &far_address, grant, 0, target.data(), target.size(), limit), 0)
      << dvk_last_error();
  EXPECT_EQ(target, "granted memory");
  ASSERT_EQ(dvk_copy_to(near, "GRANTED", 7, &far_address, grant, 0, limit), 0);
  EXPECT_EQ(memory, "GRANTED memory");
  // Both sides are the same endpoint's; a third orders.
  ASSERT_EQ(dvk_copy(near, &far_address, grant, 0, &far_address, grant, 8, 6, limit), 0)
      << dvk_last_error();
  EXPECT_EQ(memory, "GRANTED GRANTE");
  ASSERT_EQ(dvk_revoke(far, grant, limit), 0);
  EXPECT_EQ(dvk_copy_from(near, &far_address, grant, 0, target.data(), 1, limit),
            -DVK_E_GRANT_REVOKED);
}

TEST_F(CApi, MoveAndAdopt) {
  dvk_endpoint* adopted = nullptr;
  void* state = nullptr;
  std::size_t state_bytes = 0;
  LoadThreads threads;
  threads.start("adopter", [&] {
    EXPECT_EQ(dvk_adopt(cluster->socket(1).c_str(), "far", nullptr, limit, &adopted, &state,
                        &state_bytes),
              0)
        << dvk_last_error();
  });
  ASSERT_EQ(dvk_move_to(far, 1, "state", 5, limit), 0) << dvk_last_error();
  threads.join();
  ASSERT_NE(adopted, nullptr);
  EXPECT_EQ(std::string(static_cast<char*>(state), state_bytes), "state");
  std::free(state);
  EXPECT_EQ(dvk_send(far, &near_address, "", 0, limit), -DVK_E_MOVED);
  ASSERT_EQ(dvk_send(near, &far_address, "found", 5, limit), 0);
  EXPECT_EQ(text(receive(adopted)), "found");
  dvk_close(adopted);
}

TEST_F(CApi, CancelAndEventLoop) {
  LoadThreads threads;
  threads.start("canceller", [this] {
    std::this_thread::sleep_for(30ms);
    dvk_cancel(near);
  });
  dvk_incoming incoming{};
  EXPECT_EQ(dvk_receive(near, nullptr, buffer, sizeof buffer, limit, &incoming), -DVK_E_CANCELLED);
  threads.join();

  ASSERT_EQ(dvk_send(near, &far_address, "wake up", 7, limit), 0);
  const auto end = std::chrono::steady_clock::now() + patience;
  int received = -DVK_E_WOULD_BLOCK;
  while (received == -DVK_E_WOULD_BLOCK && std::chrono::steady_clock::now() < end) {
    const int sleep = dvk_prepare_sleep(far);
    ASSERT_GE(sleep, -1) << dvk_last_error();
    pollfd entry{.fd = dvk_poll_fd(far), .events = POLLIN, .revents = 0};
    poll(&entry, 1, sleep < 0 ? 1000 : sleep);
    ASSERT_EQ(dvk_serve(far), 0) << dvk_last_error();
    received = dvk_receive(far, nullptr, buffer, sizeof buffer, 0, &incoming);
  }
  ASSERT_EQ(received, 0);
  EXPECT_EQ(text(incoming), "wake up");
}

TEST_F(CApi, WrongArgumentsAreRefused) {
  EXPECT_EQ(dvk_open(nullptr, nullptr, 0, limit, nullptr), -DVK_E_INVALID_ARGUMENT);
  EXPECT_EQ(dvk_lookup(near, nullptr, limit, &far_address), -DVK_E_INVALID_ARGUMENT);
  EXPECT_EQ(dvk_move_to(near, 0, nullptr, 0, limit), -DVK_E_INVALID_ARGUMENT);
  EXPECT_EQ(dvk_grant(near, buffer, 1, DVK_READ, nullptr, nullptr), -DVK_E_INVALID_ARGUMENT);
  dvk_endpoint* nobody = nullptr;
  EXPECT_EQ(dvk_open("/nowhere/dvk.sock", nullptr, 0, 100, &nobody), -DVK_E_SYSTEM);
  EXPECT_NE(std::string(dvk_last_error()).find("is dvsd running"), std::string::npos);
}

}  // namespace
}  // namespace integration

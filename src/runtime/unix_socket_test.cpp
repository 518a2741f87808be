#include "runtime/unix_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "runtime/event.hpp"
#include "runtime/process_memory.hpp"
#include "runtime/temporary_directory.hpp"

namespace dvs::runtime {
namespace {

class UnixSocket : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = unix_socket_pair();
    ASSERT_TRUE(pair);
    first_ = std::move(pair->first);
    second_ = std::move(pair->second);
  }

  Fd first_;
  Fd second_;
  std::array<std::byte, 64> buffer_{};
};

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_F(UnixSocket, KeepsPacketBoundaries) {
  ASSERT_TRUE(send_packet(first_.get(), as_bytes("one")));
  ASSERT_TRUE(send_packet(first_.get(), as_bytes("second")));
  auto packet = receive_packet(second_.get(), buffer_);
  ASSERT_TRUE(packet);
  EXPECT_EQ(as_text(BytesView(buffer_).first(packet->bytes)), "one");
  EXPECT_TRUE(packet->fds.empty());
  packet = receive_packet(second_.get(), buffer_);
  ASSERT_TRUE(packet);
  EXPECT_EQ(as_text(BytesView(buffer_).first(packet->bytes)), "second");
}

TEST_F(UnixSocket, CarriesDescriptors) {
  auto event = Event::create();
  ASSERT_TRUE(event);
  const std::array fds{event->fd(), event->fd()};
  ASSERT_TRUE(send_packet(first_.get(), as_bytes("x"), fds));
  auto packet = receive_packet(second_.get(), buffer_);
  ASSERT_TRUE(packet);
  ASSERT_EQ(packet->fds.size(), 2U);
  EXPECT_NE(::fcntl(packet->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(packet->fds[0].get(), &one, sizeof one), ssize_t{sizeof one});
  EXPECT_TRUE(event->drain());
}

TEST_F(UnixSocket, CarriesAsManyDescriptorsAsAllowed) {
  const std::vector<int> fds(packet_descriptors_max, first_.get());
  ASSERT_TRUE(send_packet(first_.get(), as_bytes("x"), fds));
  auto packet = receive_packet(second_.get(), buffer_);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->fds.size(), packet_descriptors_max);
  const std::vector<int> too_many(packet_descriptors_max + 1, first_.get());
  EXPECT_EQ(send_packet(first_.get(), as_bytes("x"), too_many).error(), Errc::invalid_argument);
}

// Sends more descriptors than send_packet would, as a hostile peer can.
void send_many_descriptors(int socket, std::size_t count) {
  char byte = 0;
  iovec vector{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 64)> control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(sizeof(int) * count);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(CMSG_DATA(item) + i * sizeof(int), &socket, sizeof socket);
  }
  ASSERT_EQ(::sendmsg(socket, &message, 0), 1);
}

TEST_F(UnixSocket, RefusesAndClosesTooManyDescriptors) {
  const std::size_t before = open_descriptors();
  send_many_descriptors(first_.get(), packet_descriptors_max + 5);
  EXPECT_EQ(receive_packet(second_.get(), buffer_).error(), Errc::protocol_violation);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(UnixSocket, RefusesPacketsLongerThanTheBuffer) {
  const Bytes large(buffer_.size() + 1);
  const std::array fds{first_.get()};
  const std::size_t before = open_descriptors();
  ASSERT_TRUE(send_packet(first_.get(), large, fds));
  EXPECT_EQ(receive_packet(second_.get(), buffer_).error(), Errc::message_too_large);
  EXPECT_EQ(open_descriptors(), before);
  ASSERT_TRUE(send_packet(first_.get(), as_bytes("next")));
  EXPECT_EQ(receive_packet(second_.get(), buffer_)->bytes, 4U);
}

TEST_F(UnixSocket, SaysWhenItWouldBlock) {
  EXPECT_EQ(receive_packet(second_.get(), buffer_, Wait::no).error(), Errc::would_block);
  ASSERT_TRUE(set_blocking(second_.get(), false));
  EXPECT_EQ(receive_packet(second_.get(), buffer_).error(), Errc::would_block);
  const Bytes bytes(1000);
  Result<void> result;
  do {
    result = send_packet(first_.get(), bytes, {}, Wait::no);
  } while (result);
  EXPECT_EQ(result.error(), Errc::would_block);
}

TEST_F(UnixSocket, ShowsTheEndOfTheConnection) {
  second_.close();
  EXPECT_EQ(receive_packet(first_.get(), buffer_)->bytes, 0U);
  EXPECT_EQ(send_packet(first_.get(), as_bytes("x")).error(), Errc::peer_died);
  EXPECT_EQ(send_packet(first_.get(), {}).error(), Errc::invalid_argument);
}

class ListeningSocket : public testing::Test {
 protected:
  std::string path() const { return directory_.path() / "socket"; }

  TemporaryDirectory directory_;
};

TEST_F(ListeningSocket, AcceptsAndKnowsItsPeer) {
  auto listener = listen_unix(path(), 0600);
  ASSERT_TRUE(listener) << to_string(listener.error());
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  ASSERT_TRUE(set_blocking(listener->get(), false));
  EXPECT_EQ(accept_unix(listener->get()).error(), Errc::would_block);

  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::array<std::byte, 8> buffer;
    auto socket = connect_unix(path());
    ::_exit(socket && receive_packet(socket->get(), buffer)->bytes == 0 ? 0 : 1);
  }
  ASSERT_TRUE(set_blocking(listener->get(), true));
  auto socket = accept_unix(listener->get());
  ASSERT_TRUE(socket);
  auto credentials = peer_credentials(socket->get());
  ASSERT_TRUE(credentials);
  EXPECT_EQ(credentials->pid, child);
  EXPECT_EQ(credentials->uid, ::getuid());
  EXPECT_EQ(credentials->gid, ::getgid());
  auto pidfd = peer_pidfd(socket->get());
  ASSERT_TRUE(pidfd) << to_string(pidfd.error());
  EXPECT_EQ(pid_of(pidfd->get()), child);
  EXPECT_EQ(is_alive(pidfd->get()), true);

  socket->close();
  int exit_status = -1;
  ASSERT_EQ(::waitpid(child, &exit_status, 0), child);
  EXPECT_EQ(exit_status, 0);
  EXPECT_EQ(is_alive(pidfd->get()), false);
  EXPECT_EQ(pid_of(pidfd->get()), -1);
}

TEST_F(ListeningSocket, ReplacesASocketLeftBehind) {
  ASSERT_TRUE(listen_unix(path(), 0600));
  EXPECT_TRUE(listen_unix(path(), 0600));
}

TEST_F(ListeningSocket, ReplacesNothingElse) {
  ASSERT_TRUE(std::filesystem::create_directory(path()));
  EXPECT_EQ(listen_unix(path(), 0600).error(), Errc::system);
  EXPECT_TRUE(std::filesystem::is_directory(path()));
}

TEST_F(ListeningSocket, SaysWhyItCannotConnect) {
  EXPECT_EQ(connect_unix(path()).error().os_errno, ENOENT);
  EXPECT_EQ(connect_unix(std::string(200, 'x')).error(), Errc::invalid_argument);
  EXPECT_EQ(connect_unix("").error(), Errc::invalid_argument);
}

}  // namespace
}  // namespace dvs::runtime

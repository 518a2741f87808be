// Reaching into another process's memory: what is allowed, what is not, and that a process which
// became another program is not reached by what it granted before.
#include "dvk/daemon/process_memory_access.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>

#include <gtest/gtest.h>

namespace dvk::daemon {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::Errc;
using dvs::runtime::Fd;

constexpr uid_t other_uid = 12345;
char shared_text[] = "text of the child";

// A child that runs `prepare` and then waits to be killed.
class Child {
 public:
  explicit Child(const std::function<void()>& prepare) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      prepare();
      EXPECT_EQ(::write(ready[1], "r", 1), 1);
      for (;;) ::pause();
    }
    pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Child() { kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }
  int pidfd() const { return pidfd_.get(); }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
  Fd pidfd_;
};

void become_other_user() {
  if (::setresgid(other_uid, other_uid, other_uid) != 0) ::_exit(9);
  if (::setresuid(other_uid, other_uid, other_uid) != 0) ::_exit(9);
  ::prctl(PR_SET_DUMPABLE, 1);
}

void read_and_write(const Child& child, uid_t uid) {
  const auto memory = ProcessMemory::open(child.pidfd(), uid);
  ASSERT_TRUE(memory) << dvs::to_string(memory.error());
  const auto address = reinterpret_cast<std::uint64_t>(&shared_text);
  Bytes bytes(sizeof shared_text);
  ASSERT_TRUE(memory->read(address, bytes));
  EXPECT_EQ(std::memcmp(bytes.data(), shared_text, sizeof shared_text), 0);
  bytes[0] = std::byte{'T'};
  ASSERT_TRUE(memory->write(address, bytes));
  bytes.assign(bytes.size(), {});
  ASSERT_TRUE(memory->read(address, bytes));
  EXPECT_EQ(bytes[0], std::byte{'T'});
  EXPECT_EQ(shared_text[0], 't');
  // Several at once, and with one among them that is not there.
  Bytes first(3), second(sizeof shared_text - 3);
  std::vector<dvs::runtime::MemoryToRead> reads{{address, first}, {address + 3, second}};
  ASSERT_TRUE(memory->read(reads));
  EXPECT_EQ(std::memcmp(first.data(), bytes.data(), first.size()), 0);
  EXPECT_EQ(std::memcmp(second.data(), bytes.data() + 3, second.size()), 0);
  reads.insert(reads.begin() + 1, {16, first});
  EXPECT_EQ(memory->read(reads).error(), Errc::bad_address);
  EXPECT_TRUE(memory->write(
      std::vector<dvs::runtime::MemoryToWrite>{{address, first}, {address + 3, second}}));
  EXPECT_EQ(memory->write(std::vector<dvs::runtime::MemoryToWrite>{{address, first}, {16, second}})
                .error(),
            Errc::bad_address);
  EXPECT_TRUE(memory->read(std::span<const dvs::runtime::MemoryToRead>()));
  EXPECT_EQ(memory->read(16, bytes).error(), Errc::bad_address);
  EXPECT_EQ(memory->write(16, bytes).error(), Errc::bad_address);
}

TEST(ProcessMemory, OfTheSameUserIsReadAndWritten) {
  const Child child([] {});
  read_and_write(child, ::geteuid());
}

TEST(ProcessMemory, OfAnotherUserIsReadAndWritten) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Child child(become_other_user);
  read_and_write(child, other_uid);
}

TEST(ProcessMemory, EndsWithTheProcess) {
  for (const uid_t uid : {::geteuid(), other_uid}) {
    if (uid != ::geteuid() && ::geteuid() != 0) continue;
    Child child([&] {
      if (uid != ::geteuid()) become_other_user();
    });
    const auto memory = ProcessMemory::open(child.pidfd(), uid);
    ASSERT_TRUE(memory);
    child.kill();
    Bytes bytes(8);
    const auto address = reinterpret_cast<std::uint64_t>(&shared_text);
    EXPECT_EQ(memory->read(address, bytes).error(), Errc::peer_died);
    EXPECT_EQ(memory->write(address, bytes).error(), Errc::peer_died);
    EXPECT_EQ(ProcessMemory::open(child.pidfd(), uid).error(), Errc::peer_died);
  }
}

TEST(ProcessMemory, OfOneWhoIsNotWhoAttachedIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  // It attached as another user and is root meanwhile.
  const Child child([] {});
  EXPECT_EQ(ProcessMemory::open(child.pidfd(), other_uid).error(), Errc::not_permitted);
  const Child hidden([] {
    become_other_user();
    ::prctl(PR_SET_DUMPABLE, 0);
  });
  EXPECT_EQ(ProcessMemory::open(hidden.pidfd(), other_uid).error(), Errc::not_permitted);
}

// The process runs another program after it attached: what it granted names nothing there.
TEST(ProcessMemory, DoesNotFollowIntoAnotherProgram) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    become_other_user();
    char byte = 0;
    if (::read(go[0], &byte, 1) == 1) ::execl("/bin/sleep", "sleep", "1000", nullptr);
    ::_exit(1);
  }
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  auto memory = ProcessMemory::open(pidfd.get(), other_uid);
  while (!memory && memory.error() == Errc::not_permitted) {  // not the other user yet
    memory = ProcessMemory::open(pidfd.get(), other_uid);
  }
  ASSERT_TRUE(memory);
  Bytes bytes(8);
  const auto address = reinterpret_cast<std::uint64_t>(&shared_text);
  ASSERT_TRUE(memory->read(address, bytes));
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  dvs::Result<void> result;
  while (result) result = memory->read(address, bytes);
  EXPECT_EQ(result.error(), Errc::peer_died);
  EXPECT_EQ(memory->write(address, bytes).error(), Errc::peer_died);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ::close(go[0]);
  ::close(go[1]);
}

TEST(CheckAccess, AsksTheGrantAndLetsEveryoneAtItsOwn) {
  auto table = grant::GrantTable::create();
  ASSERT_TRUE(table);
  const auto view = grant::GrantView::attach(table->page_fd());
  ASSERT_TRUE(view);
  const Address owner{dvs::ContainerId{1}, dvs::EndpointId{1}, dvs::Incarnation{1}};
  const Address friendly{dvs::ContainerId{1}, dvs::EndpointId{2}, dvs::Incarnation{2}};
  const auto grant = table->give(1000, 100, grant::Access::read, friendly);
  const auto check = [&](const Address& orderer, wire::CopySide side, std::uint64_t position,
                         std::size_t bytes, grant::Access access) {
    return check_access(*view, owner, orderer, side, position, bytes, access);
  };
  const auto read = grant::Access::read, write = grant::Access::write;
  EXPECT_EQ(check(friendly, {owner, *grant, 10}, 20, 70, read), 1030U);
  EXPECT_EQ(check(friendly, {owner, *grant, 10}, 20, 71, read).error(), Errc::grant_denied);
  EXPECT_EQ(check(friendly, {owner, *grant, 10}, 20, 70, write).error(), Errc::grant_denied);
  EXPECT_EQ(check(friendly, {owner, *grant, 10}, ~std::uint64_t{0}, 1, read).error(),
            Errc::bad_address);
  EXPECT_EQ(check(friendly, {friendly, *grant, 0}, 0, 1, read).error(), Errc::grant_denied);
  EXPECT_EQ(check(owner, {owner, 0, 5000}, 10, 10, write), 5010U);
  EXPECT_EQ(check(friendly, {owner, 0, 5000}, 10, 10, read).error(), Errc::grant_denied);
  EXPECT_EQ(check(owner, {owner, 0, std::uint64_t{1} << 63}, 0, 10, read).error(),
            Errc::bad_address);
  ASSERT_TRUE(table->revoke(*grant));
  EXPECT_EQ(check(friendly, {owner, *grant, 0}, 0, 1, read).error(), Errc::grant_revoked);
}

}  // namespace
}  // namespace dvk::daemon

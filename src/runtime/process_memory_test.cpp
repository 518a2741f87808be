#include "runtime/process_memory.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "runtime/fd.hpp"

namespace dvs::runtime {
namespace {

constexpr std::size_t page = 4096;

// A child that does nothing until it is killed, with a page of private memory at a known address
// and nothing mapped behind it.
class OtherProcess : public testing::Test {
 protected:
  void SetUp() override {
    void* memory =
        ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    memory_ = static_cast<std::byte*>(memory);
    ASSERT_EQ(::munmap(memory_ + page, page), 0);
    memory_[0] = std::byte{11};
    child_ = ::fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) ::pause();
    }
    memory_[0] = std::byte{22};  // ours; the child's copy stays
  }
  void TearDown() override {
    end_child();
    ::munmap(memory_, page);
  }

  void end_child() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  std::uint64_t address(std::size_t offset) const {
    return reinterpret_cast<std::uint64_t>(memory_ + offset);
  }

  std::byte* memory_ = nullptr;
  pid_t child_ = 0;
};

TEST_F(OtherProcess, ReadsAndWrites) {
  Bytes bytes(page);
  ASSERT_TRUE(read_process_memory(child_, address(0), bytes));
  EXPECT_EQ(bytes[0], std::byte{11});
  bytes[0] = std::byte{33};
  bytes[page - 1] = std::byte{44};
  ASSERT_TRUE(write_process_memory(child_, address(0), bytes));
  Bytes again(page);
  ASSERT_TRUE(read_process_memory(child_, address(0), again));
  EXPECT_EQ(again, bytes);
  EXPECT_EQ(memory_[0], std::byte{22});
}

TEST_F(OtherProcess, NothingToCopyIsNoError) {
  EXPECT_TRUE(read_process_memory(child_, address(0), {}));
}

TEST_F(OtherProcess, RefusesWhatIsNotMapped) {
  Bytes bytes(2 * page);
  EXPECT_EQ(read_process_memory(child_, address(0), bytes).error(), Errc::bad_address);
  EXPECT_EQ(write_process_memory(child_, address(0), bytes).error(), Errc::bad_address);
  EXPECT_EQ(read_process_memory(child_, 0, bytes).error(), Errc::bad_address);
  EXPECT_EQ(read_process_memory(child_, ~std::uint64_t{0}, bytes).error(), Errc::bad_address);
}

TEST_F(OtherProcess, SaysWhenItHasEnded) {
  const pid_t pid = child_;
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ASSERT_TRUE(pidfd);
  EXPECT_EQ(pid_of(pidfd.get()), pid);
  EXPECT_EQ(is_alive(pidfd.get()), true);
  end_child();
  Bytes bytes(1);
  EXPECT_EQ(read_process_memory(pid, address(0), bytes).error(), Errc::peer_died);
  EXPECT_EQ(pid_of(pidfd.get()), -1);
  EXPECT_EQ(is_alive(pidfd.get()), false);
}

TEST_F(OtherProcess, RefusesAProcessItMayNotTrace) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to give a right away";
  const pid_t reader = ::fork();
  ASSERT_GE(reader, 0);
  if (reader == 0) {
    Bytes bytes(1);
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const auto result = read_process_memory(child_, address(0), bytes);
    ::_exit(!result && result.error() == Errc::not_permitted ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(reader, &status, 0), reader);
  EXPECT_EQ(status, 0);
}

TEST(PidOf, RefusesOtherDescriptors) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  EXPECT_EQ(pid_of(reader.get()).error(), Errc::invalid_argument);
  EXPECT_EQ(pid_of(-1).error(), Errc::system);
  EXPECT_EQ(is_alive(-1).error(), Errc::invalid_argument);
}

}  // namespace
}  // namespace dvs::runtime

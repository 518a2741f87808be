// Serial numbers are never given twice, whatever happens to the process or the disk; and the state
// directory around them.
#include "dvk/daemon/serial_store.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "dvk/daemon/dvsd_process.hpp"
#include "dvk/daemon/state_directory.hpp"

namespace dvk::daemon {
namespace {

using dvs::Errc;
using test::TemporaryDirectory;

TEST(SerialStore, CountsFromOne) {
  const TemporaryDirectory directory;
  auto store = SerialStore::open(directory.path(), true);
  ASSERT_TRUE(store);
  EXPECT_FALSE(store->was_given(1));
  EXPECT_EQ(store->give(), 1U);
  EXPECT_EQ(store->give(), 2U);
  EXPECT_TRUE(store->was_given(2));
  EXPECT_FALSE(store->was_given(3));
  EXPECT_FALSE(store->was_given(0));
}

TEST(SerialStore, ACleanStopSkipsNothing) {
  const TemporaryDirectory directory;
  {
    auto store = SerialStore::open(directory.path(), true);
    ASSERT_TRUE(store->give() && store->give() && store->close());
    EXPECT_FALSE(store->give());
  }
  auto store = SerialStore::open(directory.path(), false);
  ASSERT_TRUE(store);
  EXPECT_TRUE(store->was_given(2));
  EXPECT_EQ(store->give(), 3U);
}

TEST(SerialStore, AfterBeingDroppedNothingIsRepeated) {
  const TemporaryDirectory directory;
  std::set<std::uint64_t> given;
  for (int life = 0; life < 5; ++life) {
    auto store = SerialStore::open(directory.path(), life == 0);
    ASSERT_TRUE(store);
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(given.insert(*store->give()).second);
    // Not closed: as after SIGKILL.
  }
}

// A process that gives numbers as fast as it can is killed in the middle, again and again, also
// around the end of its range.
TEST(SerialStore, AfterAKillNothingIsRepeated) {
  const TemporaryDirectory directory;
  std::uint64_t highest = 0;
  for (int life = 0; life < 10; ++life) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      auto store = SerialStore::open(directory.path(), life == 0);
      const std::uint64_t count = SerialStore::range / 2 - 1000;
      for (std::uint64_t i = 0; store && i < count; ++i) (void)store->give();
      for (;;) {
        const std::uint64_t serial = store ? store->give().value_or(0) : 0;
        if (::write(ends[1], &serial, sizeof serial) != sizeof serial) ::_exit(1);
      }
    }
    ::close(ends[1]);
    std::uint64_t serial = 0, first = 0;
    for (int i = 0; i < 2000; ++i) {
      ASSERT_EQ(::read(ends[0], &serial, sizeof serial), static_cast<ssize_t>(sizeof serial));
      if (i == 0) first = serial;
    }
    ::kill(pid, SIGKILL);
    // What it had given and not been asked about counts, too.
    while (::read(ends[0], &serial, sizeof serial) > 0) {
    }
    ::waitpid(pid, nullptr, 0);
    ::close(ends[0]);
    EXPECT_GT(first, highest);
    highest = serial;
  }
}

TEST(SerialStore, GoesOnBeyondItsRange) {
  const TemporaryDirectory directory;
  auto store = SerialStore::open(directory.path(), true);
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < 2 * SerialStore::range; ++i) last = *store->give();
  EXPECT_EQ(last, 2 * SerialStore::range);
  EXPECT_GT(*SerialStore::open(directory.path(), false)->give(), last);
}

// Without a place to write, numbers go out only as far as was reserved.
TEST(SerialStore, StopsRatherThanGiveWhatIsNotReserved) {
  auto directory = std::make_unique<TemporaryDirectory>();
  auto store = SerialStore::open(directory->path(), true);
  directory.reset();
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < SerialStore::range; ++i) last = *store->give();
  EXPECT_EQ(last, SerialStore::range);
  EXPECT_FALSE(store->give());
}

TEST(SerialStore, DamageIsNotPassedOver) {
  const TemporaryDirectory directory;
  EXPECT_EQ(SerialStore::open(directory.path(), false).error(), Errc::protocol_violation);
  for (const char* text : {"", "x\n", "12", "0\n", "12\n13\n", "-1\n"}) {
    std::ofstream(directory.path() / "serials") << text;
    const auto store = SerialStore::open(directory.path(), true);
    ASSERT_FALSE(store) << text;
    EXPECT_EQ(store.error(), Errc::protocol_violation);
  }
  std::ofstream(directory.path() / "serials") << (std::uint64_t{1} << 48) - 5 << "\n";
  EXPECT_EQ(SerialStore::open(directory.path(), false).error(), Errc::queue_full);
}

TEST(StateDirectory, TheVersionIsWrittenOnceAndChecked) {
  const TemporaryDirectory directory;
  EXPECT_EQ(check_state_version(directory.path()), false);
  ASSERT_TRUE(write_state_version(directory.path()));
  EXPECT_EQ(check_state_version(directory.path()), true);
  std::ofstream(directory.path() / "version") << state_version + 1 << "\n";
  const auto newer = check_state_version(directory.path());
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error(), Errc::version_mismatch);
  EXPECT_NE(newer.error().detail.find("newer dvsd"), std::string::npos);
  std::ofstream(directory.path() / "version") << "one\n";
  EXPECT_EQ(check_state_version(directory.path()).error(), Errc::protocol_violation);
}

TEST(StateDirectory, OneHolderAtATimeAndItIsNamed) {
  const TemporaryDirectory directory;
  {
    const auto lock = DirectoryLock::acquire(directory.path() / "a" / "b");
    ASSERT_TRUE(lock);
    const auto second = DirectoryLock::acquire(directory.path() / "a" / "b");
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().detail.find("pid " + std::to_string(::getpid())), std::string::npos);
  }
  EXPECT_TRUE(DirectoryLock::acquire(directory.path() / "a" / "b"));
}

}  // namespace
}  // namespace dvk::daemon

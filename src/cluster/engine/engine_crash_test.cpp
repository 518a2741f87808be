// A process that is killed at any moment has lost nothing that it had acknowledged.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "cluster/engine/engine_test_group.hpp"

namespace dvs::cluster {
namespace {

constexpr const char* directory_variable = "DVS_ENGINE_CRASH_TEST_DIRECTORY";

// What the child is: it commits numbers and says so on its standard output, until it is killed. A
// new process image, since a fork of one with threads could not make any.
TEST(EngineCrashChild, DISABLED_CommitsUntilKilled) {
  const char* directory = ::getenv(directory_variable);
  ASSERT_NE(directory, nullptr);
  test::Switchboard switchboard;
  test::TestMember member(NodeId{1}, switchboard, directory);
  auto config = member.config(true);
  config.snapshot_entries = 64;
  config.snapshot_trailing = 16;
  ASSERT_TRUE(member.start(config));
  // What was committed before is there once a barrier has passed.
  ASSERT_TRUE(member.barrier());
  for (std::size_t number = member.ledger().count();; ++number) {
    if (!member.propose(std::to_string(number))) return;
    const std::string line = "acknowledged " + std::to_string(number) + "\n";
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return;
  }
}

struct Child {
  pid_t pid;
  runtime::Fd output;
};

Child spawn(const std::filesystem::path& directory) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  runtime::Fd read_end(ends[0]);
  const runtime::Fd write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  std::string filter = "--gtest_filter=EngineCrashChild.*";
  std::string disabled = "--gtest_also_run_disabled_tests";
  std::string name = self;
  char* arguments[] = {name.data(), filter.data(), disabled.data(), nullptr};
  ::setenv(directory_variable, directory.c_str(), 1);
  pid_t pid = -1;
  EXPECT_EQ(::posix_spawn(&pid, self.c_str(), &actions, nullptr, arguments, environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  return {pid, std::move(read_end)};
}

// Reads until `wanted` acknowledgements have come in this life, kills the child, reads the rest.
// The number of the last one.
long last_acknowledged_when_killed(const Child& child, int wanted) {
  std::string text;
  bool is_killed = false;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(child.output.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
    int seen = 0;
    for (std::size_t at = 0; (at = text.find("acknowledged ", at)) != std::string::npos; ++at)
      ++seen;
    if (seen >= wanted && !is_killed) {
      ::kill(child.pid, SIGKILL);
      is_killed = true;
    }
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child.pid, &status, 0), child.pid);
  EXPECT_TRUE(is_killed && WIFSIGNALED(status)) << text;
  text.resize(text.rfind('\n') + 1);
  const std::size_t at = text.rfind("acknowledged ");
  return at == std::string::npos ? -1 : std::stol(text.substr(at + std::strlen("acknowledged ")));
}

TEST(EngineCrash, AcknowledgedEntriesSurviveKill) {
  const test::TemporaryDirectory directory;
  long last = -1;
  for (const int wanted : {1, 5, 100, 63, 64, 40, 300}) {
    const long reached = last_acknowledged_when_killed(spawn(directory.path() / "group"), wanted);
    ASSERT_GE(reached, last + wanted);
    last = reached;
  }
  test::Switchboard switchboard;
  test::TestMember member(NodeId{1}, switchboard, directory.path() / "group");
  ASSERT_TRUE(member.start());
  ASSERT_TRUE(member.barrier());
  const auto entries = member.ledger().entries();
  // The last one may have been committed without word of it getting out.
  ASSERT_GE(static_cast<long>(entries.size()), last + 1);
  for (std::size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(entries[i], std::to_string(i));
}

// The very first start, killed at every stage of it, can be made again.
TEST(EngineCrash, AFirstStartThatWasKilledCanBeMadeAgain) {
  const test::TemporaryDirectory directory;
  for (int delay_us = 0; delay_us <= 60'000; delay_us += 4'000) {
    const auto path = directory.path() / std::to_string(delay_us);
    const Child child = spawn(path);
    ::usleep(static_cast<useconds_t>(delay_us));
    ::kill(child.pid, SIGKILL);
    ASSERT_EQ(::waitpid(child.pid, nullptr, 0), child.pid);
    test::Switchboard switchboard;
    test::TestMember member(NodeId{1}, switchboard, path);
    const auto started = member.start(true);
    ASSERT_TRUE(started) << to_string(started.error());
    EXPECT_TRUE(member.propose("works"));
  }
}

}  // namespace
}  // namespace dvs::cluster

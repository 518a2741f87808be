#include "local/process.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "runtime/temporary_directory.hpp"

namespace dvs::local {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 20s;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class Condition>
bool wait_until(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

TEST(LocalProcess, LinesOfProcAreRead) {
  const auto line =
      parse_process_line("12 (a ) b) T 1 12 12 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10 0\n");
  ASSERT_TRUE(line) << to_string(line.error());
  EXPECT_EQ(line->state, 'T');
  EXPECT_EQ(line->start_time, 987654U);
  for (const char* text : {"", "12", "12 (a)", "12 (a) R 1 2 3", "12 (a) R  ",
                           "12 (a) R 1 12 12 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 x 1"}) {
    EXPECT_FALSE(parse_process_line(text)) << text;
  }
}

TEST(LocalProcess, ProgramsAreRun) {
  EXPECT_TRUE(run({"cat"}, "input"));
  const auto failed = run({"sh", "-c", "cat; exit 3"}, "what it said");
  EXPECT_NE(failed.error().detail.find("what it said"), std::string::npos);
  EXPECT_EQ(run({"no-such-program-of-dvs"}).error().code, Errc::unsupported);
  EXPECT_TRUE(run({"true"}, std::string(1'000'000, 'x'))) << "who does not read disturbs nobody";
}

class LocalLaunch : public testing::Test {
 protected:
  Launch shell(const std::string& script) const {
    return {.command = {"/bin/sh", "-c", script}, .log = log(), .network = {}, .cores = {}};
  }
  std::filesystem::path log() const { return directory_.path() / "log"; }
  static Result<void> agree(const ProcessIdentity&) { return {}; }
  static void reap(const ProcessIdentity& process) {
    ::waitpid(static_cast<pid_t>(process.pid), nullptr, 0);
  }

  dvs::runtime::TemporaryDirectory directory_;
};

TEST_F(LocalLaunch, NothingRunsThatWasNotRecorded) {
  bool was_empty = false;
  const auto process = launch(shell("echo ran"), [&](const ProcessIdentity&) {
    std::this_thread::sleep_for(20ms);
    was_empty = read_text(log()).empty();
    return Result<void>();
  });
  ASSERT_TRUE(process);
  reap(*process);
  EXPECT_TRUE(was_empty);
  EXPECT_EQ(read_text(log()), "ran\n");
}

TEST_F(LocalLaunch, WhatCouldNotBeRecordedNeverRuns) {
  const auto process = launch(shell("echo ran"), [](const ProcessIdentity&) -> Result<void> {
    return fail(Errc::queue_full, "the disk");
  });
  EXPECT_EQ(process.error().code, Errc::queue_full);
  EXPECT_EQ(read_text(log()), "");
}

TEST_F(LocalLaunch, ASessionOfItsOwnWithNothingInherited) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto process = launch(shell("ls /proc/$$/fd; cut -d' ' -f6 /proc/$$/stat"), agree);
  ASSERT_TRUE(process);
  reap(*process);
  for (const int end : ends) ::close(end);
  const std::string text = read_text(log());
  EXPECT_TRUE(text.starts_with("0\n1\n2\n")) << text;
  EXPECT_EQ(text.find("\n" + std::to_string(ends[1]) + "\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\n" + std::to_string(process->pid) + "\n")) << text;
}

TEST_F(LocalLaunch, KeepsToItsCores) {
  Launch what = shell("grep Cpus_allowed_list /proc/self/status");
  what.cores = {machine_cores().back()};
  const auto process = launch(what, agree);
  ASSERT_TRUE(process);
  reap(*process);
  EXPECT_TRUE(read_text(log()).ends_with("\t" + std::to_string(what.cores[0]) + "\n"))
      << read_text(log());
}

TEST_F(LocalLaunch, AProgramThatIsNotThereIsNamedInTheLog) {
  Launch what = shell("");
  what.command[0] = "/no/such/program";
  const auto process = launch(what, agree);
  ASSERT_TRUE(process);
  reap(*process);
  EXPECT_NE(read_text(log()).find("/no/such/program"), std::string::npos);
}

TEST_F(LocalLaunch, ProcessesArePausedAndEnded) {
  const auto process = launch(shell("trap 'exit 0' TERM; while :; do sleep 0.01; done"), agree);
  ASSERT_TRUE(process);
  EXPECT_EQ(state_of(*process), ProcessState::running);
  std::vector<runtime::Fd> opened;
  opened.push_back(*open_process(*process));
  ASSERT_TRUE(send_signal(opened[0], SIGSTOP));
  EXPECT_TRUE(wait_until([&] { return state_of(*process) == ProcessState::paused; }));
  EXPECT_TRUE(end_processes(opened, patience));
  EXPECT_EQ(state_of(*process), ProcessState::dead);
  reap(*process);
  EXPECT_EQ(open_process(*process).error().code, Errc::peer_died);
  EXPECT_EQ(send_signal(opened[0], SIGTERM).error().code, Errc::peer_died);
}

TEST_F(LocalLaunch, WhoDoesNotEndIsKilled) {
  const auto process =
      launch(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done"), agree);
  ASSERT_TRUE(process);
  ASSERT_TRUE(wait_until([&] { return read_text(log()) == "ready\n"; }));
  std::vector<runtime::Fd> opened;
  opened.push_back(*open_process(*process));
  EXPECT_TRUE(end_processes(opened, 50ms));
  int status = 0;
  ::waitpid(static_cast<pid_t>(process->pid), &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(LocalLaunch, APidAloneIsNoProcess) {
  const auto process = launch(shell("sleep 100"), agree);
  ASSERT_TRUE(process);
  const ProcessIdentity other{process->pid, process->start_time + 1};
  EXPECT_EQ(open_process(other).error().code, Errc::peer_died);
  EXPECT_EQ(state_of(other), ProcessState::dead);
  EXPECT_EQ(open_process({}).error().code, Errc::peer_died);
  EXPECT_TRUE(kill_process(*open_process(*process)));
  reap(*process);
}

}  // namespace
}  // namespace dvs::local

// For tests: a real dvsd in a process of its own, with directories of its own.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <dvs/result.hpp>

#include "runtime/temporary_directory.hpp"

namespace dvk::daemon::test {

using dvs::runtime::TemporaryDirectory;

// Runs dvsd to its end. Returns its exit code and what it wrote to stdout and stderr; -1: it was
// killed.
struct Outcome {
  int exit_code = -1;
  std::string output;
};
Outcome run_dvsd(const std::vector<std::string>& arguments);

class DvsdProcess {
 public:
  // Starts dvsd with `directory`/state and `directory`/run and waits until it is ready.
  static dvs::Result<std::unique_ptr<DvsdProcess>> start(const std::filesystem::path& directory,
                                                         std::vector<std::string> arguments = {});
  // Kills it if it still runs.
  ~DvsdProcess();
  DvsdProcess(const DvsdProcess&) = delete;
  DvsdProcess& operator=(const DvsdProcess&) = delete;

  std::string socket(const std::string& file = "dvk.sock") const;
  // The answer to a control command.
  std::string ask(const std::string& command) const;
  // The number that follows `"key":` first in the answer to `status`; -1 if there is none.
  long long status(const std::string& key) const;
  // Asks until the status contains `text`. False: it never did.
  bool wait_for_status(const std::string& text) const;
  pid_t pid() const { return pid_; }
  // Sends the signal and waits for the end; the exit code, -1 if it was killed by a signal.
  int end(int signal);
  bool is_running();
  std::string log() const;

 private:
  DvsdProcess(std::filesystem::path directory, pid_t pid)
      : directory_(std::move(directory)), pid_(pid) {}

  std::filesystem::path directory_;
  pid_t pid_;
};

// A port of the loopback interface that was free a moment ago.
std::uint16_t free_port();

}  // namespace dvk::daemon::test

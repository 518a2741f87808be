// A process that a test started: it dies with the test, and is only ever ended by its own number.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dvs/result.hpp>

namespace integration {

struct ChildOptions {
  std::vector<std::string> command{};      // the first is looked up in $PATH
  std::vector<std::string> environment{};  // "NAME=value", beside what the test has
  int network = -1;                        // a network namespace to run in
  uid_t uid = 0;                           // run as; needs root
  // Where its output goes, appended. Empty: nowhere.
  std::filesystem::path log{};
};

// To be started from the test's main thread: a child ends with the thread that started it.
class Child {
 public:
  static dvs::Result<Child> start(const ChildOptions& options);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  // Kills it, if it still runs, and waits for its end.
  ~Child();

  pid_t pid() const { return pid_; }
  bool is_running();
  void signal(int number) const;
  // The exit code, or 128 + the signal that ended it. Nothing: it still runs.
  std::optional<int> wait(std::chrono::milliseconds patience);
  void kill();

 private:
  explicit Child(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;  // -1: none, or waited for
  std::optional<int> exit_code_;
};

// Runs to the end. Errors: system, when the exit code is not 0, with the output in the detail.
dvs::Result<void> run(ChildOptions options);

}  // namespace integration

#include "integration/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace integration {
namespace {

constexpr int exit_unstartable = 127;

// Between fork and exec: only calls that are safe in a copy of a process with threads.
[[noreturn]] void become(const ChildOptions& options, int output, char* const* arguments,
                         char* const* environment) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (options.network >= 0 && setns(options.network, CLONE_NEWNET) != 0) _exit(exit_unstartable);
  // The plain system calls: those of the C library would ask the test's threads to follow.
  if (options.uid != 0 &&
      (syscall(SYS_setgid, options.uid) != 0 || syscall(SYS_setuid, options.uid) != 0)) {
    _exit(exit_unstartable);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int input = open("/dev/null", O_RDONLY);
  if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(exit_unstartable);
  execvpe(arguments[0], arguments, environment);
  _exit(exit_unstartable);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

dvs::Result<Child> Child::start(const ChildOptions& options) {
  std::vector<std::string> command = options.command;
  std::vector<std::string> environment = options.environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  const auto arguments = pointers(command);
  const auto variables = pointers(environment);
  const std::string log = options.log.empty() ? "/dev/null" : options.log.string();
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) return dvs::fail_os("open " + log);
  const pid_t pid = fork();
  if (pid == 0) become(options, output, arguments.data(), variables.data());
  close(output);
  if (pid < 0) return dvs::fail_os("fork");
  return Child(pid);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_code_(other.exit_code_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  kill();
  pid_ = std::exchange(other.pid_, -1);
  exit_code_ = other.exit_code_;
  return *this;
}

Child::~Child() {
  kill();
}

bool Child::is_running() {
  return !wait(std::chrono::milliseconds(0));
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::optional<int> Child::wait(std::chrono::milliseconds patience) {
  if (pid_ <= 0) return exit_code_;
  const int watched = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd entry{.fd = watched, .events = POLLIN, .revents = 0};
  poll(&entry, 1, static_cast<int>(patience.count()));
  close(watched);
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

void Child::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  // A killed process ends; only the kernel says when.
  while (!wait(std::chrono::seconds(1))) {
  }
}

dvs::Result<void> run(ChildOptions options) {
  char path[] = "/tmp/dvs-output-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) return dvs::fail_os("mkstemp");
  close(file);
  options.log = path;
  auto child = Child::start(options);
  const auto code = child ? child->wait(std::chrono::seconds(60)) : std::nullopt;
  std::ifstream output(path);
  const std::string text(std::istreambuf_iterator<char>(output), {});
  unlink(path);
  if (!child) return std::unexpected(child.error());
  if (code == 0) return {};
  std::string what;
  for (const std::string& word : options.command) what += word + " ";
  return dvs::fail(dvs::Errc::system, what + "failed: " + text);
}

}  // namespace integration

// See dvsd_process.hpp. DVSD_PATH is the binary that was built beside the test.
#include "dvk/daemon/dvsd_process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "dvk/daemon/control_server.hpp"
#include "dvk/daemon/raw_client.hpp"

namespace dvk::daemon::test {

using dvs::Errc;
using dvs::fail;
using dvs::Result;
namespace fs = std::filesystem;

namespace {

constexpr auto poll_interval = std::chrono::milliseconds(5);

std::string read_all(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

pid_t spawn(const std::vector<std::string>& arguments, const fs::path& output) {
  std::vector<char*> raw{const_cast<char*>("dvsd")};
  for (const std::string& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(fd, 1);
  ::dup2(fd, 2);
  ::execv(DVSD_PATH, raw.data());
  ::_exit(127);
}

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

Outcome run_dvsd(const std::vector<std::string>& arguments) {
  const TemporaryDirectory directory;
  const pid_t pid = spawn(arguments, directory.path() / "output");
  int status = 0;
  ::waitpid(pid, &status, 0);
  return {exit_code(status), read_all(directory.path() / "output")};
}

Result<std::unique_ptr<DvsdProcess>> DvsdProcess::start(const fs::path& directory,
                                                        std::vector<std::string> arguments) {
  fs::create_directories(directory);
  arguments.insert(arguments.end(), {"--state-dir", (directory / "state").string(), "--run-dir",
                                     (directory / "run").string(), "--log-level", "debug"});
  fs::remove(directory / "run" / "control.sock");
  std::unique_ptr<DvsdProcess> process(
      new DvsdProcess(directory, spawn(arguments, directory / "log")));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!ask_daemon(process->socket("control.sock"), "status")) {
    if (!process->is_running() || std::chrono::steady_clock::now() > deadline) {
      return fail(Errc::unreachable, "dvsd did not start: " + process->log());
    }
    std::this_thread::sleep_for(poll_interval);
  }
  return process;
}

DvsdProcess::~DvsdProcess() {
  if (is_running()) end(SIGKILL);
}

std::string DvsdProcess::socket(const std::string& file) const {
  return (directory_ / "run" / file).string();
}

std::string DvsdProcess::ask(const std::string& command) const {
  return ask_daemon(socket("control.sock"), command).value_or("no answer");
}

long long DvsdProcess::status(const std::string& key) const {
  const std::string text = ask("status");
  const std::string pattern = "\"" + key + "\":";
  const std::size_t at = text.find(pattern);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + pattern.size());
}

bool DvsdProcess::wait_for_status(const std::string& text) const {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (ask("status").find(text) == std::string::npos) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(poll_interval);
  }
  return true;
}

int DvsdProcess::end(int signal) {
  if (pid_ <= 0) return -1;
  ::kill(pid_, signal);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code(status);
}

bool DvsdProcess::is_running() {
  if (pid_ <= 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == 0) return true;
  pid_ = -1;
  return false;
}

std::string DvsdProcess::log() const {
  return read_all(directory_ / "log");
}

std::uint16_t free_port() {
  const dvs::runtime::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace dvk::daemon::test

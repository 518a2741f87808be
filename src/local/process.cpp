// See process.hpp.
#include "local/process.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "runtime/unix_socket.hpp"

namespace dvs::local {

using runtime::Fd;
namespace fs = std::filesystem;

namespace {

constexpr int exit_unstartable = 127;
constexpr auto kill_patience = std::chrono::milliseconds(10'000);

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

struct Pipe {
  Fd reader, writer;
};
Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_os("pipe2");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// A file without a name, to be read from its beginning: unlike a pipe it never waits for a reader.
Result<Fd> file_with(std::string_view text) {
  Fd fd(::memfd_create("input", MFD_CLOEXEC));
  if (!fd) return fail_os("memfd_create");
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_os("writing input");
  }
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return fail_os("lseek");
  return fd;
}

void reset_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGHUP, SIG_DFL);
}

[[noreturn]] void give_up(const char* what) {
  const std::string text = fmt::format("dvs: {}: error {}\n", what, errno);
  [[maybe_unused]] const ssize_t ignored = ::write(2, text.data(), text.size());
  ::_exit(exit_unstartable);
}

}  // namespace

// --- Running to the end --------------------------------------------------------------------------

Result<void> run(const std::vector<std::string>& command, std::string_view input) {
  DVS_TRY(const Fd given, file_with(input));
  DVS_TRY(Pipe from, make_pipe());
  const auto arguments = pointers(command);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_os("fork");
  if (pid == 0) {
    reset_signals();
    if (::dup2(given.get(), 0) < 0 || ::dup2(from.writer.get(), 1) < 0 ||
        ::dup2(from.writer.get(), 2) < 0) {
      ::_exit(exit_unstartable);
    }
    ::execvp(arguments[0], arguments.data());
    ::_exit(exit_unstartable);
  }
  from.writer.close();
  std::string output;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(from.reader.get(), buffer, sizeof buffer)) > 0) output.append(buffer, got);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == exit_unstartable) {
    return fail(Errc::unsupported, "the program " + command[0] + " is not there; install it");
  }
  while (output.ends_with('\n')) output.pop_back();
  return fail(Errc::system, fmt::format("{}: {}", fmt::join(command, " "), output));
}

// --- Starting what stays -------------------------------------------------------------------------

namespace {

// What has no network of its own shares the host's mounts, too.
void enter_namespaces(const Fd& network) {
  if (!network) return;
  if (::setns(network.get(), CLONE_NEWNET) != 0) give_up("entering the network namespace");
  if (::unshare(CLONE_NEWNS) != 0) give_up("making a mount namespace");
  // What the host unmounts goes here, too; what is mounted here stays here.
  if (::mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) give_up("keeping mounts apart");
}

void keep_to_cores(const std::vector<int>& cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) give_up("keeping to the cores");
}

[[noreturn]] void become(const Launch& launch, const Fd& log, const Fd& network, const Fd& go,
                         char* const* arguments) {
  reset_signals();
  ::setsid();
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (::dup2(nothing, 0) < 0 || ::dup2(log.get(), 1) < 0 || ::dup2(log.get(), 2) < 0) {
    ::_exit(exit_unstartable);
  }
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  enter_namespaces(network);
  keep_to_cores(launch.cores);
  if (::chdir("/") != 0) give_up("chdir /");
  ::umask(022);
  char word[2];
  // The end without a word: whoever started this one died before it could write it down.
  if (::read(go.get(), word, sizeof word) <= 0) ::_exit(exit_unstartable);
  ::execv(arguments[0], arguments);
  give_up(arguments[0]);
}

Result<ProcessLine> process_line(std::int64_t pid) {
  return parse_process_line(read_text(fmt::format("/proc/{}/stat", pid)));
}

// Dead, though nobody has asked yet how it ended.
bool is_zombie(const ProcessLine& line) {
  return line.state == 'Z' || line.state == 'X';
}

}  // namespace

Result<ProcessIdentity> launch(const Launch& launch,
                               const std::function<Result<void>(const ProcessIdentity&)>& record) {
  const Fd log(::open(launch.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log) return fail_os("open " + launch.log.string());
  Fd network;
  if (!launch.network.empty()) {
    network = Fd(::open(launch.network.c_str(), O_RDONLY | O_CLOEXEC));
    if (!network) return fail_os("open " + launch.network);
  }
  DVS_TRY(auto go, runtime::unix_socket_pair());
  const auto arguments = pointers(launch.command);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_os("fork");
  if (pid == 0) {
    go.first.close();
    become(launch, log, network, go.second, arguments.data());
  }
  const auto line = process_line(pid);
  const ProcessIdentity process{pid, line ? line->start_time : 0};
  const Result<void> result = line ? record(process) : std::unexpected(line.error());
  if (!result) {
    go.first.close();
    ::waitpid(pid, nullptr, 0);
    return std::unexpected(result.error());
  }
  go.second.close();
  // It may have died already, with its last words in its log.
  (void)runtime::send_packet(go.first.get(), as_bytes("go"));
  return process;
}

// --- Finding and ending --------------------------------------------------------------------------

Result<ProcessLine> parse_process_line(std::string_view line) {
  // The name may contain blanks and parentheses, the fields behind it may not.
  const std::size_t end = line.rfind(')');
  constexpr int state_field = 3, start_time_field = 22;
  ProcessLine result;
  std::string_view rest = end == std::string_view::npos ? "" : line.substr(end + 1);
  for (int field = state_field; field <= start_time_field; ++field) {
    if (!rest.starts_with(' ')) return fail(Errc::peer_died, "there is no such process");
    rest.remove_prefix(1);
    const std::string_view word = rest.substr(0, rest.find_first_of(" \n"));
    rest.remove_prefix(word.size());
    if (field == state_field && !word.empty()) result.state = word.front();
    if (field == start_time_field) {
      const auto [stop, error] =
          std::from_chars(word.data(), word.data() + word.size(), result.start_time);
      if (error != std::errc{}) return fail(Errc::peer_died, "there is no such process");
    }
  }
  return result;
}

Result<Fd> open_process(const ProcessIdentity& process) {
  if (process.pid <= 0) return fail(Errc::peer_died, "it was never started");
  const auto pid = static_cast<pid_t>(process.pid);
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd && errno == ESRCH) return fail(Errc::peer_died, "it is gone");
  if (!fd) return fail_os("pidfd_open");
  // The pidfd means one process for ever: if the pid still is what it was, this is it.
  const auto line = process_line(pid);
  if (!line || is_zombie(*line) || line->start_time != process.start_time) {
    return fail(Errc::peer_died, "it is gone, and its pid means another process");
  }
  return fd;
}

ProcessState state_of(const ProcessIdentity& process) {
  if (!open_process(process)) return ProcessState::dead;
  const auto line = process_line(process.pid);
  if (!line || is_zombie(*line)) return ProcessState::dead;
  return line->state == 'T' || line->state == 't' ? ProcessState::paused : ProcessState::running;
}

Result<void> send_signal(const Fd& process, int signal) {
  if (::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0) return {};
  if (errno == ESRCH) return fail(Errc::peer_died, "it is gone");
  return fail_os("pidfd_send_signal");
}

std::vector<Fd> processes_in(const std::string& network) {
  std::vector<Fd> found;
  struct stat wanted {};
  if (::stat(network.c_str(), &wanted) != 0) return found;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    const auto [stop, failed] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failed != std::errc{} || pid == ::getpid()) continue;
    Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    struct stat own {};
    // Asked after the pidfd was taken: then what is asked about is what it means.
    if (process && ::stat((entry->path() / "ns/net").c_str(), &own) == 0 &&
        own.st_dev == wanted.st_dev && own.st_ino == wanted.st_ino) {
      found.push_back(std::move(process));
    }
  }
  return found;
}

namespace {

// Waits until all have ended, or the time is over. True: they have.
bool wait_for(const std::vector<Fd>& processes, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  return std::ranges::all_of(processes, [&](const Fd& process) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd entry{.fd = process.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, static_cast<int>(std::max<long>(left.count(), 0))) == 1;
  });
}

}  // namespace

Result<void> kill_process(const Fd& process) {
  DVS_CHECK(send_signal(process, SIGKILL));
  pollfd entry{.fd = process.get(), .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, static_cast<int>(kill_patience.count())) == 1) return {};
  return fail(Errc::deadline, "the process was killed and does not end");
}

Result<void> end_processes(const std::vector<Fd>& processes, std::chrono::milliseconds patience) {
  for (const Fd& process : processes) {
    (void)send_signal(process, SIGTERM);
    (void)send_signal(process, SIGCONT);
  }
  if (wait_for(processes, patience)) return {};
  for (const Fd& process : processes) (void)send_signal(process, SIGKILL);
  if (wait_for(processes, kill_patience)) return {};
  return fail(Errc::deadline, "a process that was killed does not end");
}

// --- The machine ---------------------------------------------------------------------------------

std::string boot_id() {
  std::string text = read_text("/proc/sys/kernel/random/boot_id");
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

std::vector<int> machine_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

}  // namespace dvs::local

// Processes that outlive the program that started them, found again and ended by what they are, not
// by what they are called: pid and start time, held by a pidfd.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <dvs/result.hpp>

#include "local/record.hpp"
#include "runtime/fd.hpp"

namespace dvs::local {

// Runs a program to its end and gives its input to it. Blocks. Errors: system, with what it wrote
// in the detail; unsupported (there is no such program).
Result<void> run(const std::vector<std::string>& command, std::string_view input = {});

struct Launch {
  std::vector<std::string> command;  // the first is a path
  std::filesystem::path log;         // for its output, appended
  std::string network;               // path of a namespace to be in; empty: this one
  std::vector<int> cores;            // empty: all
};
// Starts a process in a session of its own, without terminal, with no descriptor of this one, and,
// where it has a network of its own, with mounts of its own. It goes on only once `record` has
// returned well, so nothing runs that was not written down. Errors: system, those of `record`.
Result<ProcessIdentity> launch(const Launch& launch,
                               const std::function<Result<void>(const ProcessIdentity&)>& record);

// A pidfd of that process. Errors: peer_died (it is gone; the pid may mean another), system.
Result<runtime::Fd> open_process(const ProcessIdentity& process);
enum class ProcessState { running, paused, dead };
ProcessState state_of(const ProcessIdentity& process);
constexpr const char* name_of(ProcessState state) {
  return state == ProcessState::running  ? "running"
         : state == ProcessState::paused ? "paused"
                                         : "dead";
}

// Errors: peer_died, system.
Result<void> send_signal(const runtime::Fd& process, int signal);

// All processes in the network namespace at that path, but not the caller itself.
std::vector<runtime::Fd> processes_in(const std::string& network);

// Asks them to end (SIGTERM, also if they are paused), then, after `patience`, kills them. Blocks
// until they have ended. Errors: deadline (one does not die).
Result<void> end_processes(const std::vector<runtime::Fd>& processes,
                           std::chrono::milliseconds patience);

// "1234 (name) S ...": the 22nd field and the state of a line of /proc/PID/stat. Pure.
struct ProcessLine {
  char state = '?';
  std::uint64_t start_time = 0;
};
Result<ProcessLine> parse_process_line(std::string_view line);

// Kills it and waits until it has ended. Errors: as end_processes.
Result<void> kill_process(const runtime::Fd& process);

std::string boot_id();
std::vector<int> machine_cores();

}  // namespace dvs::local

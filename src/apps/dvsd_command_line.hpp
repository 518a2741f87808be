// What dvsd is asked to do, read from its arguments.
#pragma once

#include <filesystem>
#include <string>
#include <variant>

#include "dvk/daemon/config.hpp"

namespace dvsd {

struct Run {
  dvk::daemon::Overrides overrides;
  bool only_check = false;
};
struct PkiInit {
  std::filesystem::path directory;
  std::string cluster;
  int days = 3650;
};
struct PkiIssue {
  std::filesystem::path directory;
  std::uint32_t node = 0;
  std::filesystem::path out;  // empty: DIR/node-N
  int days = 365;
};
// One command for the control socket of a running dvsd.
struct Control {
  std::filesystem::path run_dir;
  std::string command;
};
// Nothing left to do: help or a complaint was printed.
struct Done {
  int exit_code = 0;
};
using Request = std::variant<Run, PkiInit, PkiIssue, Control, Done>;

constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

Request read_command_line(int argument_count, char** arguments);

}  // namespace dvsd

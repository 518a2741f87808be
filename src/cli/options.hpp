// What the command line can say, and the commands it can name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace dvs::cli {

constexpr int exit_success = 0;
constexpr int exit_failure = 1;  // it was tried, and did not succeed
constexpr int exit_usage = 2;    // it could not be tried: an argument is wrong

struct Options {
  std::string version;  // of this program

  // For all commands.
  std::string at;      // "n2": a node of the local cluster; "" not said
  std::string socket;  // of an API; "" not said
  std::string cluster = "dvs";
  bool is_json = false;

  // Of single ones.
  std::string node;
  std::uint64_t since = 0;
  bool follow = false;
  std::optional<std::uint64_t> tail;
  int local_nodes = 0;  // 0: not said
  int cores_per_node = 0;
  std::filesystem::path directory, daemon;
  std::string shell;
};

// Does what it is asked, prints what there is to print, and returns the exit code.
using Command = int (*)(const Options& options);

}  // namespace dvs::cli

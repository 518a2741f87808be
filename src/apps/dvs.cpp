// dvs: the command line. Exit codes: 0, 1 failure, 2 usage.
#include <exception>

#include <fmt/format.h>

#include "apps/version.hpp"
#include "cli/command_line.hpp"

int main(int argument_count, char** arguments) {
  try {
    return dvs::cli::run(argument_count, arguments, dvsd::version);
  } catch (const std::exception& error) {
    // Libraries throw where nothing can be done any more: out of memory, mostly.
    fmt::print(stderr, "dvs: {}\n", error.what());
    return dvs::cli::exit_failure;
  }
}

// The command line as a tree, and what it was asked.
#pragma once

#include <memory>
#include <string>

#include "cli/options.hpp"

namespace CLI {
class App;
}

namespace dvs::cli {

// Reads the arguments, does what they say, and returns the exit code.
int run(int argument_count, char** arguments, const std::string& version);

// The tree alone. Parsing it fills `options` and sets `command`; both must outlive it.
std::unique_ptr<CLI::App> make_command_line(Options& options, Command& command);

}  // namespace dvs::cli

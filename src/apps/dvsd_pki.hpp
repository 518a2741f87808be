// The subcommands of dvsd that make certificates.
#pragma once

#include "apps/dvsd_command_line.hpp"

namespace dvsd {

// Both print what they made and return the exit code.
int run(const PkiInit& request);
int run(const PkiIssue& request);

}  // namespace dvsd

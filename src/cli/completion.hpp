// Completions for shells, made from the command line's own tree, so that they always agree with it.
#pragma once

#include <string>
#include <string_view>

#include <dvs/result.hpp>

namespace CLI {
class App;
}

namespace dvs::cli {

// A script for bash, zsh or fish. What the ordinary help hides is left out.
// Errors: invalid_argument (another shell).
Result<std::string> completion_script(const CLI::App& app, std::string_view shell);

}  // namespace dvs::cli

// How the daemon writes its log: one line per event to stderr, `event=what key=value ...`, values
// with blanks in quotes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

#include <dvs/error.hpp>
#include <dvs/ids.hpp>

namespace dvk::daemon {

// `level` is one of spdlog's names; checked by the configuration.
void set_up_log(const std::string& level);

// The text in double quotes, on one line whatever it contains.
std::string log_text(std::string_view text);
inline std::string log_text(const dvs::Error& error) {
  return log_text(std::string_view(dvs::to_string(error)));
}

// "1,2,4"
std::string number_list(std::span<const dvs::NodeId> nodes);

}  // namespace dvk::daemon

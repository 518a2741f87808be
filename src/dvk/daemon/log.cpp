// See log.hpp.
#include "dvk/daemon/log.hpp"

#include <memory>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace dvk::daemon {

void set_up_log(const std::string& level) {
  auto logger =
      std::make_shared<spdlog::logger>("dvsd", std::make_shared<spdlog::sinks::stderr_sink_st>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

std::string log_text(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string number_list(std::span<const dvs::NodeId> nodes) {
  std::string text;
  for (const dvs::NodeId node : nodes) {
    text += (text.empty() ? "" : ",") + std::to_string(dvs::raw(node));
  }
  return text;
}

}  // namespace dvk::daemon

// The target of a request, "/v1/nodes/2?since=7&follow=true", taken apart.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dvs/result.hpp>

namespace dvs::api {

struct Target {
  std::vector<std::string> path;  // between the slashes, decoded
  std::map<std::string, std::string> query;
};

constexpr std::size_t target_bytes_max = 4096;

// Errors: invalid_argument (no path, too long, a "%" that no two hexadecimal digits follow, a
// control character, a name that stands twice in the query).
Result<Target> parse_target(std::string_view text);

// Whether the path fits a pattern like "/v1/nodes/{id}"; then what stands for its names.
std::optional<std::map<std::string, std::string>> match_path(std::string_view pattern,
                                                             const std::vector<std::string>& path);

}  // namespace dvs::api

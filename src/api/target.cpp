// See target.hpp.
#include "api/target.hpp"

#include <charconv>

namespace dvs::api {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Result<std::string> decode(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    char character = text[at];
    if (character == '%') {
      unsigned value = 0;
      const std::string_view digits = text.substr(at + 1, 2);
      const char* end = digits.data() + digits.size();
      const auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
      if (digits.size() != 2 || error != std::errc{} || stop != end) {
        return fail(Errc::invalid_argument, "a \"%\" in the target has no two hexadecimal digits");
      }
      character = static_cast<char>(value);
      at += 2;
    }
    if (static_cast<unsigned char>(character) < 0x20) {
      return fail(Errc::invalid_argument, "a control character in the target");
    }
    result += character;
  }
  return result;
}

Result<std::map<std::string, std::string>> parse_query(std::string_view text) {
  std::map<std::string, std::string> query;
  for (const std::string_view part : split(text, '&')) {
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    DVS_TRY(std::string name, decode(part.substr(0, equals)));
    std::string value;
    if (equals != std::string_view::npos) {
      DVS_TRY(value, decode(part.substr(equals + 1)));
    }
    if (!query.emplace(name, std::move(value)).second) {
      return fail(Errc::invalid_argument, "\"" + name + "\" stands twice in the query");
    }
  }
  return query;
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  if (text.size() > target_bytes_max) return fail(Errc::invalid_argument, "the target is too long");
  if (!text.starts_with('/')) return fail(Errc::invalid_argument, "the target is no path");
  const std::size_t question = text.find('?');
  Target target;
  for (const std::string_view part : split(text.substr(1, question - 1), '/')) {
    DVS_TRY(target.path.emplace_back(), decode(part));
  }
  if (question != std::string_view::npos) {
    DVS_TRY(target.query, parse_query(text.substr(question + 1)));
  }
  return target;
}

std::optional<std::map<std::string, std::string>> match_path(std::string_view pattern,
                                                             const std::vector<std::string>& path) {
  const auto parts = split(pattern.substr(1), '/');
  if (parts.size() != path.size()) return std::nullopt;
  std::map<std::string, std::string> names;
  for (std::size_t at = 0; at < parts.size(); ++at) {
    if (parts[at].starts_with('{')) {
      names[std::string(parts[at].substr(1, parts[at].size() - 2))] = path[at];
    } else if (parts[at] != path[at]) {
      return std::nullopt;
    }
  }
  return names;
}

}  // namespace dvs::api

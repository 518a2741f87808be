#include "cluster/state/path_name.hpp"

#include <cstddef>
#include <cstdint>

#include "cluster/state/limits.hpp"

namespace dvs::cluster {
namespace {

// How many bytes the first character of the text has, 0 if it is not well-formed or not printable.
// Well-formed as in table 3-7 of the Unicode standard: no surrogates, nothing longer than needed.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const std::uint8_t second = byte(1);
  if (first == 0xC2 && second < 0xA0) return 0;  // the control characters U+0080..U+009F
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return size;
}

}  // namespace

bool is_printable(std::string_view text, std::size_t bytes_max) {
  if (text.size() > bytes_max) return false;
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

bool is_path_name(std::string_view name) {
  if (name.empty() || !is_printable(name, key_bytes_max)) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t slash = name.find('/', begin);
    const std::size_t end = slash == std::string_view::npos ? name.size() : slash;
    const std::string_view segment = name.substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == "..") return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace dvs::cluster

// Byte buffers and time as the whole code base passes them around.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace dvs {

using Bytes = std::vector<std::byte>;
using BytesView = std::span<const std::byte>;

// Pure code is handed the time; only the outermost loop reads a clock. In simulation it is
// invented.
using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
constexpr TimePoint never = TimePoint::max();

inline BytesView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(BytesView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(BytesView view) {
  return Bytes(view.begin(), view.end());
}

}  // namespace dvs

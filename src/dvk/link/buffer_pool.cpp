// See buffer_pool.hpp.
#include "dvk/link/buffer_pool.hpp"

#include <algorithm>
#include <utility>

namespace dvk::link {

namespace {

constexpr std::size_t bytes_min = 8 * 1024;  // below that malloc is as good
constexpr std::size_t free_bytes_max = 8 * 1024 * 1024;
constexpr std::size_t looked_at_max = 8;

}  // namespace

dvs::Bytes BufferPool::take(std::size_t bytes) {
  if (bytes >= bytes_min) {
    const std::size_t count = std::min(free_.size(), looked_at_max);
    for (auto it = free_.rbegin(); it != free_.rbegin() + static_cast<std::ptrdiff_t>(count);
         ++it) {
      if (it->capacity() < bytes) continue;
      std::swap(*it, free_.back());
      dvs::Bytes buffer = std::move(free_.back());
      free_.pop_back();
      free_bytes_ -= buffer.capacity();
      buffer.resize(bytes);
      return buffer;
    }
  }
  return dvs::Bytes(bytes);
}

void BufferPool::give(dvs::Bytes buffer) {
  const std::size_t capacity = buffer.capacity();
  if (capacity < bytes_min || free_bytes_ + capacity > free_bytes_max) return;
  free_bytes_ += capacity;
  free_.push_back(std::move(buffer));
}

}  // namespace dvk::link

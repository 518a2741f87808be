// Large buffers that go round between the layer above, the retained queue and back: a fresh one
// costs a page fault for every 4 KiB.
#pragma once

#include <cstddef>
#include <vector>

#include "base/bytes.hpp"

namespace dvk::link {

class BufferPool {
 public:
  // A buffer of that size with any contents. The one returned last comes first: it is in the cache.
  dvs::Bytes take(std::size_t bytes);
  // Keeps it for later if it is worth keeping and there are not too many.
  void give(dvs::Bytes buffer);

 private:
  std::vector<dvs::Bytes> free_;
  std::size_t free_bytes_ = 0;
};

}  // namespace dvk::link

// A full memory fence: no load after it is done before a store before it has become visible.
#pragma once

#include <atomic>

namespace dvk::ring {

// GCC warns that ThreadSanitizer does not model fences. None of our data is ordered by them (that
// is done by release and acquire on the words themselves); they only decide whether somebody must
// be woken.
#if defined(__GNUC__) && !defined(__clang__) && defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
inline void full_fence() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
#if defined(__GNUC__) && !defined(__clang__) && defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic pop
#endif

}  // namespace dvk::ring

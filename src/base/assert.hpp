// Invariants of our own code. They stay on in release builds: a broken invariant must stop the
// process before it spreads. Input from outside is never asserted, it is checked and refused.
#pragma once

#include <cstdio>
#include <cstdlib>

#define DVS_ASSERT(condition)                                                                \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

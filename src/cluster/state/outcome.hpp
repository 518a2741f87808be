// What the parts of the state say of a command: the number for the answer, or why it is refused.
#pragma once

#include <cstdint>
#include <expected>

#include <dvs/error.hpp>

namespace dvs::cluster {

// No text: what replicas agree on must not depend on how a release words it.
struct Refusal {
  Errc code{};
  std::uint64_t number = 0;
  std::uint32_t part = 0;
};
using Outcome = std::expected<std::uint64_t, Refusal>;

inline std::unexpected<Refusal> refuse(Errc code, std::uint64_t number = 0,
                                       std::uint32_t part = 0) {
  return std::unexpected(Refusal{code, number, part});
}

}  // namespace dvs::cluster

// The node's counter of numbers that are never given twice, whatever crashes when.
//
// On disk stands a number below which everything may have been given. It is raised, and known to be
// on disk, before the first number beyond the old one is given. After a crash counting goes on from
// there, so the rest of the range is skipped; after a clean stop nothing is.
#pragma once

#include <cstdint>
#include <filesystem>

#include <dvs/result.hpp>

namespace dvk::daemon {

class SerialStore {
 public:
  static constexpr std::uint64_t range = std::uint64_t{1} << 20;

  // Uses the file `serials` in `directory`, whose lock the caller holds; `is_fresh`: there need not
  // be one. Blocks for disk writes. Errors: protocol_violation (the file is damaged or missing),
  // queue_full (all numbers are used up), system.
  static dvs::Result<SerialStore> open(const std::filesystem::path& directory, bool is_fresh);

  // The next number, from 1. Blocks for a disk write once per half range. Error: system,
  // queue_full, when the reserved range is used up and no further one could be reserved.
  dvs::Result<std::uint64_t> give();
  // Whether the number may have been given, by this or an earlier daemon. Yes for those a crash
  // skipped.
  bool was_given(std::uint64_t serial) const { return serial != 0 && serial < next_; }
  // Writes down exactly how far it got; nothing can be given afterwards. Blocks for a disk write.
  dvs::Result<void> close();

 private:
  SerialStore(std::filesystem::path file, std::uint64_t next)
      : file_(std::move(file)), next_(next), reserved_(next) {}
  dvs::Result<void> reserve();

  std::filesystem::path file_;
  std::uint64_t next_;
  std::uint64_t reserved_;  // numbers below it may be given
  bool is_closed_ = false;
};

}  // namespace dvk::daemon

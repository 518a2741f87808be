// The part of a group's history that one member retains.
//
// Invariants: the entries retained are those at the positions (base, held], without gaps; a
// sender's numbers rise by one from entry to entry; entries are only added at the end and released
// at the front.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/wire/group_message.hpp"

namespace dvk::core {

class GroupLog {
 public:
  // Forgets everything; the next entry gets position base + 1.
  void start_at(std::uint64_t base);

  std::uint64_t base() const { return base_; }
  std::uint64_t held() const { return base_ + entries_.size(); }
  // Memory that the retained entries take, about.
  std::size_t bytes() const { return static_cast<std::size_t>(end_bytes_ - base_bytes_); }
  // The last position such that the entries (base, position] take at most `window` bytes; at least
  // one entry if there is one.
  std::uint64_t position_within(std::size_t window) const;

  // The number and the members of the last view entry that was appended; 0 and none before the
  // first.
  std::uint64_t view() const { return view_; }
  bool had_member(const dvs::Address& member) const;
  // The last number of `sender` that has a position, `otherwise` if the log does not know.
  std::uint64_t ordered(const dvs::Address& sender, std::uint64_t otherwise = 0) const;

  // protocol_violation: the entry cannot follow what is here; then nothing was appended, and the
  // entry is left as it was.
  dvs::Result<void> append(wire::GroupEntry&& entry);
  const wire::GroupEntry& at(std::uint64_t position) const;
  // Releases the entry at base + 1 and returns it. There must be one.
  wire::GroupEntry take_front();

 private:
  struct Retained {
    wire::GroupEntry entry;
    std::uint64_t end_bytes;  // running total of the sizes of all entries up to this one
  };

  dvs::Result<void> note_message(const wire::GroupEntry& entry);
  dvs::Result<void> note_view(const wire::GroupEntry& entry);

  std::uint64_t base_ = 0;
  std::deque<Retained> entries_;
  std::uint64_t base_bytes_ = 0;
  std::uint64_t end_bytes_ = 0;
  std::uint64_t view_ = 0;
  // The senders' last numbers. Once there was a view entry: of exactly its members.
  std::map<dvs::Address, std::uint64_t> ordered_;
};

}  // namespace dvk::core

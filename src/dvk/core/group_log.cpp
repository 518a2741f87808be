#include "dvk/core/group_log.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/assert.hpp"

namespace dvk::core {

using dvs::Errc;
using dvs::Result;
using wire::GroupEntry;
using wire::GroupEntryKind;

namespace {

std::size_t size_of(const GroupEntry& entry) {
  return sizeof(GroupEntry) + entry.payload.size() +
         entry.members.size() * sizeof(wire::GroupMember);
}

}  // namespace

void GroupLog::start_at(std::uint64_t base) {
  *this = GroupLog();
  base_ = base;
}

std::uint64_t GroupLog::position_within(std::size_t window) const {
  const auto end =
      std::ranges::upper_bound(entries_, base_bytes_ + window, {}, &Retained::end_bytes);
  const auto count = static_cast<std::uint64_t>(end - entries_.begin());
  return base_ + (count == 0 && !entries_.empty() ? 1 : count);
}

bool GroupLog::had_member(const dvs::Address& member) const {
  return view_ != 0 && ordered_.contains(member);
}

std::uint64_t GroupLog::ordered(const dvs::Address& sender, std::uint64_t otherwise) const {
  const auto found = ordered_.find(sender);
  return found == ordered_.end() ? otherwise : found->second;
}

Result<void> GroupLog::append(GroupEntry&& entry) {
  DVS_CHECK(entry.kind == GroupEntryKind::view ? note_view(entry) : note_message(entry));
  end_bytes_ += size_of(entry);
  entries_.push_back({std::move(entry), end_bytes_});
  return {};
}

Result<void> GroupLog::note_message(const GroupEntry& entry) {
  const auto found = ordered_.find(entry.sender);
  if (found == ordered_.end()) {
    // Before the first view entry the log of a joining leader learns the senders as it goes.
    if (view_ != 0)
      return dvs::fail(Errc::protocol_violation, "message of a sender outside the view");
    ordered_.emplace(entry.sender, entry.number);
    return {};
  }
  if (entry.number != found->second + 1) {
    return dvs::fail(Errc::protocol_violation, "number " + std::to_string(entry.number) +
                                                   " ordered after " +
                                                   std::to_string(found->second));
  }
  found->second = entry.number;
  return {};
}

Result<void> GroupLog::note_view(const GroupEntry& entry) {
  if (entry.number <= view_) {
    return dvs::fail(Errc::protocol_violation, "view " + std::to_string(entry.number) +
                                                   " after view " + std::to_string(view_));
  }
  std::map<dvs::Address, std::uint64_t> last_numbers;
  for (const auto& member : entry.members) {
    if (ordered(member.address, member.ordered) != member.ordered) {
      return dvs::fail(Errc::protocol_violation, "view entry contradicts the history");
    }
    last_numbers.emplace(member.address, member.ordered);
  }
  ordered_ = std::move(last_numbers);
  view_ = entry.number;
  return {};
}

const GroupEntry& GroupLog::at(std::uint64_t position) const {
  DVS_ASSERT(position > base_ && position <= held());
  return entries_[static_cast<std::size_t>(position - base_ - 1)].entry;
}

GroupEntry GroupLog::take_front() {
  DVS_ASSERT(!entries_.empty());
  Retained front = std::move(entries_.front());
  entries_.pop_front();
  ++base_;
  base_bytes_ = front.end_bytes;
  return std::move(front.entry);
}

}  // namespace dvk::core

#include "dvk/wire/group_message.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/assert.hpp"

namespace dvk::wire {
namespace {

using dvs::Errc;
using dvs::Result;

constexpr std::size_t length_bytes = sizeof(std::uint32_t);
constexpr std::size_t address_bytes = 20;
constexpr std::size_t member_bytes = address_bytes + 8 + 1;
constexpr std::size_t entry_bytes = 1 + address_bytes + 8 + 2 * length_bytes;  // without its lists

// GroupOrdered has the longest head of the messages with entries.
constexpr std::size_t ordered_head_bytes = 2 + 3 * 8 + 1 + length_bytes;
static_assert(ordered_head_bytes + entry_bytes + group_payload_bytes_max <=
              group_message_bytes_max);
static_assert(ordered_head_bytes + entry_bytes + group_members_max * member_bytes <=
              group_message_bytes_max);

bool is_number(std::uint64_t number) {
  return number < group_number_max;
}
bool is_positive(std::uint64_t number) {
  return number >= 1 && is_number(number);
}

bool is_valid(const GroupMember& member) {
  return bool(member.address) && is_number(member.ordered);
}

bool is_valid(const GroupEntry& entry) {
  if (!is_positive(entry.number)) return false;
  switch (entry.kind) {
    case GroupEntryKind::message:
      return entry.sender && entry.members.empty() &&
             entry.payload.size() <= group_payload_bytes_max;
    case GroupEntryKind::own: return entry.sender && entry.members.empty() && entry.payload.empty();
    case GroupEntryKind::view:
      return entry.sender == dvs::Address{} && entry.payload.empty() && !entry.members.empty() &&
             entry.members.size() <= group_members_max &&
             std::ranges::all_of(entry.members,
                                 [](const auto& member) { return is_valid(member); });
  }
  return false;
}

bool are_valid(std::uint64_t first, const std::vector<GroupEntry>& entries) {
  return is_positive(first) && !entries.empty() &&
         std::ranges::all_of(entries, [](const auto& entry) { return is_valid(entry); });
}

bool is_valid(const GroupReport& report) {
  if (!report.has_history) return report.held == 0 && report.own_ordered == 0;
  return is_positive(report.held) && is_number(report.own_ordered);
}
bool is_valid(const GroupFetch& fetch) {
  return fetch.after < fetch.up_to && is_number(fetch.up_to);
}
bool is_valid(const GroupHeld& held) {
  return are_valid(held.first, held.entries);
}
bool is_valid(const GroupOrdered& ordered) {
  return are_valid(ordered.first, ordered.entries) && is_number(ordered.stable);
}
bool is_valid(const GroupSubmit& submit) {
  return is_number(submit.acknowledged) && is_positive(submit.first_number) &&
         !submit.payloads.empty() && std::ranges::all_of(submit.payloads, [](const auto& payload) {
           return payload.size() <= group_payload_bytes_max;
         });
}
bool is_valid(const GroupAcknowledge& message) {
  return is_number(message.acknowledged);
}
bool is_valid(const GroupStable& message) {
  return is_number(message.stable);
}
bool is_valid(const GroupResume&) {
  return true;
}

}  // namespace

dvs::Bytes encode_group(const GroupMessage& message) {
  dvs::Bytes bytes{static_cast<std::byte>(group_version), static_cast<std::byte>(message.index())};
  Writer writer(bytes);
  // The field lists are shared with the reader, hence not const; the writer changes nothing.
  std::visit([&](auto& body) { body.fields(writer); }, const_cast<GroupMessage&>(message));
  return bytes;
}

Result<GroupMessage> decode_group(dvs::BytesView bytes) {
  if (bytes.empty() || bytes.size() > group_message_bytes_max) {
    return dvs::fail(Errc::protocol_violation,
                     "group message of " + std::to_string(bytes.size()) + " bytes");
  }
  const auto version = static_cast<unsigned>(bytes[0]);
  if (version != group_version) {
    return dvs::fail(Errc::version_mismatch, "group message of version " + std::to_string(version));
  }
  DVS_TRY(GroupMessage message, decode_variant<GroupMessage>(bytes.subspan(1)));
  const bool is_sound = std::visit([](const auto& body) { return is_valid(body); }, message);
  const bool has_view = view_of(message) > 0 || std::holds_alternative<GroupResume>(message);
  if (!is_sound || !has_view || !is_number(view_of(message))) {
    return dvs::fail(Errc::protocol_violation,
                     "group message " + std::to_string(message.index()) + " is out of range");
  }
  return message;
}

std::uint64_t view_of(const GroupMessage& message) {
  return std::visit([](const auto& body) { return body.view; }, message);
}

GroupBatch::GroupBatch(const GroupMessage& head)
    : bytes_(encode_group(head)), count_offset_(bytes_.size() - length_bytes) {}

bool GroupBatch::has_room(std::size_t item_bytes) const {
  return bytes_.size() + item_bytes <= group_message_bytes_max;
}

bool GroupBatch::add(const GroupEntry& entry, bool is_receivers_own) {
  const std::size_t payload_bytes = is_receivers_own ? 0 : entry.payload.size();
  if (!has_room(entry_bytes + entry.members.size() * member_bytes + payload_bytes)) return false;
  Writer writer(bytes_);
  if (is_receivers_own) {
    GroupEntry own{GroupEntryKind::own, entry.sender, entry.number, {}, {}};
    writer(own);
  } else {
    writer(const_cast<GroupEntry&>(entry));
  }
  ++count_;
  return true;
}

bool GroupBatch::add(const dvs::Bytes& payload) {
  if (!has_room(length_bytes + payload.size())) return false;
  Writer writer(bytes_);
  writer(const_cast<dvs::Bytes&>(payload));
  ++count_;
  return true;
}

dvs::Bytes GroupBatch::finish() && {
  DVS_ASSERT(count_ > 0);
  std::memcpy(bytes_.data() + count_offset_, &count_, length_bytes);
  return std::move(bytes_);
}

}  // namespace dvk::wire

// A totally ordered group: several endpoints, on any nodes, that deliver the same messages in the
// same order. The handbook page "Groups" states what is guaranteed and what it costs.
//
// A Group owns its endpoint. Messages (Incoming::Kind::message) from members are the group's;
// everything else that comes to the endpoint (requests, notifies, messages from others) is passed
// on by next().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <dvk/endpoint.hpp>

namespace dvk {

constexpr std::size_t max_multicast_bytes = 60 * 1024;

// Who belongs to the group. Views come from outside and must be agreed: two views with the same
// number are equal wherever they are installed, and later views have higher numbers. An endpoint
// that left must not come back (a restarted one has a new address anyway).
struct GroupView {
  std::uint64_t number = 0;
  std::vector<Address> members{};
};

// A message of the group. `position` is the same at every member.
struct GroupMessage {
  Address sender{};
  std::uint64_t number = 0;  // the sender's own count: what multicast returned
  std::uint64_t position = 0;
  Bytes payload{};

  std::string_view text() const { return as_text(payload); }
};
// From here on the view holds. Members in `joined` begin here: the application gives them the state
// as of this position (by multicast, say).
struct GroupChange {
  GroupView view{};
  std::uint64_t position = 0;
  std::vector<Address> joined{};
};
using GroupEvent = std::variant<GroupMessage, GroupChange, Incoming>;

class DVS_EXPORT Group {
 public:
  // Takes the endpoint over. Nothing is delivered before the first view.
  explicit Group(Endpoint endpoint);
  Group(Group&&) noexcept;
  Group& operator=(Group&&) noexcept;
  ~Group();

  // A view for those who have no source of views yet: the endpoints that hold these names, in this
  // order, under number 1. Waits until all of them are there. Errors: deadline, cancelled,
  // unreachable.
  static Result<GroupView> static_view(Endpoint& endpoint, std::span<const std::string> names,
                                       Deadline deadline = std::chrono::seconds(30));

  // The next view. Errors: invalid_argument.
  Result<void> install(const GroupView& view);
  // Queues a message for all members, this one included, and returns its number. Errors:
  // message_too_large, queue_full (256 are under way: take deliveries with next() first),
  // not_permitted (a view excluded this member).
  Result<std::uint64_t> multicast(BytesView payload);
  // What comes next. Errors: deadline (would_block with Deadline::now()), cancelled; not_permitted
  // once a view excluded this member and all was delivered.
  Result<GroupEvent> next(Deadline deadline = {});

  // For answering requests and the like. Do not receive from it.
  Endpoint& endpoint();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dvk

// The law of groups: one history for all members, each message in it once and each sender's in
// order; what one member delivers, all members deliver that do not die; and what a living member
// sent is delivered.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dvs/ids.hpp>

#include "dvk/core/group_core.hpp"
#include "sim/judge.hpp"
#include "sim/lives.hpp"

namespace sim {

class GroupChecker {
 public:
  GroupChecker(Judge& judge, const Lives& lives) : judge_(judge), lives_(lives) {}

  // The oracle decided on a view.
  void view_decided(std::uint64_t group, const dvk::core::GroupView& view);
  void multicast(std::uint64_t group, const dvs::Address& sender, std::uint64_t number);
  void delivered(std::uint64_t group, const dvs::Address& member,
                 const dvk::core::GroupDelivery& delivery);

  // Why the members of the last view do not agree yet; nothing: they do.
  std::optional<std::string> find_pending() const;
  void check_at_end();
  std::uint64_t deliveries() const { return deliveries_; }

  // What every member sends as its message of that number.
  static dvs::Bytes payload(const dvs::Address& sender, std::uint64_t number);

 private:
  struct Entry {  // a view when the sender is no address
    dvs::Address sender{};
    std::uint64_t number = 0;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct History {
    std::map<std::uint64_t, Entry> entries;               // by position
    std::map<dvs::Address, std::uint64_t> last_messages;  // number of each sender's last
  };
  struct Member {
    std::uint64_t history = 0;   // by the view it began with
    std::uint64_t position = 0;  // delivered last
    std::uint64_t view = 0;      // delivered last
    std::uint64_t sent = 0;
  };
  struct Group {
    std::map<std::uint64_t, dvk::core::GroupView> views;  // by number
    // More than one only if all that had the history died: those that were about to join begin
    // anew.
    std::map<std::uint64_t, History> histories;  // by the view each began with
    std::map<dvs::Address, Member> members;
  };

  Entry describe(const Group& group, const dvs::Address& member,
                 const dvk::core::GroupDelivery& delivery, std::uint64_t& position);
  std::uint64_t enter(Group& group, const dvs::Address& member, std::uint64_t position,
                      std::uint64_t view);
  void append(History& history, const dvs::Address& member, std::uint64_t position,
              const Entry& entry);
  void check_order(const History& history);
  void fail(std::string words, const dvs::Address& a, const dvs::Address& b = {});

  Judge& judge_;
  const Lives& lives_;
  std::map<std::uint64_t, Group> groups_;
  std::uint64_t deliveries_ = 0;
};

}  // namespace sim

// Decides on the views of groups: who is in at the start, who joins, and that the dead leave.
// Members learn of each view at times of their own, in order, but may miss some.
#pragma once

#include <map>

#include "sim/world.hpp"

namespace sim {

class GroupOracle {
 public:
  GroupOracle(Context& context, World& world);

  void begin();
  // A member that has not learnt of the last view yet, or died and is still in it.
  std::optional<Address> find_pending() const;

 private:
  struct Group {
    dvk::core::GroupView view;
    std::map<Address, std::uint64_t> known;  // view that a member was told last
  };

  void review(std::uint64_t number);
  void decide(std::uint64_t number, std::vector<Address> members);
  void tell(std::uint64_t number, const Address& member, const dvk::core::GroupView& view);
  std::vector<Address> candidates(const Group& group) const;

  Context& context_;
  World& world_;
  std::map<std::uint64_t, Group> groups_;
  std::map<std::uint64_t, Alarm> alarms_;
};

}  // namespace sim

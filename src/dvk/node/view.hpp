// The membership as the dvk sees it: a numbered, agreed list of nodes, handed in from outside. For
// now a static list from the configuration; later the cluster's consensus.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <dvs/ids.hpp>

namespace dvk::node {

struct View {
  std::uint64_t number = 0;
  std::vector<dvs::NodeId> members;  // ascending
  // Nobody takes out a member that is gone for good: the others must go on without one that they
  // cannot hear.
  bool is_static = false;

  bool contains(dvs::NodeId node) const { return std::ranges::binary_search(members, node); }
  // The node that keeps the directory in this view. Every node computes the same one.
  dvs::NodeId directory_authority() const {
    return members.empty() ? dvs::no_node : members.front();
  }
};

}  // namespace dvk::node

// A state under test: proposals in, answers out, the log's indexes counted here.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster/state/state.hpp"

namespace dvs::cluster {

constexpr NodeId node_of(unsigned number) {
  return static_cast<NodeId>(number);
}
inline Bytes value_of(std::string_view text) {
  return to_bytes(as_bytes(text));
}

class TestState {
 public:
  explicit TestState(const Limits& limits = {}) : state(limits) {
    client = ClientId{apply(Proposal{ClientId{}, 0, OpenSession{}}).number};
  }

  Answer apply(const Proposal& proposal) { return state.apply(++index, encode_proposal(proposal)); }
  // As the next proposal of the test's own session.
  Answer operator()(Command command) { return apply({client, ++sequence, std::move(command)}); }

  // Nodes 1..count with boots 101, 102, ..., all of them in view.
  void with_nodes(unsigned count) {
    std::vector<NodeId> members;
    for (unsigned number = 1; number <= count; ++number) {
      Join join{"n" + std::to_string(number), "host:1", {}, BootId{100 + number}, NodeRole::voter};
      members.push_back(node_of(static_cast<unsigned>((*this)(join).number)));
    }
    (*this)(ProposeView{0, members});
  }
  std::vector<Event> events_after(std::uint64_t after, std::string_view prefix = "") const {
    return state.events_after(after, prefix, 1000)->events;
  }

  State state;
  std::uint64_t index = 0;
  ClientId client{};
  std::uint64_t sequence = 0;
};

}  // namespace dvs::cluster

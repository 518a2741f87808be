#include "cluster/node/replica.hpp"

#include <algorithm>
#include <limits>
#include <variant>

namespace dvs::cluster {

namespace {

bool is_about_nodes(const Change& change) {
  return std::holds_alternative<NodeChanged>(change) || std::holds_alternative<NodeLost>(change) ||
         std::holds_alternative<NodeLeft>(change) || std::holds_alternative<ViewChanged>(change);
}

NodeId lost_by(const Change& change) {
  if (const auto* lost = std::get_if<NodeLost>(&change)) return lost->node;
  if (const auto* left = std::get_if<NodeLeft>(&change)) return left->node;
  return no_node;
}

}  // namespace

Bytes Replica::apply(std::uint64_t index, BytesView entry) {
  const std::scoped_lock lock(mutex_);
  Answer answer = state_.apply(index, entry);
  const auto page = state_.events_after(index - 1, "", std::numeric_limits<std::size_t>::max());
  if (page && std::ranges::any_of(page->events, is_about_nodes, &Event::change)) {
    RosterNews news{index, state_.roster(), {}};
    for (const Event& event : page->events) {
      if (const NodeId lost = lost_by(event.change); lost != no_node) news.lost.push_back(lost);
    }
    tell_(std::move(news));
  }
  return dvk::wire::encode_fields(answer);
}

Bytes Replica::snapshot() {
  const std::scoped_lock lock(mutex_);
  return state_.snapshot();
}

Result<void> Replica::restore(std::uint64_t index, BytesView snapshot) {
  DVS_TRY(State state, State::restore(snapshot));
  const std::scoped_lock lock(mutex_);
  RosterNews news{index, state.roster(), {}};
  for (const auto& [id, node] : state_.roster().nodes()) {
    const Node* now = state.roster().find(id);
    const bool is_same_life = now != nullptr && now->boot == node.boot && !now->is_lost;
    if (!node.is_lost && !is_same_life) news.lost.push_back(id);
  }
  state_ = std::move(state);
  tell_(std::move(news));
  return {};
}

}  // namespace dvs::cluster

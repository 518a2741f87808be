#include "cluster/state/state.hpp"

#include <utility>

#include "base/assert.hpp"

namespace dvs::cluster {

// One command on the parts it concerns.
struct State::Executor {
  State& state;
  std::uint64_t index;
  std::vector<Change>& changes;

  Outcome operator()(const OpenSession&) { return raw(state.sessions_.open(index)); }
  Outcome operator()(const Put& command) { return state.settings_.put(index, command, changes); }
  Outcome operator()(const Delete& command) { return state.settings_.erase(command, changes); }
  Outcome operator()(const Transaction& command) {
    return state.settings_.transact(index, command, changes);
  }
  Outcome operator()(const Join& command) { return state.roster_.join(command, changes); }
  Outcome operator()(const Leave& command) { return state.roster_.leave(command, changes); }
  Outcome operator()(const Announce& command) { return state.roster_.announce(command, changes); }
  Outcome operator()(const SetRole& command) { return state.roster_.set(command, changes); }
  Outcome operator()(const SetDrained& command) { return state.roster_.set(command, changes); }
  Outcome operator()(const SetLabels& command) { return state.roster_.set(command, changes); }
  Outcome operator()(const ProposeView& command) {
    Outcome outcome = state.roster_.propose_view(command, changes);
    if (outcome) state.authorities_.free_those_out_of(state.view(), changes);
    return outcome;
  }
  Outcome operator()(const DeclareLost& command) {
    return state.roster_.declare_lost(command, changes);
  }
  Outcome operator()(const Claim& command) {
    return state.authorities_.claim(command, state.view(), changes);
  }
  Outcome operator()(const Release& command) {
    return state.authorities_.release(command, changes);
  }
  Outcome operator()(const HandOver& command) {
    return state.authorities_.hand_over(command, state.view(), changes);
  }
  Outcome operator()(const Forget& command) { return state.authorities_.forget(command, changes); }
};

Outcome State::execute(std::uint64_t index, const Command& command) {
  std::vector<Change> changes;
  const Outcome outcome = std::visit(Executor{*this, index, changes}, command);
  if (!outcome) DVS_ASSERT(changes.empty());  // what is refused changes nothing
  for (Change& change : changes) history_.add(index, std::move(change));
  return outcome;
}

Answer State::decide(std::uint64_t index, BytesView entry) {
  const Result<Proposal> proposal = decode_proposal(entry);
  if (!proposal) return {index, proposal.error().code, 0, 0};
  // A version that not all nodes speak is refused by those who do speak it, too: otherwise replicas
  // of different releases would go apart.
  if (*version_of_proposal(entry) > roster_.spoken_by_all()) {
    return {index, Errc::version_mismatch, 0, 0};
  }
  const bool has_session = proposal->client != ClientId{};
  if (!has_session && !is_safe_to_repeat(proposal->command)) {
    return {index, Errc::invalid_argument, 0, 0};
  }
  if (has_session) {
    const auto earlier = sessions_.earlier(proposal->client, proposal->sequence, index);
    if (earlier) return *earlier;
  }
  Answer answer{index, Errc{}, 0, 0};
  if (const Outcome outcome = execute(index, proposal->command)) {
    answer.number = *outcome;
  } else {
    const Refusal& refusal = outcome.error();
    answer = {index, refusal.code, refusal.number, refusal.part};
  }
  if (has_session) sessions_.remember(proposal->client, proposal->sequence, answer);
  return answer;
}

Answer State::apply(std::uint64_t index, BytesView entry) {
  DVS_ASSERT(index > applied_);
  DVS_ASSERT(index < count_max);
  applied_ = index;
  const Answer answer = decide(index, entry);
  history_.trim(index);
  return answer;
}

}  // namespace dvs::cluster

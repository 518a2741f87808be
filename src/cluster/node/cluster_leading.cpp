// What a node does while it leads the system group.
#include <algorithm>
#include <utility>

#include "cluster/node/boot_time.hpp"
#include "cluster/node/cluster_node.hpp"
#include "dvk/daemon/log.hpp"

namespace dvs::cluster {

using dvk::daemon::log_text;

namespace {

// What could not be done for a node is tried again after.
constexpr auto retry_pause = std::chrono::seconds(1);

// The largest odd number of voters that there are nodes for.
unsigned voters_wanted(std::size_t nodes, unsigned most) {
  const auto count = static_cast<unsigned>(std::min<std::size_t>(nodes, most));
  return count % 2 == 1 || count == 0 ? count : count - 1;
}

}  // namespace

// --- Leading ---

void ClusterNode::on_role_change(Position position, std::uint64_t term, NodeId leader) {
  if (!engine_) return;
  spdlog::info("event=role position={} term={} leader={}", name_of(position), term, raw(leader));
  membership_->on_term(term);
  position_ = position;
  if (position == Position::leader && term == term_ && is_leading_) return;
  term_ = term;
  if (std::exchange(is_leading_, false)) membership_->follow();
  if (position == Position::leader) begin_leading(term);
  if (position == Position::failed) {
    spdlog::critical("event=engine_failed reason={}", engine_->status().failure);
  }
}

// What earlier leaders proposed must have been applied before this one decides anything.
void ClusterNode::begin_leading(std::uint64_t term) {
  engine_->barrier([this, term](const Result<std::uint64_t>& applied) {
    if (!engine_ || position_ != Position::leader || term_ != term) return;
    if (!applied) {
      // Led no more, as a rule; the next change of role says how it goes on.
      spdlog::warn("event=barrier_failed error={}", log_text(applied.error()));
      return;
    }
    open_session(term);
  });
}

void ClusterNode::open_session(std::uint64_t term) {
  propose({ClientId{}, 0, OpenSession{}}, [this, term](const Result<Answer>& answer) {
    if (!engine_ || position_ != Position::leader || term_ != term) return;
    if (!answer || !answer->is_done()) return begin_leading(term);
    session_ = ClientId{answer->number};
    sequence_ = 0;
    is_leading_ = true;
    membership_->lead(term, voters_of(engine_->status()), roster_, boot_time());
  });
}

// Takes nodes in, one step at a time: into the state, into the engine, among the voters.
void ClusterNode::arrange_members() {
  if (!roster_.find(config_.self)) take_in(config_.self, own_hello());
  for (const auto& [node, hello] : hellos_) {
    if (!roster_.find(node)) take_in(node, hello);
  }
  arrange_engine();
}

// One change of the engine's members towards what the roster says, if one is due: nodes in view are
// members, an odd number of them vote, and a lost voter makes room once another votes in its place.
void ClusterNode::arrange_engine() {
  const EngineStatus status = engine_->status();
  if (is_changing_members_ || status.is_changing || boot_time() < change_members_at_) return;
  std::map<NodeId, Role> members;
  unsigned voters = 0;
  NodeId lost_voter = no_node;
  for (const Member& member : status.members) {
    members[member.node] = member.role;
    if (member.role != Role::voter) continue;
    const Node* node = roster_.find(member.node);
    const bool is_lost = node != nullptr && node->is_lost;
    if (is_lost) lost_voter = member.node;
    if (!is_lost) ++voters;
  }
  const unsigned wanted = voters_wanted(roster_.nodes().size(), config_.voters_max);
  for (const auto& [id, node] : roster_.nodes()) {
    if (node.is_lost || !roster_.view().contains(id)) continue;
    const auto found = members.find(id);
    const bool is_known = found != members.end();
    const bool may_vote = voters < wanted && (!is_known || found->second != Role::voter);
    if (may_vote) return change_members(id, is_known, Role::voter);
    if (!is_known || found->second == Role::spare) {
      return change_members(id, is_known, Role::standby);
    }
  }
  // As a standby it still gets the log, by which it learns of its loss when it is back.
  if (lost_voter != no_node && voters >= wanted) change_members(lost_voter, true, Role::standby);
}

void ClusterNode::change_members(NodeId node, bool is_known, Role role) {
  is_changing_members_ = true;
  const auto done = [this, node](const Result<void>& changed) {
    is_changing_members_ = false;
    if (!engine_) return;
    if (!changed) {
      change_members_at_ = boot_time() + retry_pause;
      spdlog::info("event=member_not_changed node={} error={}", raw(node),
                   log_text(changed.error()));
      return;
    }
    auto voters = voters_of(engine_->status());
    spdlog::info("event=members_changed node={} voters={}", raw(node), voters.size());
    if (is_leading_) membership_->set_voters(std::move(voters));
  };
  if (is_known) {
    engine_->assign(node, role, done);
  } else {
    engine_->add(node, role, done);
  }
}

void ClusterNode::take_in(NodeId node, const Hello& hello) {
  TimePoint& join_at = join_at_[node];
  if (join_at > boot_time()) return;
  join_at = never;
  Join join{hello.name, hello.address, {}, hello.boot, NodeRole::voter, hello.speaks, node};
  propose({ClientId{}, 0, std::move(join)}, [this, node](const Result<Answer>& answer) {
    if (answer && answer->is_done()) {
      join_at_.erase(node);
      return;
    }
    join_at_[node] = boot_time() + retry_pause;
    const std::string reason =
        answer ? std::string(dvs::name_of(answer->code)) : dvs::to_string(answer.error());
    spdlog::warn("event=node_not_taken_in node={} reason=\"{}\"", raw(node), reason);
  });
}

void ClusterNode::propose_for_membership(const Command& command) {
  const bool is_view = std::holds_alternative<ProposeView>(command);
  const bool is_session = !is_safe_to_repeat(command);
  const Proposal proposal{is_session ? session_ : ClientId{}, is_session ? ++sequence_ : 0,
                          command};
  const std::uint64_t term = term_;
  propose(proposal, [this, is_view, term](const Result<Answer>& answer) {
    if (!is_view || !is_leading_ || term != term_) return;
    // Refused, or in no log: certain. Of an unknown outcome nothing is said.
    const bool has_failed =
        answer ? !answer->is_done() : class_of(answer.error().code) != ErrorClass::outcome_unknown;
    if (has_failed) membership_->on_proposal_failed();
  });
}

void ClusterNode::propose(const Proposal& proposal, Done done) {
  engine_->propose(encode_proposal(proposal),
                   [done = std::move(done)](Result<Committed> committed) {
                     if (committed)
                       return done(dvk::wire::decode_fields<Answer>(committed->answer));
                     done(std::unexpected(std::move(committed).error()));
                   });
}

}  // namespace dvs::cluster

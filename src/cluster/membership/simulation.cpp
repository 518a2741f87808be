#include "cluster/membership/simulation.hpp"

#include <algorithm>

namespace dvs::cluster::simulation {
namespace {

using namespace std::chrono_literals;

constexpr Duration step_length = 2ms;
constexpr unsigned authorities = 3;

std::string authority_name(unsigned number) {
  return "files/" + std::to_string(number);
}

}  // namespace

World::World(std::uint64_t seed, const Options& options)
    : options_(options), random_(seed), nodes_(options.nodes + 1) {
  set_up();
}

void World::set_up() {
  state_ = std::make_unique<State>();
  client_ = ClientId{++index_};
  state_->apply(index_, encode_proposal({ClientId{}, 0, OpenSession{}}));
  for (unsigned number = 1; number <= options_.nodes; ++number) {
    Node& node = nodes_[number];
    node.boot = 1000 * number;
    const auto drift = static_cast<std::int64_t>(below(2 * options_.drift_ppm + 1));
    node.rate_ppm = drift - options_.drift_ppm;
    node.offset = 1h + Duration(std::chrono::milliseconds(below(1'000'000)));
    const NodeRole role = number <= options_.voters ? NodeRole::voter : NodeRole::client;
    const Join join{"n" + std::to_string(number), "host:1", {}, BootId{node.boot}, role};
    state_->apply(++index_, encode_proposal({client_, ++sequence_, join}));
  }
  history_.push_back(std::make_shared<Applied>(Applied{state_->roster(), {}}));
  for (unsigned number = 1; number <= options_.nodes; ++number) start(number, false);
}

TimePoint World::clock(const Node& node) const {
  return TimePoint(node.offset + now_ + now_ / 1'000'000 * node.rate_ppm);
}

// ---- Time

void World::run_for(Duration duration) {
  const Duration end = now_ + duration;
  while (now_ < end && violations_.empty()) step();
}

bool World::run_until(Duration limit, const std::function<bool()>& condition) {
  const Duration end = now_ + limit;
  while (now_ < end && violations_.empty()) {
    if (condition()) return true;
    step();
  }
  return condition();
}

void World::step() {
  now_ += step_length;
  run_engine();
  deliver();
  for (unsigned number = 1; number <= options_.nodes; ++number) run_node(number);
  claim_free_authorities();
  check();
}

void World::run_node(unsigned number) {
  Node& node = nodes_[number];
  if (!is_running(node)) return;
  // After a pause a timer may fire before what has come meanwhile is read.
  if (!node.inbox.empty() && below(2) == 0) tick(number);
  for (const auto& [from, message] : std::exchange(node.inbox, {})) {
    hand_over(number, from, message);
  }
  catch_up(number);
  if (node.boots_at != Duration{} && now_ >= node.boots_at) {
    node.boots_at = {};
    node.machine->set_boot(BootId{++node.boot}, clock(node));
  }
  if (now_ < node.next_tick) return;
  node.next_tick = now_ + options_.settings.tick / 2 +
                   Duration(below(static_cast<std::uint64_t>(options_.settings.tick.count() / 2)));
  tick(number);
}

void World::tick(unsigned number) {
  Node& node = nodes_[number];
  Actions actions;
  node.machine->tick(clock(node), actions);
  perform(number, actions);
}

// ---- Network

bool World::reaches(unsigned from, unsigned to) const {
  return from == to || !cuts_.contains({from, to});
}

bool World::is_in_touch(unsigned a, unsigned b) const {
  return is_running(nodes_[a]) && is_running(nodes_[b]) && reaches(a, b) && reaches(b, a);
}

void World::perform(unsigned number, Actions& actions) {
  Node& node = nodes_[number];
  for (Actions::Envelope& envelope : actions.messages) {
    ++node.sent;
    if (below(1000) < options_.loss_permille) continue;
    const bool is_slow = below(50) == 0;
    const auto longest = static_cast<std::uint64_t>(options_.delay_max.count()) * (is_slow ? 8 : 1);
    deliveries_.push({now_ + Duration(below(longest)), ++order_, number, raw(envelope.to),
                      std::move(envelope.message)});
  }
  for (const Command& command : actions.proposals) {
    const bool has_session = !is_safe_to_repeat(command);
    const Proposal proposal{has_session ? client_ : ClientId{}, has_session ? ++sequence_ : 0,
                            command};
    if (engine_.leader != number) continue;  // one that was deposed: into no log
    check_proposal(command);
    engine_.under_way.push_back(
        {now_ + Duration(below(8'000'000)), engine_.term, encode_proposal(proposal)});
  }
  if (actions.must_take_new_boot) {
    node.boots_at = now_ + 50ms;
  }
}

void World::deliver() {
  while (!deliveries_.empty() && deliveries_.top().time <= now_) {
    Delivery delivery = deliveries_.top();
    deliveries_.pop();
    Node& node = nodes_[delivery.to];
    if (!node.machine || !reaches(delivery.from, delivery.to)) continue;
    if (is_running(node)) {
      hand_over(delivery.to, delivery.from, delivery.message);
    } else {
      node.inbox.emplace_back(delivery.from, std::move(delivery.message));
    }
  }
}

void World::hand_over(unsigned to, unsigned from, const Bytes& message) {
  Node& node = nodes_[to];
  ++node.received;
  Actions actions;
  const auto sender = static_cast<NodeId>(from);
  if (!node.machine->on_message(sender, message, clock(node), actions)) {
    violations_.push_back("a message was refused");
  }
  perform(to, actions);
}

// ---- The log

// A node hears what is committed from any voter, now and then a little late.
void World::catch_up(unsigned number) {
  Node& node = nodes_[number];
  if (node.applied == history_.size() || below(4) != 0) return;
  const unsigned leader = engine_.leader;
  if (leader == 0) return;
  bool is_reached = is_in_touch(leader, number);
  for (unsigned voter = 1; voter <= options_.voters && !is_reached; ++voter) {
    is_reached = is_in_touch(leader, voter) && is_in_touch(voter, number);
  }
  if (is_reached) catch_up_to(number, node.applied + 1 + below(history_.size() - node.applied));
}

void World::catch_up_to(unsigned number, std::size_t entries) {
  Node& node = nodes_[number];
  while (node.applied < entries) {
    Actions actions;
    node.machine->on_roster(history_[node.applied++]->roster, clock(node), actions);
    perform(number, actions);
  }
}

bool World::has_majority(unsigned leader) const {
  unsigned reached = 0;
  for (unsigned voter = 1; voter <= options_.voters; ++voter) {
    reached += is_in_touch(leader, voter) ? 1 : 0;
  }
  return 2 * reached > options_.voters;
}

void World::run_engine() {
  spread_term();
  const bool is_led = engine_.leader != 0 && has_majority(engine_.leader);
  if (is_led) {
    engine_.is_out_of_touch = false;
  } else if (!std::exchange(engine_.is_out_of_touch, true) || engine_.patience == Duration{}) {
    engine_.out_of_touch_since = now_;
    engine_.patience = 150ms + Duration(below(150'000'000));
  } else if (now_ - engine_.out_of_touch_since > engine_.patience) {
    elect();
  }
  if (!is_led) return;
  for (Entry& entry : std::exchange(engine_.under_way, {})) {
    if (entry.term != engine_.term) continue;
    if (entry.due > now_) {
      engine_.under_way.push_back(std::move(entry));
    } else {
      commit(entry.bytes);
    }
  }
  if (engine_.has_told || now_ < engine_.tell_at) return;
  engine_.has_told = true;
  catch_up_to(engine_.leader, history_.size());
  std::vector<NodeId> voters;
  for (unsigned voter = 1; voter <= options_.voters; ++voter) {
    voters.push_back(static_cast<NodeId>(voter));
  }
  Node& leader = nodes_[engine_.leader];
  leader.machine->lead(engine_.term, voters, history_.back()->roster, clock(leader));
}

void World::elect() {
  std::vector<unsigned> candidates;
  for (unsigned voter = 1; voter <= options_.voters; ++voter) {
    if (is_running(nodes_[voter]) && has_majority(voter)) candidates.push_back(voter);
  }
  if (candidates.empty()) return;
  engine_.leader = candidates[below(candidates.size())];
  ++engine_.term;
  engine_.has_told = false;
  engine_.tell_at = now_ + Duration(below(30'000'000));
  engine_.is_out_of_touch = false;
  spread_term();
  // What the one before has left is committed now, or never.
  for (const Entry& entry : std::exchange(engine_.under_way, {})) {
    if (below(2) == 0) commit(entry.bytes);
  }
}

void World::spread_term() {
  if (engine_.leader == 0) return;
  for (unsigned voter = 1; voter <= options_.voters; ++voter) {
    Node& node = nodes_[voter];
    if (node.engine_term == engine_.term || !is_in_touch(engine_.leader, voter)) continue;
    node.engine_term = engine_.term;
    node.machine->on_term(engine_.term);
    node.machine->follow();
  }
}

void World::commit(const Bytes& entry) {
  const std::uint64_t number = view().number;
  state_->apply(++index_, entry);
  if (view().number > number + 1) violations_.push_back("a view was skipped");
  Applied applied{state_->roster(), {}};
  for (const Authority& authority : state_->authorities().range("")) {
    applied.holders[authority.name] = authority.holder;
  }
  history_.push_back(std::make_shared<Applied>(std::move(applied)));
}

// Successors are chosen elsewhere; here, anybody in view.
void World::claim_free_authorities() {
  if (below(5) != 0 || view().members.empty()) return;
  if (engine_.leader == 0 || !has_majority(engine_.leader)) return;
  for (unsigned number = 0; number < authorities; ++number) {
    const std::string name = authority_name(number);
    const Authority* authority = state_->authorities().find(name);
    if (authority != nullptr && authority->holder != no_node) continue;
    const NodeId successor = view().members[below(view().members.size())];
    const Claim claim{name, successor, authority == nullptr ? 0 : authority->epoch};
    commit(encode_proposal({client_, ++sequence_, claim}));
  }
}

// ---- Faults

void World::pause(unsigned number, Duration duration) {
  nodes_[number].paused_until = std::max(nodes_[number].paused_until, now_ + duration);
}

void World::kill(unsigned number) {
  Node& node = nodes_[number];
  node.machine.reset();
  node.inbox.clear();
  node.paused_until = {};
}

void World::start(unsigned number, bool has_new_boot) {
  Node& node = nodes_[number];
  if (has_new_boot) ++node.boot;
  node.machine.emplace(static_cast<NodeId>(number), BootId{node.boot}, options_.settings);
  node.machine->on_term(node.engine_term);
  node.boots_at = {};
  // It has what is on its disk.
  const std::size_t applied = std::max<std::size_t>(node.applied, 1);
  node.applied = applied - 1;
  catch_up_to(number, applied);
  // An engine that restarts does not lead any more.
  if (engine_.leader == number) engine_.leader = 0;
  if (engine_.leader == 0 || !is_in_touch(engine_.leader, number)) return;
  Node& leader = nodes_[engine_.leader];
  Actions actions;
  leader.machine->on_link_up(static_cast<NodeId>(number), clock(leader), actions);
  perform(engine_.leader, actions);
}

void World::isolate(unsigned number) {
  for (unsigned other = 1; other <= options_.nodes; ++other) {
    if (other == number) continue;
    cut(number, other);
    cut(other, number);
  }
}

void World::heal_one(unsigned number) {
  std::erase_if(cuts_, [&](const auto& it) { return it.first == number || it.second == number; });
}

// ---- Checking

bool World::is_acting(unsigned number) const {
  const Node& node = nodes_[number];
  return is_running(node) && clock(node) < node.machine->lease_end();
}

bool World::is_whole() const {
  for (unsigned number = 1; number <= options_.nodes; ++number) {
    if (!is_alive(number) || !is_in_view(number)) return false;
    if (!nodes_[number].machine->may_act(clock(nodes_[number]))) return false;
  }
  return true;
}

// Whoever a proposed view leaves out has stopped by now; paused ones, too, when they go on.
void World::check_proposal(const Command& command) {
  const auto* proposal = std::get_if<ProposeView>(&command);
  if (proposal == nullptr || proposal->based_on != view().number) return;
  for (const NodeId member : view().members) {
    const Node& node = nodes_[raw(member)];
    if (std::ranges::binary_search(proposal->members, member) || !node.machine) continue;
    if (clock(node) >= node.machine->lease_end()) continue;
    violations_.push_back("node " + std::to_string(raw(member)) + " is left out while it may act");
  }
}

void World::check() {
  std::map<std::string, unsigned> actors;
  for (unsigned number = 1; number <= options_.nodes; ++number) {
    const Node& node = nodes_[number];
    if (!is_acting(number)) continue;
    for (const auto& [name, holder] : history_[node.applied - 1]->holders) {
      if (raw(holder) != number) continue;
      const auto [first, is_only] = actors.try_emplace(name, number);
      if (is_only) continue;
      violations_.push_back(name + ": nodes " + std::to_string(first->second) + " and " +
                            std::to_string(number) + " act at " +
                            std::to_string(now_ / std::chrono::milliseconds(1)) + " ms");
    }
  }
}

}  // namespace dvs::cluster::simulation

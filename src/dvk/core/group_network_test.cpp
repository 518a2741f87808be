// Groups over a small deterministic network: random delays, deaths, joins, evictions, views that
// come late and in quick succession, broken conversations, slow readers. Each seed is one history;
// the checker compares everything that anybody ever delivered with one common history.
//
// DVS_GROUP_SEEDS=first:count overrides which seeds run.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "dvk/core/group_core.hpp"

namespace dvk::core {
namespace {

using dvs::Address;
using dvs::Bytes;

Address address_of(std::uint64_t serial) {
  return {dvs::ContainerId{1}, dvs::EndpointId{serial}, dvs::Incarnation{serial + 1000}};
}

// What any member delivered at a position. Members that deliver the position later must match.
struct Fact {
  bool is_view = false;
  std::uint64_t number = 0;
  Address sender;
  std::vector<Address> members;
  friend bool operator==(const Fact&, const Fact&) = default;
};

class World;

struct Node final : GroupOutput {
  Node(World& owner, const Address& self, const GroupSettings& settings)
      : world(owner), address(self), core(self, *this, settings) {}
  void send(const Address& member, Bytes message) override;

  World& world;
  const Address address;
  GroupCore core;
  bool is_alive = true;
  std::size_t views_known = 0;      // of world.views
  std::uint64_t start = 0;          // position of the view with which it joined
  std::uint64_t last_position = 0;  // delivered
  std::uint64_t multicasts = 0;     // accepted
  std::vector<Address> broken;      // conversations whose break it has not been told of yet
};

class World {
 public:
  explicit World(unsigned seed) : random_(seed), seed_(seed) {
    settings_.outstanding_max = 1 + below(12);
    settings_.window_bytes = one_in(3) ? 200 + below(2000) : std::size_t{1} << 20;
    large_payloads_ = one_in(10);
    const std::size_t count = 1 + below(6);
    GroupView view{1, {}};
    for (std::size_t i = 0; i < count; ++i) view.members.push_back(add_node());
    views_.push_back(view);
    if (one_in(2)) slow_ = address_of(1 + below(8));
  }

  void run() {
    const std::size_t steps = 200 + below(1500);
    const std::size_t trouble = one_in(8) ? 0 : 6 + below(120);  // one step in so many
    for (std::size_t i = 0; i < steps; ++i) {
      if (trouble != 0 && one_in(trouble)) make_trouble();
      step();
      if (failed()) return;
    }
    last_phase();
    settle();
    check_end();
  }

  void carry(const Address& from, const Address& to, Bytes message) {
    check(message.size() <= wire::group_message_bytes_max, "oversized message");
    queues_[{from, to}].push_back(std::move(message));
  }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  std::size_t delivered() const { return history_.size(); }
  std::size_t views_delivered() const { return views_delivered_; }

 private:
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }
  bool one_in(std::size_t chance) { return below(chance) == 0; }
  void check(bool condition, const std::string& what) {
    if (!condition && failure_.empty()) failure_ = "seed " + std::to_string(seed_) + ": " + what;
  }

  Address add_node() {
    const Address address = address_of(nodes_.size() + 1);
    nodes_.emplace(address, std::make_unique<Node>(*this, address, settings_));
    return address;
  }
  Node& any_node() {
    return *std::next(nodes_.begin(), static_cast<long>(below(nodes_.size())))->second;
  }

  // --- One step of ordinary life
  void step() {
    switch (below(8)) {
      case 0: multicast(any_node()); break;
      case 1: read(any_node(), below(4)); break;
      case 2: any_node_ends_turn(); break;
      case 3: learn_view(any_node()); break;
      case 4: learn_break(any_node()); break;
      default: deliver_one(); break;
    }
  }
  void any_node_ends_turn() {
    Node& node = any_node();
    if (node.is_alive) node.core.end_turn();
  }
  Bytes payload_of(const Address& sender, std::uint64_t number) const {
    const std::uint64_t mixed = (dvs::raw(sender.id) * 1000 + number) * 0x9E3779B97F4A7C15U;
    std::size_t size = mixed >> 57;
    if (large_payloads_ && (mixed & 3) == 0) size = wire::group_payload_bytes_max - (mixed >> 62);
    return Bytes(size, static_cast<std::byte>(mixed >> 8));
  }
  void multicast(Node& node) {
    if (!node.is_alive) return;
    for (std::size_t count = 1 + below(4); count > 0; --count) {
      const auto result = node.core.multicast(payload_of(node.address, node.multicasts + 1));
      if (result) {
        check(*result == ++node.multicasts, "wrong number");
      } else if (node.core.is_evicted()) {
        check(result.error() == dvs::Errc::not_permitted, "wrong error after eviction");
      } else {
        check(result.error() == dvs::Errc::queue_full, "wrong error of multicast");
        check(node.core.outstanding() == settings_.outstanding_max, "full too early");
      }
    }
    if (one_in(2)) node.core.end_turn();
  }
  void read(Node& node, std::size_t count) {
    for (; node.is_alive && count > 0; --count) {
      const auto delivery = node.core.next_delivery();
      if (!delivery) break;
      std::visit([&](const auto& item) { take(node, item); }, *delivery);
    }
  }
  void learn_view(Node& node) {
    if (!node.is_alive || node.views_known == views_.size()) return;
    if (!is_settling_ && node.address == slow_ && !one_in(4)) return;
    node.views_known += one_in(4) ? 1 + below(views_.size() - node.views_known) : 1;
    const GroupView& view = views_[node.views_known - 1];
    // Members that join later do not hear of the views before.
    if (is_ahead_of_start(node, view)) return;
    check(node.core.install(view).has_value(), "install failed");
    if (one_in(2)) node.core.end_turn();
  }
  bool is_ahead_of_start(const Node& node, const GroupView& view) const {
    return node.core.view().number == 0 &&
           std::ranges::find(view.members, node.address) == view.members.end();
  }
  void learn_break(Node& node) {
    if (!node.is_alive || node.broken.empty()) return;
    node.core.on_peer_broken(node.broken.back());
    node.broken.pop_back();
    if (one_in(2)) node.core.end_turn();
  }
  bool deliver_one() {
    std::vector<std::pair<Address, Address>> ready;
    for (const auto& [pair, queue] : queues_) {
      if (!queue.empty()) ready.push_back(pair);
    }
    if (ready.empty()) return false;
    const auto [from, to] = ready[below(ready.size())];
    if (!is_settling_ && (from == slow_ || to == slow_) && !one_in(10)) return true;
    auto& queue = queues_[{from, to}];
    Node& target = *nodes_.at(to);
    for (std::size_t count = 1 + below(3); count > 0 && !queue.empty(); --count) {
      if (target.is_alive) {
        const auto result = target.core.on_message(from, queue.front());
        if (!result) check(false, "refused: " + dvs::to_string(result.error()));
      }
      queue.pop_front();
    }
    if (target.is_alive && !one_in(4)) target.core.end_turn();
    return true;
  }

  // --- Trouble
  void make_trouble() {
    switch (below(6)) {
      case 0: kill_one(); break;
      case 1: change_view(); break;
      case 2:
        for (std::size_t changes = 1 + below(3); changes > 0; --changes) change_view();
        break;
      default: break_conversation(); break;
    }
  }
  // The history lives as long as one member of every view that has it does.
  bool is_last_with_history(const Address& address) const {
    for (const Address& member : views_.back().members) {
      const Node& node = *nodes_.at(member);
      if (member != address && node.is_alive && node.last_position > 0) return false;
    }
    return true;
  }
  void kill_one() {
    Node& node = any_node();
    if (!node.is_alive || is_last_with_history(node.address)) return;
    node.is_alive = false;
    for (auto& [pair, queue] : queues_) {
      if (pair.first == node.address) lose_tail(queue);
      if (pair.second == node.address) queue.clear();
    }
  }
  void lose_tail(std::deque<Bytes>& queue) { queue.resize(below(queue.size() + 1)); }
  void change_view() {
    GroupView next{views_.back().number + 1 + below(3), {}};
    for (const Address& member : views_.back().members) {
      const Node& node = *nodes_.at(member);
      const bool stays = node.is_alive ? !one_in(12) || is_last_with_history(member) : one_in(4);
      if (stays) next.members.push_back(member);
    }
    // An eviction may not take the last one that has the history, nor may two at once.
    if (!keeps_history(next)) return;
    for (std::size_t joins = below(3); joins > 0 && nodes_.size() < 16; --joins) {
      const auto place = static_cast<long>(below(next.members.size() + 1));
      next.members.insert(next.members.begin() + place, add_node());
    }
    if (one_in(4)) std::ranges::shuffle(next.members, random_);
    views_.push_back(next);
  }
  bool keeps_history(const GroupView& view) const {
    return std::ranges::any_of(view.members, [&](const Address& member) {
      const Node& node = *nodes_.at(member);
      return node.is_alive && node.last_position > 0;
    });
  }
  void break_conversation() {
    Node& one = any_node();
    Node& other = any_node();
    if (&one == &other || !one.is_alive || !other.is_alive) return;
    lose_tail(queues_[{one.address, other.address}]);
    lose_tail(queues_[{other.address, one.address}]);
    // One side at least is told, some time.
    one.broken.push_back(other.address);
    if (one_in(2)) other.broken.push_back(one.address);
  }

  // A view without the dead. From here on nobody dies, but conversations still break: a view change
  // would make that good by itself, so this is what shows that it is made good without.
  void last_phase() {
    GroupView last{views_.back().number + 1, {}};
    for (const Address& member : views_.back().members) {
      if (nodes_.at(member)->is_alive) last.members.push_back(member);
    }
    if (last.members != views_.back().members) views_.push_back(last);
    for (std::size_t steps = below(600); steps > 0 && !failed(); --steps) {
      if (one_in(40)) break_conversation();
      step();
    }
  }

  // --- The end: no more trouble, everything arrives, everybody reads.
  void settle() {
    is_settling_ = true;
    bool is_quiet = false;
    for (std::size_t rounds = 0; !is_quiet && !failed(); ++rounds) {
      check(rounds < 20000, "never quiet");
      is_quiet = true;
      for (auto& [address, node] : nodes_) {
        if (!node->is_alive) continue;
        while (node->views_known < views_.size()) learn_view(*node);
        while (!node->broken.empty()) learn_break(*node);
        const std::uint64_t before = node->last_position;
        read(*node, 1000);
        node->core.end_turn();
        read(*node, 1000);
        if (node->last_position != before) is_quiet = false;
      }
      while (deliver_one() && !failed()) is_quiet = false;
    }
  }
  void check_end() {
    check_history();
    for (const Address& member : views_.back().members) {
      const Node& node = *nodes_.at(member);
      check(node.core.is_in_view(), "a survivor has not entered the last view");
      check(node.last_position == history_.size(), "a survivor misses the end of the history");
      check(last_number_of(member) == node.multicasts, "a survivor's message was not delivered");
      check(node.core.outstanding() == 0, "a survivor waits for its own message");
      check(node.core.retained_bytes() == 0, "stable messages are still retained");
    }
  }

  std::uint64_t last_number_of(const Address& sender) const {
    const auto last = last_numbers_.find(sender);
    return last == last_numbers_.end() ? 0 : last->second;
  }

  // --- What was delivered
  void take(Node& node, const GroupMessageDelivery& item) {
    check(item.payload == payload_of(item.sender, item.number), "wrong payload");
    note(node, item.position, Fact{false, item.number, item.sender, {}});
  }
  void take(Node& node, const GroupViewDelivery& item) {
    const bool joins = std::ranges::find(item.joined, node.address) != item.joined.end();
    check(joins == (node.last_position == 0), "wrong about who joins");
    if (joins) node.start = item.position;
    if (joins) node.last_position = item.position - 1;
    check(std::ranges::find(item.members, node.address) != item.members.end(),
          "delivered to a stranger");
    note(node, item.position, Fact{true, item.number, {}, item.members});
  }
  void note(Node& node, std::uint64_t position, const Fact& fact) {
    check(position == node.last_position + 1, "a position was skipped or repeated");
    node.last_position = position;
    // A member that joins may be the first of all to deliver, and leave a gap for those before it.
    if (position > history_.size()) history_.resize(position);
    std::optional<Fact>& known = history_[position - 1];
    check(!known || *known == fact, "two members deliver different things at one position");
    known = fact;
  }
  void check_history() {
    std::vector<Address> members;
    std::uint64_t view_number = 0;
    bool has_hole = false;
    // Those who knew what was before a survivor's start may all have died before they delivered it.
    const std::uint64_t start = first_start_of_survivors();
    for (std::uint64_t position = 1; position <= history_.size(); ++position) {
      const auto& fact = history_[position - 1];
      if (!fact) {
        check(position < start, "nobody delivered a position");
        has_hole = true;
        last_numbers_.clear();
        members.clear();
        continue;
      }
      if (!fact->is_view) {
        const auto last = last_numbers_.find(fact->sender);
        check(last == last_numbers_.end() || fact->number == last->second + 1,
              "a sender's messages are lost, doubled or swapped");
        last_numbers_[fact->sender] = fact->number;
        check(members.empty() || std::ranges::find(members, fact->sender) != members.end(),
              "sender is not in the view");
        continue;
      }
      const auto view = std::ranges::find(views_, fact->number, &GroupView::number);
      check(view != views_.end() && view->members == fact->members,
            "an unknown view was delivered");
      check(fact->number > view_number, "views out of order");
      view_number = fact->number;
      members = fact->members;
      for (const Address& member : members) {
        if (!has_hole) last_numbers_.try_emplace(member, 0);
      }
      ++views_delivered_;
    }
  }
  std::uint64_t first_start_of_survivors() const {
    std::uint64_t first = history_.size() + 1;
    for (const Address& member : views_.back().members)
      first = std::min(first, nodes_.at(member)->start);
    return first;
  }

  std::mt19937_64 random_;
  const unsigned seed_;
  GroupSettings settings_;
  bool large_payloads_ = false;
  Address slow_;  // everything from and to this one takes long
  bool is_settling_ = false;
  std::map<Address, std::unique_ptr<Node>> nodes_;
  std::map<std::pair<Address, Address>, std::deque<Bytes>> queues_;
  std::vector<GroupView> views_;
  std::string failure_;

  std::vector<std::optional<Fact>> history_;  // by position, from 1
  std::map<Address, std::uint64_t> last_numbers_;
  std::size_t views_delivered_ = 0;
};

void Node::send(const Address& member, Bytes message) {
  world.carry(address, member, std::move(message));
}

TEST(GroupNetwork, AgreesOnOneHistoryWhateverHappens) {
  unsigned first = 1;
  unsigned count = 2000;
  if (const char* range = std::getenv("DVS_GROUP_SEEDS")) {
    ASSERT_EQ(std::sscanf(range, "%u:%u", &first, &count), 2) << "DVS_GROUP_SEEDS is first:count";
  }
  std::size_t delivered = 0;
  std::size_t views = 0;
  for (unsigned seed = first; seed - first < count; ++seed) {
    World world(seed);
    world.run();
    ASSERT_FALSE(world.failed()) << world.failure();
    delivered += world.delivered();
    views += world.views_delivered();
  }
  // The runs must not be empty, or the checks above say nothing.
  EXPECT_GT(delivered, std::size_t{10} * count);
  EXPECT_GT(views, std::size_t{2} * count);
  RecordProperty("delivered", std::to_string(delivered));
  RecordProperty("views", std::to_string(views));
}

}  // namespace
}  // namespace dvk::core

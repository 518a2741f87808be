// Random logs: replicas agree whatever their history (from the beginning, or from a snapshot taken
// anywhere), and the rules hold after every entry.
//
// DVS_STATE_SEEDS=first:count overrides which seeds run.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

class RandomLog {
 public:
  explicit RandomLog(std::uint64_t seed) : random_(seed) {}

  Bytes next(const State& state) {
    if (clients_.empty() || below(40) == 0) {
      clients_.push_back({ClientId{state.applied() + 1}, 0});
      return encode_proposal({ClientId{}, 0, OpenSession{}});
    }
    // Mostly one that is not evicted yet, and its next number; now and then an earlier one.
    const std::size_t recent = std::min<std::size_t>(clients_.size(), 4);
    Client& client = clients_[clients_.size() - 1 - below(recent)];
    const bool is_repeated = below(10) == 0;
    const std::uint64_t sequence = is_repeated ? below(client.sequence + 1) : ++client.sequence;
    const Proposal proposal{below(10) == 0 ? ClientId{} : client.id, sequence, command(state)};
    Bytes bytes = encode_proposal(proposal);
    if (below(50) == 0) bytes[below(bytes.size())] = static_cast<std::byte>(below(256));
    return bytes;
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  NodeId node() { return node_of(static_cast<unsigned>(1 + below(6))); }
  std::string key() { return "k" + std::to_string(below(5)); }
  Bytes value() { return Bytes(below(200)); }
  // Mostly what is right, so that commands get through.
  std::uint64_t near(std::uint64_t right) { return below(5) == 0 ? below(right + 2) : right; }

  Command setting_command(const State& state) {
    const std::string name = key();
    const Condition expected{below(2) == 0, near(state.settings().revision_of(name))};
    switch (below(3)) {
      case 0: return Put{name, value(), expected};
      case 1: return Delete{name, expected};
      default:
        return Transaction{{{name, near(state.settings().revision_of(name))}},
                           {{"t" + key(), true, value()}, {key(), false, {}}}};
    }
  }
  Command node_command(const State& state) {
    const NodeId id = node();
    const Node* known = state.roster().find(id);
    const BootId boot = known == nullptr ? BootId{1} : known->boot;
    switch (below(7)) {
      case 0: return Join{"n" + std::to_string(below(8)), "h", {}, BootId{1 + below(9)}};
      case 1: return Leave{id};
      case 2: return Announce{id, BootId{1 + below(9)}, boot, "h", 1};
      case 3: return SetDrained{id, below(2) == 0};
      case 4: return DeclareLost{id, BootId{near(raw(boot))}};
      default: {
        ProposeView view{near(state.view().number), {}};
        for (const auto& [member, info] : state.roster().nodes()) {
          if (below(4) != 0 && (!info.is_lost || below(9) == 0)) view.members.push_back(member);
        }
        return view;
      }
    }
  }
  Command authority_command(const State& state) {
    const std::string name = "files/" + std::to_string(below(3));
    const Authority* known = state.authorities().find(name);
    const std::uint64_t epoch = near(known == nullptr ? 0 : known->epoch);
    const NodeId holder = known == nullptr || below(4) == 0 ? node() : known->holder;
    switch (below(4)) {
      case 0: return Release{name, holder, epoch};
      case 1: return HandOver{name, holder, node(), epoch};
      case 2: return Forget{name, epoch};
      default: return Claim{name, holder == no_node ? node() : holder, epoch};
    }
  }
  Command command(const State& state) {
    switch (below(3)) {
      case 0: return setting_command(state);
      case 1: return node_command(state);
      default: return authority_command(state);
    }
  }

  struct Client {
    ClientId id{};
    std::uint64_t sequence = 0;
  };
  std::mt19937_64 random_;
  std::vector<Client> clients_;
};

// What must hold over all entries of a log.
class Rules {
 public:
  void check(const State& state) {
    const View& view = state.view();
    ASSERT_GE(view.number, view_.number);
    ASSERT_TRUE(view.number > view_.number || view == view_);
    view_ = view;
    for (const NodeId member : view.members) {
      const Node* node = state.roster().find(member);
      ASSERT_NE(node, nullptr);
      ASSERT_FALSE(node->is_lost);
    }
    for (const Authority& authority : state.authorities().range("")) {
      std::uint64_t& highest = epochs_[authority.name];
      ASSERT_GE(authority.epoch, highest);
      highest = authority.epoch;
      if (authority.holder == no_node) continue;
      ASSERT_TRUE(view.contains(authority.holder));
      const auto [first, is_new] =
          holders_.try_emplace({authority.name, authority.epoch}, authority.holder);
      ASSERT_EQ(first->second, authority.holder) << "two holders of one epoch";
    }
  }

 private:
  View view_;
  std::map<std::string, std::uint64_t> epochs_;
  std::map<std::pair<std::string, std::uint64_t>, NodeId> holders_;
};

void run(std::uint64_t seed, std::map<Errc, std::uint64_t>& answers) {
  Limits limits;
  limits.settings_bytes = 1500;
  limits.sessions = 3;
  limits.answers_per_session = 8;
  limits.history_events = 20;
  RandomLog log(seed);
  Rules rules;
  State state(limits);
  State follower(limits);
  for (std::uint64_t index = 1; index <= 400; ++index) {
    const Bytes entry = log.next(state);
    const Answer answer = state.apply(index, entry);
    ++answers[answer.code];
    ASSERT_EQ(follower.apply(index, entry), answer) << "index " << index;
    ASSERT_NO_FATAL_FAILURE(rules.check(state));
    if (index % 37 != seed % 37) continue;
    auto restored = State::restore(follower.snapshot(), limits);
    ASSERT_TRUE(restored.has_value()) << restored.error().detail;
    follower = std::move(*restored);
  }
  ASSERT_EQ(follower.snapshot(), state.snapshot());
}

TEST(StateRandom, ReplicasAgreeAndTheRulesHold) {
  std::uint64_t first = 1, count = 300;
  if (const char* seeds = std::getenv("DVS_STATE_SEEDS")) {
    char* rest = nullptr;
    first = std::strtoull(seeds, &rest, 10);
    if (*rest == ':') count = std::strtoull(rest + 1, nullptr, 10);
  }
  std::map<Errc, std::uint64_t> answers;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ASSERT_NO_FATAL_FAILURE(run(seed, answers));
  }
  // The logs reach what they are meant to reach.
  EXPECT_GT(answers[Errc{}], count * 120);
  for (const Errc code : {Errc::conflict, Errc::not_found, Errc::not_permitted, Errc::name_in_use,
                          Errc::limit_reached, Errc::session_expired}) {
    EXPECT_GT(answers[code], count / 3) << name_of(code);
  }
}

}  // namespace
}  // namespace dvs::cluster

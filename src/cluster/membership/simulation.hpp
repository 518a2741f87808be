// A small deterministic world for the membership: nodes with drifting clocks, a network with
// delays, loss and cuts, and a model of the engine of the log. Everything follows from the seed.
//
// The engine is modelled by what its users may rely on: terms rise; a leader of a term was chosen
// by a majority of voters that were in touch, and those never go back to an earlier term; an entry
// is committed only by the leader of the latest term while it reaches a majority; what an earlier
// leader left may still be committed before the next one has its barrier, and never after.
//
// Checked at every step: at most one node acts for an authority, whatever its epoch; whoever a
// proposed view leaves out has no lease; and numbers of views rise by one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cluster/membership/membership.hpp"
#include "cluster/state/state.hpp"

namespace dvs::cluster::simulation {

struct Options {
  unsigned nodes = 5;
  unsigned voters = 3;  // nodes 1..voters
  unsigned loss_permille = 0;
  Duration delay_max = std::chrono::milliseconds(5);
  std::uint32_t drift_ppm = 500;
  MembershipSettings settings;
};

class World {
 public:
  World(std::uint64_t seed, const Options& options);

  void run_for(Duration duration);
  // False if it did not become true within the limit.
  bool run_until(Duration limit, const std::function<bool()>& condition);

  // ---- Faults
  void pause(unsigned node, Duration duration);
  void kill(unsigned node);
  // After kill: the daemon again under the same boot, or the machine with a new one.
  void start(unsigned node, bool has_new_boot);
  void cut(unsigned from, unsigned to) { cuts_.insert({from, to}); }
  void isolate(unsigned node);
  void heal() { cuts_.clear(); }
  void heal_one(unsigned node);

  // ---- What is so
  unsigned leader() const { return engine_.leader; }  // the latest one; 0: there is none
  const View& view() const { return state_->view(); }
  bool is_in_view(unsigned node) const { return view().contains(static_cast<NodeId>(node)); }
  bool is_alive(unsigned node) const { return nodes_[node].machine.has_value(); }
  bool is_acting(unsigned node) const;
  bool is_whole() const;  // all nodes are alive, in view and acting
  const State& state() const { return *state_; }
  std::uint64_t messages_sent(unsigned node) const { return nodes_[node].sent; }
  std::uint64_t messages_received(unsigned node) const { return nodes_[node].received; }
  const std::vector<std::string>& violations() const { return violations_; }
  std::mt19937_64& random() { return random_; }
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  Duration time() const { return now_; }
  unsigned size() const { return options_.nodes; }

 private:
  // What the log has made, as of one entry.
  struct Applied {
    Roster roster;
    std::map<std::string, NodeId> holders;
  };
  struct Node {
    std::optional<Membership> machine;
    std::uint64_t boot = 0;
    std::int64_t rate_ppm = 0;
    Duration offset{};
    std::uint64_t engine_term = 0;  // on disk
    std::size_t applied = 0;        // entries of history_
    Duration paused_until{};
    Duration next_tick{};
    Duration boots_at{};                            // must_take_new_boot was said; 0: no
    std::vector<std::pair<unsigned, Bytes>> inbox;  // while paused
    std::uint64_t sent = 0, received = 0;
  };
  struct Delivery {
    Duration time;
    std::uint64_t order;
    unsigned from, to;
    Bytes message;
    bool operator<(const Delivery& other) const {
      return std::tie(time, order) > std::tie(other.time, other.order);
    }
  };
  struct Entry {
    Duration due;
    std::uint64_t term;
    Bytes bytes;
  };
  struct Engine {
    std::uint64_t term = 0;
    unsigned leader = 0;
    bool has_told = false;  // the leader, that it leads
    Duration tell_at{};
    Duration out_of_touch_since{};
    bool is_out_of_touch = true;
    Duration patience{};
    std::vector<Entry> under_way;
  };

  void set_up();
  void step();
  TimePoint clock(const Node& node) const;
  bool is_running(const Node& node) const { return node.machine && now_ >= node.paused_until; }
  bool reaches(unsigned from, unsigned to) const;
  bool is_in_touch(unsigned a, unsigned b) const;
  bool has_majority(unsigned leader) const;
  void deliver();
  void hand_over(unsigned to, unsigned from, const Bytes& message);
  void perform(unsigned node, Actions& actions);
  void run_node(unsigned node);
  void tick(unsigned node);
  void catch_up(unsigned node);
  void catch_up_to(unsigned node, std::size_t entries);
  void run_engine();
  void elect();
  void spread_term();
  void commit(const Bytes& entry);
  void claim_free_authorities();
  void check_proposal(const Command& command);
  void check();

  Options options_;
  std::mt19937_64 random_;
  Duration now_{};
  std::vector<Node> nodes_;  // by number; 0 is not used
  std::priority_queue<Delivery> deliveries_;
  std::uint64_t order_ = 0;
  std::set<std::pair<unsigned, unsigned>> cuts_;
  Engine engine_;
  std::unique_ptr<State> state_;
  std::uint64_t index_ = 0;
  ClientId client_{};
  std::uint64_t sequence_ = 0;
  std::vector<std::shared_ptr<const Applied>> history_;
  std::vector<std::string> violations_;
};

}  // namespace dvs::cluster::simulation

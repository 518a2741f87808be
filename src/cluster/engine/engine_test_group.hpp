// For tests: a state machine that keeps what it is told, members of a group that live in one
// process with real directories, and the switchboard that joins them with real socket pairs and can
// cut them.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cluster/engine/engine.hpp"
#include "runtime/temporary_directory.hpp"

namespace dvs::cluster::test {

// Only ever the limit for "never happens".
constexpr std::chrono::seconds patience{60};

using dvs::runtime::TemporaryDirectory;

// Whether it became true before patience ran out.
bool eventually(const std::function<bool()>& is_true);

// Keeps every entry, answers "<how many>:<entry>".
class Ledger : public StateMachine {
 public:
  Bytes apply(std::uint64_t index, BytesView entry) override;
  Bytes snapshot() override;
  Result<void> restore(std::uint64_t index, BytesView snapshot) override;

  std::vector<std::string> entries() const;
  std::size_t count() const;
  unsigned snapshots() const;
  unsigned restores() const;
  // Whether indexes only ever rose.
  bool is_in_order() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> entries_;
  std::uint64_t last_index_ = 0;
  unsigned snapshots_ = 0;
  unsigned restores_ = 0;
  bool is_in_order_ = true;
};

// Carries streams between engines. A cut breaks those that are there; new ones lead nowhere,
// silently, until the cut is healed.
class Switchboard {
 public:
  void attach(NodeId node, Engine* engine);
  void detach(NodeId node);
  void carry(NodeId from, NodeId to, runtime::Fd stream);
  void cut(NodeId one, NodeId other);
  void heal(NodeId one, NodeId other);

 private:
  struct Carried {
    NodeId from;
    NodeId to;
    runtime::Fd stream;
  };
  void break_between(NodeId one, NodeId other);

  std::mutex mutex_;
  std::map<NodeId, Engine*> engines_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::vector<Carried> carried_;
};

// One member. What it is told comes inline, on whatever thread.
class TestMember : public EngineUpper {
 public:
  TestMember(NodeId node, Switchboard& switchboard, std::filesystem::path directory)
      : node_(node), switchboard_(switchboard), directory_(std::move(directory)) {}
  ~TestMember() override { stop(); }

  EngineConfig config(bool is_first) const;
  Result<void> start(bool is_first = false) { return start(config(is_first)); }
  Result<void> start(EngineConfig config);
  void stop();
  bool is_up() const { return hold() != nullptr; }
  // For a thread that nobody else stops it under.
  Engine& engine() { return *hold(); }
  Ledger& ledger() { return *ledger_; }
  NodeId node() const { return node_; }
  bool leads() const;

  void on_role_change(Position position, std::uint64_t term, NodeId leader) override;
  void wants_stream(NodeId to, runtime::Fd stream) override {
    switchboard_.carry(node_, to, std::move(stream));
  }
  std::vector<Position> positions() const;

  // Waiting for the end.
  Result<Committed> propose(const std::string& text);
  Result<std::uint64_t> barrier();
  Result<void> add(NodeId node, Role role);
  Result<void> assign(NodeId node, Role role);
  Result<void> remove(NodeId node);
  Result<void> transfer(NodeId node);

 private:
  std::shared_ptr<Engine> hold() const;
  template <class T, class Ask>
  Result<T> wait_for(Ask&& ask);

  NodeId node_;
  Switchboard& switchboard_;
  std::filesystem::path directory_;
  std::unique_ptr<Ledger> ledger_;  // a new one with each start, as after a restart
  mutable std::mutex mutex_;
  std::shared_ptr<Engine> engine_;  // mutex_
  std::vector<Position> positions_;
};

// Members 1 to `count`; member 1 begins the group.
class TestGroup {
 public:
  explicit TestGroup(unsigned count);

  // All started, all voters.
  bool form();
  TestMember& member(unsigned number) { return *members_[number - 1]; }
  // The one that leads, waited for.
  TestMember& leader();
  // Through whoever leads, until one is acknowledged; each attempt has a text of its own. The
  // acknowledged text.
  std::string commit(const std::string& text);
  // Whether all members that are up have all of these entries in this order, and the same of
  // others.
  bool all_agree_on(const std::vector<std::string>& acknowledged);
  void isolate(unsigned number);
  void rejoin(unsigned number);
  unsigned size() const { return static_cast<unsigned>(members_.size()); }

 private:
  TemporaryDirectory directory_;
  Switchboard switchboard_;
  std::vector<std::unique_ptr<TestMember>> members_;
  unsigned attempts_ = 0;
};

}  // namespace dvs::cluster::test

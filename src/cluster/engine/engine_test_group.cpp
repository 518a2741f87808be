#include "cluster/engine/engine_test_group.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include <dvs/export.hpp>

#ifdef __SANITIZE_THREAD__
// libuv closes descriptors by a system call that ThreadSanitizer does not see, so it takes the next
// use of a number for a race with the call that made it: ours in the engine, and libuv's own.
extern "C" DVS_EXPORT const char* __tsan_default_suppressions() {
  return "race:socketpair\nrace:open64\n";
}
#endif

namespace dvs::cluster::test {

bool eventually(const std::function<bool()>& is_true) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!is_true()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

Bytes Ledger::apply(std::uint64_t index, BytesView entry) {
  const std::lock_guard guard(mutex_);
  is_in_order_ = is_in_order_ && index > last_index_;
  last_index_ = index;
  entries_.emplace_back(as_text(entry));
  return to_bytes(as_bytes(std::to_string(entries_.size()) + ":" + entries_.back()));
}

Bytes Ledger::snapshot() {
  const std::lock_guard guard(mutex_);
  ++snapshots_;
  std::string text;
  for (const std::string& entry : entries_) text += entry + '\n';
  return to_bytes(as_bytes(text));
}

Result<void> Ledger::restore(std::uint64_t index, BytesView snapshot) {
  const std::lock_guard guard(mutex_);
  ++restores_;
  last_index_ = index;
  entries_.clear();
  std::string_view text = as_text(snapshot);
  if (!text.empty() && text.back() != '\n') return fail(Errc::protocol_violation, "cut off");
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    entries_.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return {};
}

std::vector<std::string> Ledger::entries() const {
  const std::lock_guard guard(mutex_);
  return entries_;
}

std::size_t Ledger::count() const {
  const std::lock_guard guard(mutex_);
  return entries_.size();
}

unsigned Ledger::snapshots() const {
  const std::lock_guard guard(mutex_);
  return snapshots_;
}

unsigned Ledger::restores() const {
  const std::lock_guard guard(mutex_);
  return restores_;
}

bool Ledger::is_in_order() const {
  const std::lock_guard guard(mutex_);
  return is_in_order_;
}

void Switchboard::attach(NodeId node, Engine* engine) {
  const std::lock_guard guard(mutex_);
  engines_[node] = engine;
}

void Switchboard::detach(NodeId node) {
  const std::lock_guard guard(mutex_);
  engines_.erase(node);
  // Its streams end with it; the duplicates here would keep them open.
  std::erase_if(carried_, [&](const Carried& carried) {
    if (carried.from != node && carried.to != node) return false;
    ::shutdown(carried.stream.get(), SHUT_RDWR);
    return true;
  });
}

void Switchboard::carry(NodeId from, NodeId to, runtime::Fd stream) {
  const std::lock_guard guard(mutex_);
  const auto found = engines_.find(to);
  if (found == engines_.end()) return;
  if (cuts_.contains(std::minmax(from, to))) {
    carried_.push_back({from, to, std::move(stream)});
    return;
  }
  carried_.push_back({from, to, runtime::Fd(::fcntl(stream.get(), F_DUPFD_CLOEXEC, 0))});
  found->second->accept_stream(from, std::move(stream));
}

void Switchboard::break_between(NodeId one, NodeId other) {
  std::erase_if(carried_, [&](const Carried& carried) {
    if (std::minmax(carried.from, carried.to) != std::minmax(one, other)) return false;
    ::shutdown(carried.stream.get(), SHUT_RDWR);
    return true;
  });
}

void Switchboard::cut(NodeId one, NodeId other) {
  const std::lock_guard guard(mutex_);
  cuts_.insert(std::minmax(one, other));
  break_between(one, other);
}

void Switchboard::heal(NodeId one, NodeId other) {
  const std::lock_guard guard(mutex_);
  cuts_.erase(std::minmax(one, other));
  break_between(one, other);
}

EngineConfig TestMember::config(bool is_first) const {
  EngineConfig config;
  config.node = node_;
  config.directory = directory_;
  config.is_first = is_first;
  config.post = [](const std::function<void()>& function) { function(); };
  return config;
}

Result<void> TestMember::start(EngineConfig config) {
  ledger_ = std::make_unique<Ledger>();
  DVS_TRY(std::shared_ptr<Engine> engine, Engine::start(std::move(config), *ledger_, *this));
  switchboard_.attach(node_, engine.get());
  const std::lock_guard guard(mutex_);
  engine_ = std::move(engine);
  return {};
}

void TestMember::stop() {
  switchboard_.detach(node_);
  std::shared_ptr<Engine> engine;
  {
    const std::lock_guard guard(mutex_);
    engine.swap(engine_);
  }
  if (engine) engine->stop();
}

std::shared_ptr<Engine> TestMember::hold() const {
  const std::lock_guard guard(mutex_);
  return engine_;
}

bool TestMember::leads() const {
  const auto engine = hold();
  return engine && engine->status().position == Position::leader;
}

void TestMember::on_role_change(Position position, std::uint64_t, NodeId) {
  const std::lock_guard guard(mutex_);
  positions_.push_back(position);
}

std::vector<Position> TestMember::positions() const {
  const std::lock_guard guard(mutex_);
  return positions_;
}

// Calls `ask` with the engine and a callback, and waits for that.
template <class T, class Ask>
Result<T> TestMember::wait_for(Ask&& ask) {
  const auto engine = hold();
  if (!engine) return fail(Errc::detached, "the member is not up");
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  ask(*engine, [promise](Result<T> result) { promise->set_value(std::move(result)); });
  if (future.wait_for(patience) != std::future_status::ready) {
    return fail(Errc::deadline, "the callback was never called");
  }
  return future.get();
}

Result<Committed> TestMember::propose(const std::string& text) {
  return wait_for<Committed>([&](Engine& engine, auto done) {
    engine.propose(to_bytes(as_bytes(text)), std::move(done));
  });
}

Result<std::uint64_t> TestMember::barrier() {
  return wait_for<std::uint64_t>(
      [](Engine& engine, auto done) { engine.barrier(std::move(done)); });
}

Result<void> TestMember::add(NodeId node, Role role) {
  return wait_for<void>(
      [&](Engine& engine, auto done) { engine.add(node, role, std::move(done)); });
}

Result<void> TestMember::assign(NodeId node, Role role) {
  return wait_for<void>(
      [&](Engine& engine, auto done) { engine.assign(node, role, std::move(done)); });
}

Result<void> TestMember::remove(NodeId node) {
  return wait_for<void>([&](Engine& engine, auto done) { engine.remove(node, std::move(done)); });
}

Result<void> TestMember::transfer(NodeId node) {
  return wait_for<void>([&](Engine& engine, auto done) { engine.transfer(node, std::move(done)); });
}

TestGroup::TestGroup(unsigned count) {
  for (unsigned number = 1; number <= count; ++number) {
    members_.push_back(std::make_unique<TestMember>(static_cast<NodeId>(number), switchboard_,
                                                    directory_.path() / std::to_string(number)));
  }
}

bool TestGroup::form() {
  for (unsigned number = 1; number <= size(); ++number) {
    if (!member(number).start(number == 1)) return false;
  }
  for (unsigned number = 2; number <= size(); ++number) {
    // On a busy machine the leadership may move meanwhile, and a node may be slow to catch up.
    const auto node = static_cast<NodeId>(number);
    if (!eventually([&] { return leader().add(node, Role::voter).has_value(); })) return false;
  }
  return true;
}

TestMember& TestGroup::leader() {
  TestMember* found = members_.front().get();
  (void)eventually([&] {
    for (const auto& member : members_) {
      if (member->leads()) found = member.get();
    }
    return found->leads();
  });
  return *found;
}

std::string TestGroup::commit(const std::string& text) {
  std::string acknowledged;
  (void)eventually([&] {
    const std::string attempt = text + "." + std::to_string(++attempts_);
    if (leader().propose(attempt)) acknowledged = attempt;
    return !acknowledged.empty();
  });
  return acknowledged;
}

bool TestGroup::all_agree_on(const std::vector<std::string>& acknowledged) {
  return eventually([&] {
    const auto expected = leader().ledger().entries();
    auto wanted = acknowledged.begin();
    for (const std::string& entry : expected) {
      if (wanted != acknowledged.end() && entry == *wanted) ++wanted;
    }
    if (wanted != acknowledged.end()) return false;
    return std::ranges::all_of(members_, [&](const auto& member) {
      return !member->is_up() ||
             (member->ledger().entries() == expected && member->ledger().is_in_order());
    });
  });
}

void TestGroup::isolate(unsigned number) {
  for (unsigned other = 1; other <= size(); ++other) {
    if (other != number) switchboard_.cut(static_cast<NodeId>(number), static_cast<NodeId>(other));
  }
}

void TestGroup::rejoin(unsigned number) {
  for (unsigned other = 1; other <= size(); ++other) {
    if (other != number) switchboard_.heal(static_cast<NodeId>(number), static_cast<NodeId>(other));
  }
}

}  // namespace dvs::cluster::test

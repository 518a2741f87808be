// Two lanes over a carrier that loses, doubles, delays, reorders and breaks, for many seeds.
//
// Checked: within a session every message arrives in order and exactly once; what a session's end
// leaves undelivered is covered by the number that its sender was told; when the trouble ends, all
// arrives.
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dvk/core/link_core.hpp"

namespace dvk::core {
namespace {

using dvs::Bytes;
using dvs::BytesView;
using dvs::TimePoint;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What one life of a node sent under one session, and what was taken of it.
struct Ledger {
  std::vector<std::uint64_t> sent;
  std::vector<std::uint64_t> taken;
  std::uint64_t reported_lost = 0;
  bool is_ended = false;
  bool is_sender_dead = false;
};

struct Trouble {
  double lost = 0;
  double doubled = 0;
  unsigned delay_ms_max = 0;  // each frame on its own: this reorders
  double broken = 0;          // per millisecond
  double restarted = 0;       // per millisecond
  unsigned outage_ms_max = 100;
};

class World;

// A node's half. Messages queued without a session are charged to the session that follows.
class Half final : public LinkUpper {
 public:
  Half(World& world, unsigned index, std::uint64_t boot, TimePoint now);
  void on_message(BytesView payload) override;
  void on_event(const LinkEvent& event) override;
  void send(std::uint64_t number, std::size_t size);
  void end_session(std::uint64_t lost);

  World& world;
  unsigned index;
  std::uint64_t boot;
  std::uint64_t session = 0;
  std::vector<std::uint64_t> unassigned;
  LinkCore core;
};

class World {
 public:
  World(unsigned seed, const Trouble& trouble) : trouble_(trouble), random_(seed) {
    for (unsigned i = 0; i < 2; ++i) start(i);
  }

  void run(unsigned milliseconds_long) {
    for (unsigned i = 0; i < milliseconds_long; ++i) step(trouble_, true);
  }
  void calm(unsigned milliseconds_long) {
    for (unsigned i = 0; i < milliseconds_long; ++i) step(Trouble{}, false);
  }
  void check() const;
  std::uint64_t sessions() const { return sessions_; }
  std::uint64_t taken() const { return taken_; }

  // The ledger of what `sender` (0 or 1) sends in `session`.
  Ledger& ledger(unsigned sender, std::uint64_t session) { return ledgers_[{session, sender}]; }
  void count_session() { ++sessions_; }
  void count_taken() { ++taken_; }
  Half& half(unsigned index) { return *halves_[index]; }

 private:
  struct Parcel {
    wire::FrameHeader header;
    Bytes payload;
  };

  void start(unsigned index) {
    halves_[index] = std::make_unique<Half>(*this, index, 100 + ++boots_, now_);
  }
  double chance() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  unsigned below(unsigned limit) {
    return limit == 0 ? 0 : static_cast<unsigned>(random_() % limit);
  }

  void restart(unsigned index) {
    Half& dying = *halves_[index];
    if (dying.session != 0) {
      Ledger& book = ledger(index, dying.session);
      book.is_ended = book.is_sender_dead = true;
    }
    break_connection(trouble_);
    start(index);
  }
  void break_connection(const Trouble& trouble) {
    is_connected_ = false;
    for (unsigned i = 0; i < 2; ++i) {
      parcels_[i].clear();
      is_attached_[i] = false;
      // One side may notice long before the other.
      detach_at_[i] = now_ + milliseconds(below(50));
    }
    reconnect_at_ = now_ + milliseconds(51 + below(trouble.outage_ms_max));
  }
  void maintain(const Trouble& trouble);
  void carry(const Trouble& trouble, unsigned from);
  void deliver(unsigned to);
  void step(const Trouble& trouble, bool is_sending);

  Trouble trouble_;
  std::mt19937 random_;
  TimePoint now_{seconds(1)};
  std::unique_ptr<Half> halves_[2];
  std::uint64_t boots_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t sessions_ = 0;
  std::uint64_t taken_ = 0;
  bool is_connected_ = false;
  bool is_attached_[2] = {};
  TimePoint detach_at_[2] = {};
  TimePoint reconnect_at_{};
  std::multimap<TimePoint, Parcel> parcels_[2];  // by arrival; index: the receiver
  std::map<std::pair<std::uint64_t, unsigned>, Ledger> ledgers_;
};

LinkCoreConfig config_of(unsigned index, std::uint64_t boot) {
  LinkCoreConfig config;
  config.self = dvs::NodeId(static_cast<std::uint16_t>(index + 1));
  config.peer = dvs::NodeId(static_cast<std::uint16_t>(2 - index));
  config.boot = boot;
  config.nonce_seed = boot * 7919;
  config.retained_bytes_max = 512 * 1024;
  config.timings.give_up_after = seconds(3);
  config.timings.reconnect_after = seconds(1);
  return config;
}

Half::Half(World& w, unsigned i, std::uint64_t b, TimePoint now)
    : world(w), index(i), boot(b), core(config_of(i, b), *this, now) {}

void Half::send(std::uint64_t number, std::size_t size) {
  Bytes payload(sizeof number + size);
  std::memcpy(payload.data(), &number, sizeof number);
  if (!core.send(std::move(payload))) return;
  if (session == 0) {
    unassigned.push_back(number);
  } else {
    world.ledger(index, session).sent.push_back(number);
  }
}

void Half::on_message(BytesView payload) {
  std::uint64_t number = 0;
  ASSERT_GE(payload.size(), sizeof number);
  std::memcpy(&number, payload.data(), sizeof number);
  ASSERT_NE(session, 0U);
  world.ledger(1 - index, session).taken.push_back(number);
  world.count_taken();
}

void Half::end_session(std::uint64_t lost) {
  if (session == 0) {
    // Never had one: everything that was dropped is what waited for the first.
    EXPECT_GE(lost, unassigned.size() * (core.state() == LinkState::down));
    if (core.state() == LinkState::down) unassigned.clear();
    return;
  }
  Ledger& book = world.ledger(index, session);
  book.is_ended = true;
  book.reported_lost = lost;
  session = 0;
}

void Half::on_event(const LinkEvent& event) {
  if (event.kind == LinkEvent::Kind::new_session) {
    end_session(event.lost_frames);
    session = core.session();
    world.count_session();
    Ledger& book = world.ledger(index, session);
    book.sent.insert(book.sent.end(), unassigned.begin(), unassigned.end());
    unassigned.clear();
  } else if (event.kind == LinkEvent::Kind::state_changed && event.state == LinkState::down) {
    end_session(event.lost_frames);
  }
}

void World::maintain(const Trouble& trouble) {
  for (unsigned i = 0; i < 2; ++i) {
    if (!is_attached_[i] && now_ >= detach_at_[i]) halves_[i]->core.on_disconnected();
  }
  if (!is_connected_ && now_ >= reconnect_at_) {
    is_connected_ = true;
    for (unsigned i = 0; i < 2; ++i) {
      halves_[i]->core.on_connected(now_);
      is_attached_[i] = true;
    }
  }
  if (is_connected_ && chance() < trouble.broken) break_connection(trouble);
  if (chance() < trouble.restarted) restart(below(2));
}

void World::carry(const Trouble& trouble, unsigned from) {
  while (auto frame = halves_[from]->core.next_frame(now_)) {
    if (!is_connected_) continue;  // into the void
    const unsigned copies = chance() < trouble.lost ? 0 : chance() < trouble.doubled ? 2 : 1;
    for (unsigned i = 0; i < copies; ++i) {
      const TimePoint arrival = now_ + milliseconds(1 + below(trouble.delay_ms_max));
      parcels_[1 - from].emplace(arrival, Parcel{frame->header, dvs::to_bytes(frame->payload)});
    }
  }
}

void World::deliver(unsigned to) {
  auto& parcels = parcels_[to];
  while (!parcels.empty() && parcels.begin()->first <= now_) {
    const Parcel parcel = std::move(parcels.extract(parcels.begin()).mapped());
    const auto result = halves_[to]->core.on_frame(now_, parcel.header, parcel.payload);
    if (result) continue;
    // Nobody lies here; only a frame for a connection that this side has already left is refused.
    EXPECT_EQ(result.error().code, dvs::Errc::detached) << dvs::to_string(result.error());
    return break_connection(trouble_);
  }
}

void World::step(const Trouble& trouble, bool is_sending) {
  now_ += milliseconds(1);
  maintain(trouble);
  for (unsigned i = 0; i < 2; ++i) {
    if (is_sending && chance() < 0.15) halves_[i]->send(++number_, below(6000));
    if (halves_[i]->core.next_deadline() <= now_ && !halves_[i]->core.on_tick(now_)) {
      break_connection(trouble);
    }
    carry(trouble, i);
    deliver(i);
  }
}

void World::check() const {
  for (const auto& [key, book] : ledgers_) {
    ASSERT_LE(book.taken.size(), book.sent.size());
    for (std::size_t i = 0; i < book.taken.size(); ++i) ASSERT_EQ(book.taken[i], book.sent[i]);
    const std::size_t missing = book.sent.size() - book.taken.size();
    if (!book.is_ended) {
      ASSERT_EQ(missing, 0U);
    } else if (!book.is_sender_dead) {
      ASSERT_GE(book.reported_lost, missing);
      ASSERT_LE(book.reported_lost, book.sent.size());
    }
  }
}

// Returns how many sessions began, both sides counted.
std::uint64_t run_seeds(const Trouble& trouble, unsigned first, unsigned count) {
  std::uint64_t taken = 0;
  std::uint64_t sessions = 0;
  for (unsigned seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed, trouble);
    world.run(6000);
    world.calm(8000);
    world.check();
    EXPECT_EQ(world.half(0).core.state(), LinkState::up);
    EXPECT_EQ(world.half(1).core.state(), LinkState::up);
    EXPECT_EQ(world.half(0).core.retained_frames(), 0U);
    taken += world.taken();
    sessions += world.sessions();
    if (::testing::Test::HasFatalFailure()) break;
  }
  EXPECT_GT(taken, 500U * count) << "hardly anything came through: the test shows nothing";
  return sessions;
}

TEST(LinkCoreRandom, PerfectCarrier) {
  EXPECT_EQ(run_seeds({}, 1, 5), 2U * 5);
}

TEST(LinkCoreRandom, LossDoublingAndReordering) {
  EXPECT_EQ(run_seeds({.lost = 0.05, .doubled = 0.05, .delay_ms_max = 20}, 100, 10), 2U * 10);
}

TEST(LinkCoreRandom, BreaksWithinASession) {
  EXPECT_EQ(run_seeds({.broken = 0.005, .outage_ms_max = 200}, 200, 60), 2U * 60);
}

TEST(LinkCoreRandom, EverythingAtOnceWithRestarts) {
  const Trouble trouble{.lost = 0.03,
                        .doubled = 0.03,
                        .delay_ms_max = 10,
                        .broken = 0.003,
                        .restarted = 0.001,
                        .outage_ms_max = 300};
  EXPECT_GT(run_seeds(trouble, 300, 20), 4U * 20);
}

TEST(LinkCoreRandom, OutagesLongEnoughToGiveUp) {
  EXPECT_GT(run_seeds({.lost = 0.01, .broken = 0.002, .outage_ms_max = 6000}, 500, 60), 2U * 60);
}

}  // namespace
}  // namespace dvk::core

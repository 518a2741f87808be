// The checker itself: histories known to be good and known to be bad, every small history against
// trying all orders, and long ones.
#include "cluster/history/linearizability.hpp"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace dvs::cluster {
namespace {

using Kind = OperationKind;
using Outcome = OperationOutcome;
using Value = RecordedOperation::Value;

// A history on one key, written down one operation a line.
class Written {
 public:
  Written& get(Value read, std::int64_t from, std::int64_t to) {
    return add(Kind::get, {}, std::move(read), Outcome::ok, from, to);
  }
  Written& put(Value value, std::int64_t from, std::int64_t to, Outcome outcome = Outcome::ok) {
    return add(Kind::put, {}, std::move(value), outcome, from, to);
  }
  Written& swap(Value expected, Value value, std::int64_t from, std::int64_t to,
                Outcome outcome = Outcome::ok) {
    return add(Kind::compare_and_swap, std::move(expected), std::move(value), outcome, from, to);
  }
  Written& erase(std::int64_t from, std::int64_t to, Outcome outcome = Outcome::ok) {
    return add(Kind::erase, {}, {}, outcome, from, to);
  }
  bool is_good() const { return judge(history).verdict == Verdict::linearizable; }
  bool is_bad() const { return judge(history).verdict == Verdict::not_linearizable; }

  History history;

 private:
  Written& add(Kind kind, Value expected, Value value, Outcome outcome, std::int64_t from,
               std::int64_t to) {
    history.begin({0, kind, "k", std::move(expected), std::move(value), outcome, from, to});
    return *this;
  }
};

TEST(Linearizability, OverlappingOperationsMayTakeEffectInAnyOrder) {
  EXPECT_TRUE(Written().is_good());
  EXPECT_TRUE(Written().put("1", 0, 10).get("1", 2, 3).get("1", 4, 5).is_good());
  EXPECT_TRUE(Written().put("1", 0, 10).get({}, 2, 3).get("1", 4, 5).is_good());
  EXPECT_TRUE(Written().put("1", 0, 10).put("2", 0, 10).get("2", 2, 3).get("1", 4, 5).is_good());
  EXPECT_TRUE(Written().put("1", 0, 5).get({}, 5, 6).is_good());  // they touch: they overlap
}

TEST(Linearizability, AStaleReadIsFound) {
  EXPECT_TRUE(Written().put("1", 0, 1).put("2", 2, 3).get("1", 4, 5).is_bad());
  EXPECT_TRUE(Written().put("1", 0, 10).get("1", 2, 3).get({}, 4, 5).is_bad());
  EXPECT_TRUE(Written().put("1", 0, 1).erase(2, 3).get("1", 4, 5).is_bad());
  EXPECT_TRUE(Written().get("7", 0, 1).is_bad());
}

TEST(Linearizability, ALostUpdateIsFound) {
  // Both swapped from 1.
  EXPECT_TRUE(Written().put("1", 0, 1).swap("1", "2", 2, 5).swap("1", "3", 2, 5).is_bad());
  EXPECT_TRUE(Written()
                  .put("1", 0, 1)
                  .swap("1", "2", 2, 5)
                  .swap("1", "3", 2, 5, Outcome::failed)
                  .get("2", 6, 7)
                  .is_good());
}

TEST(Linearizability, AFailedSwapThatTookEffectIsFound) {
  EXPECT_TRUE(
      Written().put("1", 0, 1).swap("9", "2", 2, 3, Outcome::failed).get("2", 4, 5).is_bad());
  // One that should have succeeded, too.
  EXPECT_TRUE(Written().put("1", 0, 1).swap("1", "2", 2, 3, Outcome::failed).is_bad());
  EXPECT_TRUE(Written().put("1", 0, 1, Outcome::failed).get("1", 2, 3).is_bad());
}

TEST(Linearizability, AnUnknownOutcomeIsNoneOrOnceAndMayBeLate) {
  const auto written = [] { return Written().put("1", 0, 1).put("2", 2, 3, Outcome::unknown); };
  EXPECT_TRUE(written().get("1", 4, 5).is_good());
  EXPECT_TRUE(written().get("2", 4, 5).is_good());
  EXPECT_TRUE(written().get("1", 4, 5).get("2", 6, 7).is_good());
  EXPECT_TRUE(written().get("2", 4, 5).get("1", 6, 7).is_bad());
  // Twice: 2 was overwritten, and comes back.
  EXPECT_TRUE(written().get("2", 4, 5).put("3", 6, 7).get("2", 8, 9).is_bad());
  EXPECT_TRUE(Written().get("2", 0, 1).put("2", 2, 3, Outcome::unknown).is_bad());
}

TEST(Linearizability, UnknownOutcomesMayDependOnEachOther) {
  const auto written = [] {
    return Written()
        .put("1", 0, 1)
        .swap("2", "3", 2, 3, Outcome::unknown)
        .put("2", 2, 3, Outcome::unknown);
  };
  EXPECT_TRUE(written().get("3", 4, 5).is_good());
  EXPECT_TRUE(written().get("3", 4, 5).get("2", 6, 7).is_bad());
  // An unobserved unknown write explains why a swap failed.
  EXPECT_TRUE(written().swap("1", "4", 4, 5, Outcome::failed).is_good());
  EXPECT_TRUE(written().swap("1", "4", 4, 5, Outcome::failed).get("1", 6, 7).is_bad());
  EXPECT_TRUE(Written()
                  .put("1", 0, 1)
                  .erase(2, 3, Outcome::unknown)
                  .get({}, 4, 5)
                  .swap({}, "2", 6, 7)
                  .is_good());
}

TEST(Linearizability, KeysAreJudgedByThemselvesAndTheBadOneIsNamed) {
  History history;
  history.begin({0, Kind::put, "a", {}, "1", Outcome::ok, 0, 1});
  history.begin({1, Kind::get, "b", {}, {}, Outcome::ok, 2, 3});
  EXPECT_EQ(judge(history).verdict, Verdict::linearizable);
  const std::size_t place = history.begin({1, Kind::get, "b", {}, {}, Outcome::unknown, 4});
  history.end_get(place, "1", 5);
  const Judgement judgement = judge(history);
  EXPECT_EQ(judgement.verdict, Verdict::not_linearizable);
  EXPECT_EQ(judgement.key, "b");
  EXPECT_EQ(judgement.explanation,
            "1 of 2 operations have a place; then comes: client 1 get b = 1: ok, 4..5");
}

// ---- Every order, for small histories

bool takes_effect(const RecordedOperation& operation, Value& value) {
  switch (operation.kind) {
    case Kind::get: return operation.value == value;
    case Kind::put: value = operation.value; return true;
    case Kind::erase: value.reset(); return true;
    case Kind::compare_and_swap:
      if (operation.outcome == Outcome::failed) return value != operation.expected;
      if (value != operation.expected) return false;
      value = operation.value;
      return true;
  }
  return false;
}

bool has_order(std::vector<const RecordedOperation*>& left, const Value& value) {
  const auto is_required = [](const RecordedOperation* it) {
    return it->outcome != Outcome::unknown;
  };
  if (std::ranges::none_of(left, is_required)) return true;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const RecordedOperation* chosen = left[i];
    const bool is_after_another = std::ranges::any_of(left, [&](const RecordedOperation* it) {
      return is_required(it) && it != chosen && it->returned < chosen->invoked;
    });
    Value after = value;
    if (is_after_another || !takes_effect(*chosen, after)) continue;
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
    const bool is_found = has_order(left, after);
    left.insert(left.begin() + static_cast<std::ptrdiff_t>(i), chosen);
    if (is_found) return true;
  }
  return false;
}

bool is_linearizable_by_trying_all(const History& history) {
  std::vector<const RecordedOperation*> operations;
  for (const RecordedOperation& operation : history.operations()) {
    const bool is_swap = operation.kind == Kind::compare_and_swap;
    const bool is_get = operation.kind == Kind::get;
    if (operation.outcome == Outcome::failed && !is_swap) continue;
    if (operation.outcome == Outcome::unknown && is_get) continue;
    operations.push_back(&operation);
  }
  return has_order(operations, {});
}

TEST(Linearizability, AgreesWithTryingEveryOrder) {
  std::mt19937_64 random(7);
  const auto below = [&](std::uint64_t bound) { return random() % bound; };
  const auto value = [&]() -> Value {
    const std::uint64_t number = below(4);
    return number == 0 ? Value() : Value(std::to_string(number));
  };
  std::size_t good = 0, bad = 0;
  for (int round = 0; round < 60'000; ++round) {
    History history;
    const std::uint64_t size = 2 + below(6);
    for (std::uint64_t i = 0; i < size; ++i) {
      RecordedOperation operation{0, static_cast<Kind>(below(4)), "k", value(), value(), {}, 0, 0};
      const std::uint64_t outcome = below(6);
      operation.outcome = outcome == 0   ? Outcome::failed
                          : outcome == 1 ? Outcome::unknown
                                         : Outcome::ok;
      if (operation.kind == Kind::erase) operation.value.reset();
      operation.invoked = static_cast<std::int64_t>(below(12));
      operation.returned = operation.invoked + static_cast<std::int64_t>(below(8));
      history.begin(operation);
    }
    const bool wanted = is_linearizable_by_trying_all(history);
    ++(wanted ? good : bad);
    const Judgement judgement = judge(history);
    ASSERT_EQ(judgement.verdict == Verdict::linearizable, wanted)
        << "round " << round << ": " << judgement.explanation;
  }
  EXPECT_GT(good, 5000u);
  EXPECT_GT(bad, 5000u);
}

// ---- Long histories: clients of a single copy, each operation with a moment at which it happens

class LongHistory {
 public:
  LongHistory(std::uint64_t seed, std::uint32_t keys, unsigned unknown_permille)
      : random_(seed), keys_(keys), unknown_permille_(unknown_permille), copies_(keys) {}

  History make(std::size_t operations, std::uint32_t clients) {
    struct Moment {
      std::int64_t time;
      std::size_t place;
    };
    std::vector<Moment> moments;
    std::vector<std::int64_t> free_at(clients, 0);
    for (std::size_t i = 0; i < operations; ++i) {
      const auto client = static_cast<std::uint32_t>(i % clients);
      const std::int64_t invoked = free_at[client] + length(20);
      const std::int64_t moment = invoked + length(50);
      const std::int64_t returned = moment + length(50);
      free_at[client] = returned + 1;
      moments.push_back({moment, history_.begin(fresh(client, invoked, returned))});
    }
    std::ranges::stable_sort(moments, {}, &Moment::time);
    results_.resize(operations);
    for (const Moment& moment : moments) happen(moment.place);
    return finished();
  }

 private:
  std::int64_t length(std::uint64_t bound) { return static_cast<std::int64_t>(random_() % bound); }
  RecordedOperation fresh(std::uint32_t client, std::int64_t invoked, std::int64_t returned) {
    const std::string key = std::to_string(random_() % keys_);
    return {client, static_cast<Kind>(random_() % 4), key, {}, {}, Outcome::ok, invoked, returned};
  }
  void happen(std::size_t place) {
    RecordedOperation operation = history_.operations()[place];
    Value& copy = copies_[std::stoul(operation.key)];
    if (operation.kind == Kind::get) operation.value = copy;
    if (operation.kind == Kind::put || operation.kind == Kind::compare_and_swap) {
      operation.value = "v" + std::to_string(place);
    }
    if (operation.kind == Kind::compare_and_swap) {
      operation.expected = random_() % 3 == 0 ? Value("never") : copy;
      if (operation.expected != copy) operation.outcome = Outcome::failed;
    }
    // Of the unknown ones a half never happens.
    const bool is_unknown = random_() % 1000 < unknown_permille_;
    if (is_unknown) operation.outcome = Outcome::unknown;
    if (!is_unknown || random_() % 2 == 0) takes_effect(operation, copy);
    results_[place] = std::move(operation);
  }
  History finished() {
    History history;
    for (RecordedOperation& operation : results_) history.begin(std::move(operation));
    return history;
  }

  std::mt19937_64 random_;
  std::uint32_t keys_;
  unsigned unknown_permille_;
  std::vector<Value> copies_;
  History history_;
  std::vector<RecordedOperation> results_;
};

TEST(Linearizability, JudgesALongHistoryOfEightClients) {
  for (const std::uint32_t keys : {1U, 16U}) {
    for (const unsigned unknown_permille : {0U, 10U}) {
      const History history = LongHistory(keys, keys, unknown_permille).make(100'000, 8);
      const Judgement judgement = judge(history);
      EXPECT_EQ(judgement.verdict, Verdict::linearizable) << judgement.explanation;
    }
  }
}

TEST(Linearizability, FindsOneStaleReadInALongHistory) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const History good = LongHistory(seed, 4, 5).make(5'000, 8);
    History bad;
    bool is_spoilt = false;
    std::map<std::string, Value> written;
    for (RecordedOperation operation : good.operations()) {
      const bool is_late = bad.operations().size() > 2'500;
      if (operation.kind == Kind::get && operation.outcome == Outcome::ok && is_late &&
          !is_spoilt && written.contains(operation.key)) {
        operation.value = written[operation.key];  // the first one ever
        is_spoilt = true;
      }
      if (operation.kind == Kind::put && operation.outcome == Outcome::ok) {
        written.try_emplace(operation.key, operation.value);
      }
      bad.begin(operation);
    }
    ASSERT_TRUE(is_spoilt);
    EXPECT_EQ(judge(bad).verdict, Verdict::not_linearizable) << "seed " << seed;
  }
}

TEST(Linearizability, GivesUpAtItsBound) {
  const History history = LongHistory(1, 1, 0).make(1'000, 8);
  EXPECT_EQ(judge(history, 10).verdict, Verdict::undecided);
}

}  // namespace
}  // namespace dvs::cluster

#include "dvk/ring/waiter.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "dvk/ring/ring.hpp"
#include "runtime/event.hpp"

namespace dvk::ring {
namespace {

using namespace std::chrono_literals;
using dvs::as_bytes;
using dvs::Bytes;
using dvs::Errc;
using dvs::never;
using dvs::runtime::Event;
using dvs::runtime::Fd;
using Outcome = Waiter::Outcome;
using Verdict = PhaseHabit::Verdict;

dvs::TimePoint in(dvs::Duration duration) {
  return std::chrono::steady_clock::now() + duration;
}
constexpr auto nothing = [] { return false; };

Waiter make_waiter() {
  auto waiter = Waiter::create();
  EXPECT_TRUE(waiter);
  return std::move(*waiter);
}

Waker make_waker(Waiter& sleeper) {
  auto bell = create_bell();
  EXPECT_TRUE(bell) << to_string(bell.error());
  EXPECT_TRUE(sleeper.add_bell(std::move(bell->sleeper)));
  auto waker = Waker::attach(sleeper.page_fd(), std::move(bell->waker));
  EXPECT_TRUE(waker) << to_string(waker.error());
  return std::move(*waker);
}

TEST(PhaseHabit, GivesUpWhatFailsAndProbesAfterShortWaits) {
  PhaseHabit habit;
  EXPECT_TRUE(habit.wants());
  for (int i = 0; i < 20; ++i) habit.record(Verdict::failure);
  EXPECT_FALSE(habit.wants());
  int probes = 0;
  for (int i = 0; i < 10'000; ++i) {
    habit.note_short_wait();
    if (!habit.wants()) continue;
    ++probes;
    habit.record(Verdict::failure);
  }
  EXPECT_GT(probes, 5);
  EXPECT_LT(probes, 50);
}

TEST(PhaseHabit, NeverProbesWhileWaitsAreLong) {
  PhaseHabit habit;
  for (int i = 0; i < 20; ++i) habit.record(Verdict::failure);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(habit.wants());
}

TEST(PhaseHabit, ReturnsToWhatSucceedsAgain) {
  PhaseHabit habit;
  for (int i = 0; i < 20; ++i) habit.record(Verdict::failure);
  while (!habit.wants()) habit.note_short_wait();
  habit.record(Verdict::success);
  EXPECT_TRUE(habit.wants());
  habit.record(Verdict::success);
  EXPECT_TRUE(habit.wants());
  for (int i = 0; i < 3; ++i) habit.record(Verdict::failure);
  EXPECT_FALSE(habit.wants());
}

TEST(PhaseHabit, ShunsWhatWasCostlyEvenOnce) {
  PhaseHabit habit;
  for (int i = 0; i < 20; ++i) habit.record(Verdict::success);
  habit.record(Verdict::costly);
  EXPECT_FALSE(habit.wants());
  for (int i = 0; i < 500; ++i) habit.note_short_wait();
  EXPECT_FALSE(habit.wants());
  while (!habit.wants()) habit.note_short_wait();
  habit.record(Verdict::success);
  EXPECT_TRUE(habit.wants());
}

TEST(Doorbell, IsRungOnceInASleepAndNotWhileAwake) {
  auto doorbell = Doorbell::create();
  ASSERT_TRUE(doorbell);
  auto bell = create_bell();
  ASSERT_TRUE(bell);
  auto waker = Waker::attach(doorbell->page_fd(), std::move(bell->waker));
  ASSERT_TRUE(waker);
  EXPECT_FALSE(waker->wake());
  doorbell->arm();
  EXPECT_TRUE(waker->wake());
  EXPECT_FALSE(waker->wake());
  doorbell->disarm();
  EXPECT_FALSE(waker->wake());
  doorbell->arm();
  EXPECT_TRUE(waker->wake());
  char bytes[8];
  EXPECT_EQ(::read(bell->sleeper.get(), bytes, sizeof bytes), 2);
}

TEST(Doorbell, CannotBeWrittenByItsPeers) {
  auto doorbell = Doorbell::create();
  ASSERT_TRUE(doorbell);
  EXPECT_FALSE(
      dvs::runtime::Mapping::map(doorbell->page_fd(), 4096, dvs::runtime::Access::read_write));
}

TEST(Waker, RefusesOtherDescriptors) {
  auto doorbell = Doorbell::create();
  auto event = Event::create();
  auto bell = create_bell();
  ASSERT_TRUE(doorbell && event && bell);
  EXPECT_EQ(Waker::attach(event->fd(), std::move(bell->waker)).error(), Errc::invalid_argument);
  EXPECT_EQ(Waker::attach(doorbell->page_fd(), Fd(::dup(event->fd()))).error(),
            Errc::invalid_argument);
}

TEST(Waker, OutlivesItsSleeperAndDoesNotBlockOnAFullBell) {
  auto waiter = std::make_unique<Waiter>(make_waiter());
  Waker waker = make_waker(*waiter);
  for (int i = 0; i < 100'000; ++i) {
    waiter->begin_sleep();
    EXPECT_TRUE(waker.wake());
    // Ended by the next begin_sleep: a sleeper that never drains.
  }
  waiter.reset();
  waker.wake();
}

TEST(Waiter, ReturnsAtOnceWhatIsReady) {
  Waiter waiter = make_waiter();
  EXPECT_EQ(waiter.wait([] { return true; }, never), Outcome::ready);
}

TEST(Waiter, PassesItsDeadline) {
  Waiter waiter = make_waiter();
  const auto deadline = in(2ms);
  EXPECT_EQ(waiter.wait(nothing, deadline), Outcome::deadline);
  EXPECT_GE(std::chrono::steady_clock::now(), deadline);
  EXPECT_EQ(waiter.wait(nothing, dvs::TimePoint::min()), Outcome::deadline);
  EXPECT_EQ(waiter.wait(nothing, dvs::TimePoint{}), Outcome::deadline);
}

TEST(Waiter, SeesDescriptors) {
  Waiter waiter = make_waiter();
  auto event = Event::create();
  ASSERT_TRUE(event);
  ASSERT_TRUE(waiter.add(event->fd(), EPOLLIN, 5));
  EXPECT_EQ(waiter.add(event->fd(), EPOLLIN, ~std::uint64_t{0}).error(), Errc::invalid_argument);
  event->signal();
  ASSERT_EQ(waiter.wait(nothing, never), Outcome::descriptor);
  ASSERT_EQ(waiter.events().size(), 1U);
  EXPECT_EQ(waiter.events()[0].token, 5U);
  EXPECT_EQ(waiter.events()[0].events, std::uint32_t{EPOLLIN});
  ASSERT_EQ(waiter.wait(nothing, dvs::TimePoint::min()), Outcome::descriptor);
  ASSERT_TRUE(waiter.change(event->fd(), 0, 5));
  EXPECT_EQ(waiter.look(), false);
  ASSERT_TRUE(waiter.change(event->fd(), EPOLLIN, 5));
  EXPECT_EQ(waiter.look(), true);
  waiter.remove(event->fd());
  EXPECT_EQ(waiter.look(), false);
}

TEST(Waiter, SeesDescriptorsEvenIfRingsAreNeverSilent) {
  Waiter waiter = make_waiter();
  auto event = Event::create();
  ASSERT_TRUE(event);
  ASSERT_TRUE(waiter.add(event->fd(), EPOLLIN, 5));
  event->signal();
  bool has_seen = false;
  for (int i = 0; i < 1000 && !has_seen; ++i) {
    has_seen = waiter.wait([] { return true; }, never) == Outcome::descriptor;
  }
  EXPECT_TRUE(has_seen);
}

TEST(Waiter, IsWokenByABell) {
  Waiter waiter = make_waiter();
  Waker waker = make_waker(waiter);
  std::atomic<bool> is_ready = false;
  std::thread thread([&] {
    std::this_thread::sleep_for(20ms);  // long enough that the waiter most likely sleeps
    is_ready.store(true);
    waker.wake();
  });
  EXPECT_EQ(waiter.wait([&] { return is_ready.load(); }, never), Outcome::ready);
  thread.join();
}

TEST(Waiter, SleepsThroughRingingForNothing) {
  Waiter waiter = make_waiter();
  Waker waker = make_waker(waiter);
  std::atomic<bool> is_over = false;
  std::thread thread([&] {
    while (!is_over.load()) waker.wake();
  });
  EXPECT_EQ(waiter.wait(nothing, in(20ms)), Outcome::deadline);
  is_over.store(true);
  thread.join();
}

TEST(Waiter, ForgetsABellAlthoughThePeerStillHoldsIt) {
  Waiter waiter = make_waiter();
  auto bell = create_bell();
  ASSERT_TRUE(bell);
  const auto key = waiter.add_bell(std::move(bell->sleeper));
  ASSERT_TRUE(key);
  waiter.remove_bell(*key);
  waiter.remove_bell(*key);
  ASSERT_EQ(::write(bell->waker.get(), "x", 1), 1);
  epoll_event event{};
  EXPECT_EQ(::epoll_wait(waiter.epoll_fd(), &event, 1, 0), 0);
}

// ---- everything together: calls back and forth between two processes, over two rings

struct End {
  RingConsumer in;
  RingProducer out;
  Waiter waiter;
  Waker peer;
};

struct Conversation {
  Conversation() {
    auto forth = Memory::map(create_ring(ring_bytes_min)->get());
    auto back = Memory::map(create_ring(ring_bytes_min)->get());
    Waiter first_waiter = make_waiter();
    Waiter second_waiter = make_waiter();
    Waker to_first = make_waker(first_waiter);
    Waker to_second = make_waker(second_waiter);
    first.emplace(RingConsumer(*back), RingProducer(*forth), std::move(first_waiter),
                  std::move(to_second));
    second.emplace(RingConsumer(*forth), RingProducer(*back), std::move(second_waiter),
                   std::move(to_first));
  }

  std::optional<End> first;
  std::optional<End> second;
};

bool send(End& end, dvs::BytesView bytes) {
  for (;;) {
    const auto result = end.out.try_push(bytes);
    if (!result) return false;
    if (*result) break;
    if (end.out.request_room() &&
        end.waiter.wait([&] { return end.out.has_room_now(); }, in(30s)) != Outcome::ready) {
      return false;
    }
  }
  end.peer.wake();
  return true;
}

bool receive(End& end, Bytes& bytes) {
  for (;;) {
    const auto result = end.in.pop_copy(bytes);
    if (!result) return false;
    if (end.in.take_room_released()) end.peer.wake();
    if (*result) return true;
    if (end.waiter.wait([&] { return end.in.is_ready(); }, in(30s)) != Outcome::ready) return false;
  }
}

// Sends everything back until it gets an empty record. The exit status of a process that does this.
int echo(End& end) {
  Bytes bytes;
  for (;;) {
    if (!receive(end, bytes)) return 1;
    if (bytes.empty()) return 0;
    if (!send(end, bytes)) return 2;
  }
}

void end_echo(End& end, pid_t child) {
  ASSERT_TRUE(send(end, {}));
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Conversation, CallsOfEveryTempoFindTheirAnswers) {
  Conversation conversation;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(echo(*conversation.second));
  Bytes answer;
  for (int i = 0; i < 5000; ++i) {
    // Pauses about as long as the waiting phases, so that all races of falling asleep occur.
    if (i % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 150));
    const std::string question = "question " + std::to_string(i);
    ASSERT_TRUE(send(*conversation.first, as_bytes(question)));
    ASSERT_TRUE(receive(*conversation.first, answer));
    ASSERT_EQ(dvs::as_text(answer), question);
  }
  end_echo(*conversation.first, child);
}

TEST(Conversation, FullRingsWaitForRoom) {
  Conversation conversation;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    End& end = *conversation.second;
    Bytes bytes;
    do {
      if (!receive(end, bytes)) ::_exit(1);
      if (bytes.size() == 5000) std::this_thread::sleep_for(1ms);
    } while (!bytes.empty());
    ::_exit(0);
  }
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(send(*conversation.first, Bytes(i % 100 == 0 ? 5000 : 4000)));
  }
  end_echo(*conversation.first, child);
}

TEST(Conversation, BetweenThreads) {
  Conversation conversation;
  int result = -1;
  std::thread thread([&] { result = echo(*conversation.second); });
  Bytes answer;
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(send(*conversation.first, as_bytes("question")));
    ASSERT_TRUE(receive(*conversation.first, answer));
  }
  ASSERT_TRUE(send(*conversation.first, {}));
  thread.join();
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace dvk::ring

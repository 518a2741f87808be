#include "dvk/ring/ring.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "dvk/ring/layout.hpp"

namespace dvk::ring {
namespace {

using dvs::as_bytes;
using dvs::as_text;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;

std::string text_of(const dvs::Result<std::optional<BytesView>>& record) {
  if (!record) return "error " + to_string(record.error());
  return *record ? std::string(as_text(**record)) : "nothing";
}

class Ring : public testing::Test {
 protected:
  void SetUp() override { set_up(ring_bytes_min); }

  // Both sides on one mapping, so that ThreadSanitizer sees that it is the same memory.
  void set_up(std::size_t ring_bytes) {
    auto fd = create_ring(ring_bytes);
    ASSERT_TRUE(fd) << to_string(fd.error());
    auto memory = Memory::map(fd->get());
    ASSERT_TRUE(memory) << to_string(memory.error());
    memory_ = *memory;
    fd_ = std::move(*fd);
    producer_.emplace(memory_);
    consumer_.emplace(memory_);
  }

  // Fills the ring with records of `length`; how many fitted.
  int fill(std::size_t length) {
    const Bytes bytes(length, std::byte{7});
    int count = 0;
    while (producer_->try_push(bytes).value()) ++count;
    return count;
  }
  Control& control() { return memory_->control(); }

  dvs::runtime::Fd fd_;
  SharedMemory memory_;
  std::optional<RingProducer> producer_;
  std::optional<RingConsumer> consumer_;
};

TEST(CreateRing, RefusesOtherSizes) {
  for (const std::size_t bytes :
       {std::size_t{0}, ring_bytes_min / 2, ring_bytes_min + 4096, 2 * ring_bytes_max}) {
    EXPECT_EQ(create_ring(bytes).error(), Errc::invalid_argument) << bytes;
  }
  EXPECT_TRUE(create_ring());
  EXPECT_TRUE(create_ring(ring_bytes_max));
}

TEST(MapRing, RefusesOtherMemory) {
  auto fd = dvs::runtime::create_shared_memory("test", ring_bytes_min);
  ASSERT_TRUE(fd);
  EXPECT_EQ(Memory::map(fd->get()).error(), Errc::invalid_argument);
  auto page = dvs::runtime::create_shared_memory("test", control_bytes);
  ASSERT_TRUE(page);
  EXPECT_EQ(Memory::map(page->get()).error(), Errc::invalid_argument);
}

TEST_F(Ring, CarriesRecordsInOrder) {
  EXPECT_FALSE(consumer_->is_ready());
  EXPECT_EQ(text_of(consumer_->peek()), "nothing");
  ASSERT_TRUE(producer_->try_push(as_bytes("head "), as_bytes("payload")).value());
  ASSERT_TRUE(producer_->try_push(as_bytes("second")).value());
  ASSERT_TRUE(producer_->try_push({}).value());
  EXPECT_TRUE(consumer_->is_ready());
  EXPECT_EQ(text_of(consumer_->peek()), "head payload");
  EXPECT_EQ(text_of(consumer_->peek()), "head payload");
  EXPECT_FALSE(consumer_->pop());
  EXPECT_EQ(text_of(consumer_->peek()), "second");
  EXPECT_FALSE(consumer_->pop());
  EXPECT_EQ(text_of(consumer_->peek()), "");
  EXPECT_FALSE(consumer_->pop());
  EXPECT_EQ(text_of(consumer_->peek()), "nothing");
  EXPECT_FALSE(consumer_->is_ready());
}

TEST_F(Ring, ShowsNothingBeforeItIsPublished) {
  ASSERT_TRUE(producer_->push(as_bytes("one")).value());
  ASSERT_TRUE(producer_->push(as_bytes("two")).value());
  EXPECT_FALSE(consumer_->is_ready());
  EXPECT_EQ(text_of(consumer_->peek()), "nothing");
  producer_->publish();
  EXPECT_EQ(text_of(consumer_->peek()), "one");
}

TEST_F(Ring, RefusesRecordsThatAreTooLarge) {
  const Bytes largest(record_bytes_max);
  EXPECT_TRUE(producer_->try_push(largest).value());
  const Bytes larger(record_bytes_max + 1);
  EXPECT_EQ(producer_->try_push(larger).error(), Errc::message_too_large);
  EXPECT_EQ(producer_->try_push(as_bytes("x"), largest).error(), Errc::message_too_large);
  EXPECT_EQ(consumer_->peek()->value().size(), record_bytes_max);
}

TEST_F(Ring, HoldsTheLargestRecordAtAnyPosition) {
  Bytes largest(record_bytes_max);
  for (std::size_t i = 0; i < largest.size(); ++i) largest[i] = static_cast<std::byte>(i * 31);
  Bytes got;
  for (std::size_t position = 0; position < 2 * ring_bytes_min; position += 1000) {
    ASSERT_TRUE(producer_->try_push(Bytes(1000 - record_prefix_bytes)).value()) << position;
    ASSERT_TRUE(consumer_->pop_copy(got).value());
    ASSERT_TRUE(producer_->try_push(largest).value()) << position;
    ASSERT_TRUE(consumer_->pop_copy(got).value());
    ASSERT_EQ(got, largest) << position;
  }
}

TEST_F(Ring, IsFullAndHasRoomAgain) {
  const int count = fill(1000);
  EXPECT_GE(count, static_cast<int>(ring_bytes_min / 1008));
  EXPECT_FALSE(producer_->has_room_now());
  Bytes got;
  for (int i = 0; i < count; ++i) {
    ASSERT_TRUE(consumer_->pop_copy(got).value());
    ASSERT_EQ(got.size(), 1000U);
  }
  EXPECT_FALSE(consumer_->pop_copy(got).value());
  EXPECT_TRUE(producer_->has_room_now());
  EXPECT_TRUE(producer_->try_push(Bytes(record_bytes_max)).value());
}

TEST_F(Ring, TellsTheConsumerToRingForRoom) {
  const int count = fill(1000);
  EXPECT_TRUE(producer_->request_room());
  Bytes got;
  int popped = 0;
  while (!consumer_->take_room_released()) {
    ASSERT_LT(popped++, count);
    ASSERT_TRUE(consumer_->pop_copy(got).value());
  }
  EXPECT_TRUE(producer_->has_room_now());
  EXPECT_FALSE(producer_->request_room());
  ASSERT_TRUE(producer_->try_push(as_bytes("x")).value());
  // The request is over: no more ringing.
  while (consumer_->pop_copy(got).value()) EXPECT_FALSE(consumer_->take_room_released());
}

TEST_F(Ring, CarriesTheConsumersWords) {
  EXPECT_EQ(producer_->consumer_words(), ConsumerWords{});
  EXPECT_FALSE(producer_->has_new_consumer_words());
  const ConsumerWords words{.acknowledged = 1, .credit = 2, .epoch = 3};
  consumer_->publish_words(words);
  EXPECT_TRUE(producer_->has_new_consumer_words());
  EXPECT_EQ(producer_->consumer_words(), words);
  EXPECT_FALSE(producer_->has_new_consumer_words());
}

TEST_F(Ring, KeepsTheWordsBeforeAnUnfinishedChange) {
  const ConsumerWords words{.acknowledged = 1, .credit = 2, .epoch = 3};
  consumer_->publish_words(words);
  EXPECT_EQ(producer_->consumer_words(), words);
  control().words_version.store(3);
  control().acknowledged.store(99);
  EXPECT_FALSE(producer_->has_new_consumer_words());
  EXPECT_EQ(producer_->consumer_words(), words);
}

TEST_F(Ring, ShowsThatASideHasClosed) {
  EXPECT_FALSE(consumer_->is_producer_closed());
  EXPECT_FALSE(producer_->is_consumer_closed());
  ASSERT_TRUE(producer_->try_push(as_bytes("last")).value());
  producer_->close();
  consumer_->close();
  EXPECT_TRUE(consumer_->is_producer_closed());
  EXPECT_TRUE(producer_->is_consumer_closed());
  EXPECT_EQ(text_of(consumer_->peek()), "last");
}

// ---- a peer that writes rubbish

class HostileProducer : public Ring {
 protected:
  void expect_violation() {
    EXPECT_TRUE(consumer_->is_ready());
    EXPECT_EQ(consumer_->peek().error(), Errc::protocol_violation);
    // For ever, whatever it does now; and it no longer keeps its victim busy.
    control().tail.store(0);
    EXPECT_EQ(consumer_->peek().error(), Errc::protocol_violation);
    Bytes bytes;
    EXPECT_EQ(consumer_->pop_copy(bytes).error(), Errc::protocol_violation);
    EXPECT_FALSE(consumer_->is_ready());
  }
  void write_length(std::uint64_t position, std::uint32_t length) {
    std::memcpy(memory_->data() + position % memory_->ring_bytes(), &length, sizeof length);
  }
};

TEST_F(HostileProducer, TailBeyondTheRing) {
  control().tail.store(ring_bytes_min + 8);
  expect_violation();
}

TEST_F(HostileProducer, TailUnaligned) {
  control().tail.store(12);
  expect_violation();
}

TEST_F(HostileProducer, TailMovedBack) {
  ASSERT_TRUE(producer_->try_push(as_bytes("some text")).value());
  ASSERT_TRUE(producer_->try_push(as_bytes("more text")).value());
  Bytes bytes;
  ASSERT_TRUE(consumer_->pop_copy(bytes).value());
  ASSERT_TRUE(consumer_->pop_copy(bytes).value());
  control().tail.store(24);
  expect_violation();
}

TEST_F(HostileProducer, LengthBeyondTheTail) {
  write_length(0, 9);
  control().tail.store(16);
  expect_violation();
}

TEST_F(HostileProducer, LengthBeyondTheLargestRecord) {
  write_length(0, record_bytes_max + 1);
  control().tail.store(ring_bytes_min);
  expect_violation();
}

TEST_F(HostileProducer, LengthThatOverflows) {
  write_length(0, 0xFFFF'FFFF);
  control().tail.store(ring_bytes_min);
  expect_violation();
}

TEST_F(HostileProducer, LengthChangedAfterPeekDoesNotMoveTheView) {
  ASSERT_TRUE(producer_->try_push(as_bytes("some text")).value());
  const auto view = consumer_->peek()->value();
  write_length(0, 0xFFFF'FFFF);
  EXPECT_EQ(as_text(view), "some text");
  EXPECT_FALSE(consumer_->pop());
  EXPECT_EQ(text_of(consumer_->peek()), "nothing");
}

class HostileConsumer : public Ring {
 protected:
  void expect_violation_when_full() {
    EXPECT_TRUE(producer_->has_room_now());
    EXPECT_EQ(producer_->push(Bytes(1000)).error(), Errc::protocol_violation);
    control().head.store(0);
    EXPECT_EQ(producer_->push(as_bytes("x")).error(), Errc::protocol_violation);
  }
};

TEST_F(HostileConsumer, HeadBeyondTheTail) {
  fill(1000);
  control().head.store(ring_bytes_min + 8);
  expect_violation_when_full();
}

TEST_F(HostileConsumer, HeadMovedBack) {
  const int count = fill(1000);
  Bytes bytes;
  for (int i = 0; i < count; ++i) ASSERT_TRUE(consumer_->pop_copy(bytes).value());
  fill(1000);
  control().head.store(8);
  expect_violation_when_full();
}

TEST_F(HostileConsumer, HeadMovedWhileRoomIsRequested) {
  fill(1000);
  control().head.store(~std::uint64_t{0});
  EXPECT_FALSE(producer_->request_room());
  EXPECT_EQ(producer_->push(as_bytes("x")).error(), Errc::protocol_violation);
}

TEST_F(HostileConsumer, WordsThatNeverHoldStill) {
  control().words_version.store(2);
  std::atomic<bool> is_over = false;
  std::thread rubbish([&] {
    std::mt19937_64 random(1);
    while (!is_over.load()) {
      control().words_version.store(random());
      control().acknowledged.store(random());
    }
  });
  for (int i = 0; i < 10'000; ++i) {
    [[maybe_unused]] const bool has_new = producer_->has_new_consumer_words();
    EXPECT_EQ(producer_->consumer_words().credit, 0U);
  }
  is_over.store(true);
  rubbish.join();
}

// A thread that overwrites the whole ring at random while the consumer reads. It has a mapping of
// its own, as a process would.
TEST_F(HostileProducer, RubbishEverywhereAllTheTime) {
  auto other = Memory::map(fd_.get());
  ASSERT_TRUE(other);
  std::atomic<bool> is_over = false;
  std::thread rubbish([&] {
    std::mt19937_64 random(2);
    Control& words = (*other)->control();
    while (!is_over.load(std::memory_order_relaxed)) {
      // Small tails and lengths, so that many rounds get past the first checks.
      words.tail.store(random() % 4096 * 8, std::memory_order_relaxed);
      auto* word = reinterpret_cast<std::uint32_t*>((*other)->data() + random() % 4096 * 8);
      __atomic_store_n(word,
                       random() % 16 == 0 ? static_cast<std::uint32_t>(random())
                                          : static_cast<std::uint32_t>(random() % 300),
                       __ATOMIC_RELAXED);
    }
  });
  int violations = 0;
  Bytes bytes;
  while (violations < 10'000) {
    const auto result = consumer_->pop_copy(bytes);
    if (result) continue;
    EXPECT_EQ(result.error(), Errc::protocol_violation);
    ++violations;
    consumer_.emplace(memory_);
  }
  is_over.store(true, std::memory_order_relaxed);
  rubbish.join();
}

// ---- threads and processes

// A stream of records whose sizes and contents both sides can compute.
class Stream {
 public:
  Bytes next() {
    const std::uint64_t choice = random_() % 100;
    const std::size_t size = choice < 80   ? random_() % 200
                             : choice < 98 ? random_() % 5000
                                           : random_() % (record_bytes_max + 1);
    Bytes bytes(size);
    std::uint64_t value = random_();
    for (std::byte& byte : bytes) {
      value = value * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<std::byte>(value >> 56);
    }
    return bytes;
  }

 private:
  std::mt19937_64 random_{12345};
};

void produce(RingProducer& producer, int count) {
  Stream stream;
  for (int i = 0; i < count; ++i) {
    const Bytes bytes = stream.next();
    const BytesView view(bytes);
    const std::size_t cut = std::min<std::size_t>(view.size(), 32);
    while (!producer.push(view.first(cut), view.subspan(cut)).value()) {
      producer.publish();
      std::this_thread::yield();
    }
    if (i % 3 != 0) producer.publish();
  }
  producer.publish();
  producer.close();
}

// The number of the first record that was wrong or missing; `count` if none.
int consume(RingConsumer& consumer, int count) {
  Stream stream;
  Bytes got;
  for (int i = 0; i < count; ++i) {
    for (;;) {
      const bool is_closed = consumer.is_producer_closed();
      const auto result = consumer.pop_copy(got);
      if (!result) return i;
      if (*result) break;
      if (is_closed) return i;
      std::this_thread::yield();
    }
    consumer.publish_words({static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i) * 2,
                            static_cast<std::uint64_t>(i) * 3});
    if (got != stream.next()) return i;
  }
  return count;
}

TEST_F(Ring, CarriesAStreamBetweenThreads) {
  constexpr int count = 20'000;
  std::thread thread([&] { produce(*producer_, count); });
  EXPECT_EQ(consume(*consumer_, count), count);
  thread.join();
}

TEST_F(Ring, WordsAreConsistentBetweenThreads) {
  constexpr std::uint64_t last = 100'000;
  std::thread thread([&] {
    for (std::uint64_t i = 1; i <= last; ++i) consumer_->publish_words({i, 2 * i, 3 * i});
  });
  std::uint64_t before = 0;
  while (before < last) {
    const ConsumerWords words = producer_->consumer_words();
    ASSERT_GE(words.acknowledged, before);
    ASSERT_EQ(words.credit, 2 * words.acknowledged);
    ASSERT_EQ(words.epoch, 3 * words.acknowledged);
    before = words.acknowledged;
  }
  thread.join();
}

TEST_F(Ring, CarriesAStreamBetweenProcesses) {
  constexpr int count = 20'000;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto memory = Memory::map(fd_.get());
    RingProducer producer(*memory);
    produce(producer, count);
    ::_exit(0);
  }
  EXPECT_EQ(consume(*consumer_, count), count);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Killed at a random moment of its work: what was published is whole, the rest does not exist.
TEST_F(Ring, SurvivesAProducerKilledInTheMiddleOfAWrite) {
  constexpr int count = 1'000'000'000;
  for (int round = 0; round < 20; ++round) {
    set_up(ring_bytes_min);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      produce(*producer_, count);
      ::_exit(0);
    }
    Stream stream;
    Bytes got;
    const auto take = [&] {
      const auto result = consumer_->pop_copy(got);
      EXPECT_TRUE(result);
      if (!result || !*result) return false;
      EXPECT_EQ(got, stream.next());
      return true;
    };
    for (int i = 0; i < 100 + 37 * round;) i += take() ? 1 : 0;
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    while (take()) {
    }
    EXPECT_FALSE(consumer_->is_ready());
    EXPECT_FALSE(consumer_->is_producer_closed());
  }
}

TEST_F(Ring, UnpublishedRecordOfADeadProducerIsNotThere) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    (void)producer_->try_push(as_bytes("whole"));
    (void)producer_->push(as_bytes("half"));
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(text_of(consumer_->peek()), "whole");
  EXPECT_FALSE(consumer_->pop());
  EXPECT_EQ(text_of(consumer_->peek()), "nothing");
}

}  // namespace
}  // namespace dvk::ring

// A ring of variable-size records in shared memory: one producer process, one consumer process,
// which do not trust each other.
//
// One sealed memfd holds one direction: a control page, then a data area of a power of two bytes.
// The two sides share nothing else. Invariants:
//  * each side writes only its own words of the control page, and only the producer writes data;
//  * each side works from private copies of its own words, never from what is in shared memory, so
//    the other side can disturb what arrives but not what is safe;
//  * every word of the other side is read once, checked, and only then used. Whatever is wrong ends
//    in protocol_violation, from then on for ever, for this ring alone.
// A record becomes visible as a whole, by one release store of the tail: a producer that dies in
// the middle of a write leaves nothing behind.
//
// The data area is mapped twice, back to back. A record that runs over the end continues in the
// second copy, so every record is contiguous for both sides: one memcpy instead of two, no filler
// records whose length would have to be checked, and a bounds check that is a plain comparison.
//
// Nothing here blocks. How to sleep until the other side has done something: doorbell.hpp,
// waiter.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "runtime/memory.hpp"

namespace dvk::ring {

struct Control;

// The largest record: a message of 64 KiB and a header of up to 128 bytes.
constexpr std::size_t record_bytes_max = 64 * 1024 + 128;
constexpr std::size_t ring_bytes_default = 256 * 1024;
// The data area must hold a record of the largest size beside what the consumer has not released
// yet.
constexpr std::size_t ring_bytes_min = 128 * 1024;
constexpr std::size_t ring_bytes_max = 64 * 1024 * 1024;

// Makes the memory for one direction. `ring_bytes` is the size of the data area: a power of two
// from ring_bytes_min to ring_bytes_max. Errors: invalid_argument, system.
dvs::Result<dvs::runtime::Fd> create_ring(std::size_t ring_bytes = ring_bytes_default);

// Maps a ring that came from anywhere. Both sides of a ring may share one memory within a process.
// Errors: invalid_argument (not sealed, not of a ring's size), system.
class Memory {
 public:
  static dvs::Result<std::shared_ptr<const Memory>> map(int fd);

  Memory(dvs::runtime::Mapping mapping, std::size_t ring_bytes) noexcept
      : mapping_(std::move(mapping)), ring_bytes_(ring_bytes) {}
  Control& control() const noexcept;
  std::byte* data() const noexcept;
  std::size_t ring_bytes() const noexcept { return ring_bytes_; }

 private:
  dvs::runtime::Mapping mapping_;
  std::size_t ring_bytes_;
};
using SharedMemory = std::shared_ptr<const Memory>;

// What the consumer's layer above tells the producer's; the ring gives them no meaning. The
// producer must expect any values.
struct ConsumerWords {
  std::uint64_t acknowledged = 0;
  std::uint64_t credit = 0;
  std::uint64_t epoch = 0;

  friend bool operator==(const ConsumerWords&, const ConsumerWords&) = default;
};

// The sending side. One thread at a time.
class RingProducer {
 public:
  // Takes up a fresh ring: exactly one producer may ever be made of one ring.
  explicit RingProducer(SharedMemory memory);

  // Appends header and payload as one record. False: not enough room now. The record stays
  // invisible until publish(). Errors: message_too_large, protocol_violation.
  dvs::Result<bool> push(dvs::BytesView header, dvs::BytesView payload = {});
  // Makes all pushed records visible. The peer's doorbell is the caller's business (Waker::wake).
  void publish() noexcept;
  // push and publish.
  dvs::Result<bool> try_push(dvs::BytesView header, dvs::BytesView payload = {});

  // Asks the consumer to ring our doorbell when it next releases room (see RingConsumer::pop). To
  // be called after a push that returned false and before sleeping; then push must be tried once
  // more. False, and nothing is asked, if room appeared since that push.
  bool request_room() noexcept;
  // Whether the push that failed last could succeed now, or has an error to report. To be polled.
  bool has_room_now() const noexcept;

  // The latest complete set of the consumer's words. A consumer that leaves them in the middle of a
  // write only makes this return the set before.
  const ConsumerWords& consumer_words() noexcept;
  // Whether consumer_words() would now differ from what it returned last. One load, to be polled.
  bool has_new_consumer_words() const noexcept;

  // No more records will come. The consumer still gets those that were published.
  void close() noexcept;
  bool is_consumer_closed() const noexcept;

 private:
  bool is_possible_head(std::uint64_t head) const noexcept;
  bool refresh_head() noexcept;
  bool has_room(std::uint64_t needed) const noexcept;

  SharedMemory memory_;
  Control* control_;
  std::byte* data_;
  std::uint64_t capacity_;
  std::uint64_t tail_ = 0;         // where the next record goes; never read back from shared memory
  std::uint64_t published_ = 0;    // what the consumer has been told of tail_
  std::uint64_t cached_head_ = 0;  // the consumer's head when last looked at
  std::uint64_t room_needed_ = 0;  // by the push that failed last
  bool is_violated_ = false;
  bool has_requested_room_ = false;
  std::uint64_t words_version_ = 0;
  ConsumerWords words_;
};

// The receiving side. One thread at a time.
class RingConsumer {
 public:
  // Takes up a fresh ring: exactly one consumer may ever be made of one ring.
  explicit RingConsumer(SharedMemory memory);

  // Whether peek() has something to say, a record or an error. One load, to be polled.
  bool is_ready() const noexcept;

  // The next record, where it lies; nothing if there is none. THE PRODUCER CAN STILL WRITE THERE:
  // what was checked may have changed by the time it is used. Copy first, then parse the copy.
  // Valid until pop(). Errors: protocol_violation.
  dvs::Result<std::optional<dvs::BytesView>> peek();
  // Drops the record that peek() showed. Room goes back to the producer in batches. True: the
  // producer sleeps until there is room, and there is now: ring its doorbell.
  [[nodiscard]] bool pop();
  // Copies the next record into `to` (its former content goes, its memory is reused) and drops it.
  // False: there is none. Errors: protocol_violation.
  dvs::Result<bool> pop_copy(dvs::Bytes& to);
  // What pop() returned, of all pops since the last call: for users of pop_copy.
  [[nodiscard]] bool take_room_released() noexcept;

  // Tells the producer. The peer's doorbell is the caller's business, where it matters.
  void publish_words(const ConsumerWords& words) noexcept;

  // No more records will be taken.
  void close() noexcept;
  // Nothing more will come once is_ready() is false, too; ask in this order: closed, then ready.
  bool is_producer_closed() const noexcept;

 private:
  bool release() noexcept;

  SharedMemory memory_;
  Control* control_;
  const std::byte* data_;
  std::uint64_t capacity_;
  std::uint64_t head_ = 0;          // where the next record is; never read back from shared memory
  std::uint64_t released_ = 0;      // what the producer has been told of head_
  std::uint64_t cached_tail_ = 0;   // the producer's tail when last looked at, checked
  std::uint64_t peeked_bytes_ = 0;  // room that the record shown by peek() takes; 0: none shown
  std::uint64_t words_version_ = 0;
  bool is_violated_ = false;
  bool is_room_released_ = false;
};

}  // namespace dvk::ring

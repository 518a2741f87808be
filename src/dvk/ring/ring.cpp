#include "dvk/ring/ring.hpp"

#include <bit>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "dvk/ring/fence.hpp"
#include "dvk/ring/layout.hpp"

namespace dvk::ring {

using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::fail;
using dvs::Result;
using dvs::runtime::Mapping;

namespace {

// The consumer gives room back when it has a quarter of the ring, so that the line of its head
// moves rarely. A ring of which everything has been taken must still have room for any record:
constexpr std::uint64_t release_share = 4;
static_assert(ring_bytes_min - ring_bytes_min / release_share >=
              record_prefix_bytes + record_bytes_max + 7);

bool is_ring_size(std::size_t bytes) {
  return std::has_single_bit(bytes) && bytes >= ring_bytes_min && bytes <= ring_bytes_max;
}

}  // namespace

Result<dvs::runtime::Fd> create_ring(std::size_t ring_bytes) {
  if (!is_ring_size(ring_bytes)) return fail(Errc::invalid_argument, "not a size for a ring");
  return dvs::runtime::create_shared_memory("dvk-ring", control_bytes + ring_bytes);
}

Result<SharedMemory> Memory::map(int fd) {
  DVS_TRY(const std::size_t bytes, dvs::runtime::shared_memory_size(fd));
  if (bytes <= control_bytes || !is_ring_size(bytes - control_bytes)) {
    return fail(Errc::invalid_argument, "not a ring");
  }
  DVS_TRY(Mapping mapping, Mapping::map_mirrored(fd, bytes, control_bytes));
  return std::make_shared<const Memory>(std::move(mapping), bytes - control_bytes);
}

Control& Memory::control() const noexcept {
  return *reinterpret_cast<Control*>(mapping_.data());
}
std::byte* Memory::data() const noexcept {
  return mapping_.data() + control_bytes;
}

// ---- producer

RingProducer::RingProducer(SharedMemory memory)
    : memory_(std::move(memory)),
      control_(&memory_->control()),
      data_(memory_->data()),
      capacity_(memory_->ring_bytes()) {}

bool RingProducer::has_room(std::uint64_t needed) const noexcept {
  return capacity_ - (tail_ - cached_head_) >= needed;
}

// The head never goes back, and never beyond what was published. Accepting only such heads keeps
// cached_head_ <= published_ <= tail_ <= cached_head_ + capacity_.
bool RingProducer::is_possible_head(std::uint64_t head) const noexcept {
  return head - cached_head_ <= published_ - cached_head_;
}

bool RingProducer::refresh_head() noexcept {
  const std::uint64_t head = control_->head.load(std::memory_order_acquire);
  if (!is_violated_ && is_possible_head(head)) {
    cached_head_ = head;
    return true;
  }
  is_violated_ = true;
  cached_head_ =
      tail_ - capacity_;  // no room for anything any more, so that push need not check twice
  return false;
}

Result<bool> RingProducer::push(BytesView header, BytesView payload) {
  const std::size_t length = header.size() + payload.size();
  if (header.size() > record_bytes_max || payload.size() > record_bytes_max - header.size()) {
    return fail(Errc::message_too_large, "record too large for a ring");
  }
  const std::uint64_t needed = record_room(length);
  if (!has_room(needed)) {
    if (!is_violated_) refresh_head();
    if (is_violated_)
      return fail(Errc::protocol_violation, "ring's consumer moved its head wrongly");
    if (!has_room(needed)) {
      room_needed_ = needed;
      return false;
    }
  }
  std::byte* record = data_ + (tail_ & (capacity_ - 1));
  __atomic_store_n(reinterpret_cast<std::uint32_t*>(record), static_cast<std::uint32_t>(length),
                   __ATOMIC_RELAXED);
  record += record_prefix_bytes;
  if (!header.empty()) std::memcpy(record, header.data(), header.size());
  if (!payload.empty()) std::memcpy(record + header.size(), payload.data(), payload.size());
  tail_ += needed;
  return true;
}

void RingProducer::publish() noexcept {
  if (published_ == tail_) return;
  control_->tail.store(tail_, std::memory_order_release);
  published_ = tail_;
  if (has_requested_room_) {
    control_->is_room_requested.store(0, std::memory_order_relaxed);
    has_requested_room_ = false;
  }
}

Result<bool> RingProducer::try_push(BytesView header, BytesView payload) {
  auto result = push(header, payload);
  if (result && *result) publish();
  return result;
}

bool RingProducer::request_room() noexcept {
  control_->is_room_requested.store(1, std::memory_order_relaxed);
  has_requested_room_ = true;
  // The consumer stores its head, then looks at our request; we store the request, then look at its
  // head. With a full fence on both sides at least one of the two notices the other.
  full_fence();
  // An impossible head counts as room: the next push reports it.
  if (refresh_head() && !has_room(room_needed_)) return true;
  control_->is_room_requested.store(0, std::memory_order_relaxed);
  has_requested_room_ = false;
  return false;
}

bool RingProducer::has_room_now() const noexcept {
  const std::uint64_t head = control_->head.load(std::memory_order_acquire);
  return is_violated_ || !is_possible_head(head) || capacity_ - (tail_ - head) >= room_needed_;
}

const ConsumerWords& RingProducer::consumer_words() noexcept {
  // Loads with acquire and stores with release instead of fences around relaxed ones: free on x86,
  // and ThreadSanitizer understands them.
  constexpr int attempts_max = 4;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    const std::uint64_t version = control_->words_version.load(std::memory_order_acquire);
    if (version % 2 != 0 || version == words_version_) break;
    const ConsumerWords words{control_->acknowledged.load(std::memory_order_acquire),
                              control_->credit.load(std::memory_order_acquire),
                              control_->epoch.load(std::memory_order_acquire)};
    if (control_->words_version.load(std::memory_order_relaxed) == version) {
      words_ = words;
      words_version_ = version;
      break;
    }
  }
  return words_;
}

bool RingProducer::has_new_consumer_words() const noexcept {
  const std::uint64_t version = control_->words_version.load(std::memory_order_relaxed);
  return version % 2 == 0 && version != words_version_;
}

void RingProducer::close() noexcept {
  control_->is_producer_closed.store(1, std::memory_order_release);
}

bool RingProducer::is_consumer_closed() const noexcept {
  return control_->is_consumer_closed.load(std::memory_order_acquire) != 0;
}

// ---- consumer

RingConsumer::RingConsumer(SharedMemory memory)
    : memory_(std::move(memory)),
      control_(&memory_->control()),
      data_(memory_->data()),
      capacity_(memory_->ring_bytes()) {}

bool RingConsumer::is_ready() const noexcept {
  if (is_violated_) return false;
  return head_ != cached_tail_ || control_->tail.load(std::memory_order_acquire) != head_;
}

Result<std::optional<BytesView>> RingConsumer::peek() {
  if (!is_violated_ && head_ == cached_tail_) {
    const std::uint64_t tail = control_->tail.load(std::memory_order_acquire);
    if (tail == head_) return std::nullopt;
    // A tail that went back is "ahead" by nearly 2^64, so one comparison refuses it as well.
    if (tail - head_ > capacity_ || tail % 8 != 0) {
      is_violated_ = true;
    } else {
      cached_tail_ = tail;
    }
  }
  if (is_violated_) return fail(Errc::protocol_violation, "ring's producer wrote rubbish");
  const std::byte* record = data_ + (head_ & (capacity_ - 1));
  // Read exactly once; from here on only this copy counts.
  const std::uint64_t length =
      __atomic_load_n(reinterpret_cast<const std::uint32_t*>(record), __ATOMIC_RELAXED);
  if (length > record_bytes_max || record_room(length) > cached_tail_ - head_) {
    is_violated_ = true;
    return fail(Errc::protocol_violation, "ring's producer wrote a wrong length");
  }
  peeked_bytes_ = record_room(length);
  return BytesView(record + record_prefix_bytes, length);
}

bool RingConsumer::pop() {
  DVS_ASSERT(peeked_bytes_ != 0);
  head_ += peeked_bytes_;
  peeked_bytes_ = 0;
  return head_ - released_ >= capacity_ / release_share && release();
}

bool RingConsumer::release() noexcept {
  control_->head.store(head_, std::memory_order_release);
  released_ = head_;
  full_fence();  // see RingProducer::request_room
  return control_->is_room_requested.load(std::memory_order_relaxed) != 0;
}

Result<bool> RingConsumer::pop_copy(Bytes& to) {
  DVS_TRY(const auto record, peek());
  if (!record) return false;
  to.assign(record->begin(), record->end());
  if (pop()) is_room_released_ = true;
  return true;
}

bool RingConsumer::take_room_released() noexcept {
  return std::exchange(is_room_released_, false);
}

void RingConsumer::publish_words(const ConsumerWords& words) noexcept {
  control_->words_version.store(words_version_ + 1, std::memory_order_relaxed);
  control_->acknowledged.store(words.acknowledged, std::memory_order_release);
  control_->credit.store(words.credit, std::memory_order_release);
  control_->epoch.store(words.epoch, std::memory_order_release);
  words_version_ += 2;
  control_->words_version.store(words_version_, std::memory_order_release);
}

void RingConsumer::close() noexcept {
  control_->is_consumer_closed.store(1, std::memory_order_release);
}

bool RingConsumer::is_producer_closed() const noexcept {
  return control_->is_producer_closed.load(std::memory_order_acquire) != 0;
}

}  // namespace dvk::ring

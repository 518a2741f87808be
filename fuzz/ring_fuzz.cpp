// The ring against a peer that writes anything anywhere, between any two operations of its victim.
//
// The input is a script: it overwrites control words and data, and has the consumer and the
// producer of the same ring do their work in between. Whatever it writes, records must lie within
// the mapping and keep to their limits, and a violation must be final. (The sanitizers do not guard
// shared mappings, so the bounds are checked here.)
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "dvk/ring/layout.hpp"
#include "dvk/ring/ring.hpp"

namespace {

using namespace dvk::ring;
using dvs::Bytes;
using dvs::BytesView;

void require(bool condition) {
  if (!condition) std::abort();
}

// Takes numbers from the input until it is used up; then zeros.
class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  bool is_over() const { return rest_.empty(); }
  template <class Number>
  Number take() {
    Number number = 0;
    const auto bytes = take_bytes(sizeof number);
    if (!bytes.empty()) std::memcpy(&number, bytes.data(), bytes.size());
    return number;
  }
  std::span<const std::uint8_t> take_bytes(std::size_t count) {
    const auto taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

const SharedMemory& memory() {
  static const SharedMemory shared = *Memory::map(create_ring(ring_bytes_min)->get());
  return shared;
}

std::byte* control_area() {
  return reinterpret_cast<std::byte*>(&memory()->control());
}

class Victim {
 public:
  Victim() : consumer_(memory()), producer_(memory()) {}

  void step(Script& script) {
    switch (script.take<std::uint8_t>() % 9) {
      case 0: return write_word(script);
      case 1: return write_data(script);
      case 2: return fill_data(script);
      case 3: return move_tail(script);
      case 4: return read_in_place();
      case 5: return read_copy();
      case 6: return push(script);
      case 7: return use_words(script);
      default: consumer_ = RingConsumer(memory()), is_violated_ = false;
    }
  }

 private:
  // Any word of the control page, with any value.
  static void write_word(Script& script) {
    const std::size_t offset = script.take<std::uint16_t>() % (control_bytes / 8) * 8;
    const auto value = script.take<std::uint64_t>();
    std::memcpy(control_area() + offset, &value, sizeof value);
  }
  static void write_data(Script& script) {
    const std::size_t offset = script.take<std::uint32_t>() % memory()->ring_bytes();
    const auto bytes = script.take_bytes(script.take<std::uint8_t>());
    if (!bytes.empty()) std::memcpy(memory()->data() + offset, bytes.data(), bytes.size());
  }
  // One word repeated over all of the data area: lengths wherever the consumer looks.
  static void fill_data(Script& script) {
    const auto word = script.take<std::uint32_t>();
    auto* words = reinterpret_cast<std::uint32_t*>(memory()->data());
    std::fill_n(words, memory()->ring_bytes() / sizeof word, word);
  }
  // A tail that is likely to pass the first checks.
  static void move_tail(Script& script) {
    memory()->control().tail.fetch_add(script.take<std::uint16_t>() * std::uint64_t{8});
  }

  void read_in_place() {
    const auto record = consumer_.peek();
    if (!record) return note_violation();
    require(!is_violated_);
    if (!*record) return;
    const BytesView view = **record;
    // The data area and its mirror.
    const BytesView mapped(memory()->data(), 2 * memory()->ring_bytes());
    require(view.data() >= mapped.data() && view.data() + view.size() <= &mapped.back() + 1);
    require(view.size() <= record_bytes_max);
    for (const std::byte byte : view) sum_ += static_cast<unsigned>(byte);
    [[maybe_unused]] const bool is_room_released = consumer_.pop();
  }
  void read_copy() {
    const auto result = consumer_.pop_copy(copy_);
    if (!result) return note_violation();
    require(!is_violated_ && (!*result || copy_.size() <= record_bytes_max));
    [[maybe_unused]] const bool is_room_released = consumer_.take_room_released();
  }
  void note_violation() {
    is_violated_ = true;
    require(!consumer_.is_ready());
  }
  void push(Script& script) {
    const Bytes payload(script.take<std::uint16_t>());
    const auto header = std::as_bytes(script.take_bytes(script.take<std::uint8_t>()));
    const auto result = producer_.push(header, payload);
    if (result && !*result) {
      [[maybe_unused]] const bool is_full = producer_.request_room() && !producer_.has_room_now();
    }
    if (script.take<std::uint8_t>() % 2 == 0) producer_.publish();
  }
  void use_words(Script& script) {
    sum_ += producer_.consumer_words().credit;
    [[maybe_unused]] const bool has_new = producer_.has_new_consumer_words();
    consumer_.publish_words({script.take<std::uint8_t>(), 2, 3});
  }

  RingConsumer consumer_;
  RingProducer producer_;
  Bytes copy_;
  bool is_violated_ = false;
  volatile std::uint64_t sum_ = 0;  // makes sure that everything is really read
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::memset(control_area(), 0, control_bytes + memory()->ring_bytes());
  Script script(data, size);
  Victim victim;
  while (!script.is_over()) victim.step(script);
  return 0;
}

// A peer that says anything, at any time: frames that are well formed one by one, in any order,
// mixed with ticks, breaks and sends. The core must neither crash, nor deliver out of turn, nor
// lose count.
//
// The input is a list of steps: one byte for what, then its arguments.
#include <cstddef>
#include <cstdint>

#include "base/assert.hpp"
#include "dvk/core/link_core.hpp"

namespace {

using dvk::core::LinkCore;
using dvk::core::LinkEvent;
using dvk::core::LinkState;
using dvk::wire::FrameHeader;
using dvk::wire::FrameType;
using dvk::wire::LinkHello;
using std::chrono::milliseconds;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool is_empty() const { return size_ == 0; }
  unsigned byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

struct Upper final : dvk::core::LinkUpper {
  void on_message(dvs::BytesView payload) override {
    ++messages;
    volatile unsigned sum = 0;
    for (const std::byte byte : payload) sum = sum + static_cast<unsigned>(byte);
  }
  void on_event(const LinkEvent& event) override { lost += event.lost_frames; }
  void on_released(dvs::Bytes payload) override {
    ++released;
    static_cast<void>(payload);
  }
  std::uint64_t messages = 0;
  std::uint64_t released = 0;
  std::uint64_t lost = 0;
};

dvk::core::LinkCoreConfig config() {
  dvk::core::LinkCoreConfig made;
  made.self = dvs::NodeId{1};
  made.peer = dvs::NodeId{2};
  made.boot = 7;
  made.nonce_seed = 99;
  made.retained_bytes_max = 512 * 1024;
  return made;
}

class Play {
 public:
  explicit Play(Input input) : input_(input), core_(config(), upper_, now_) {}

  void run() {
    while (!input_.is_empty()) {
      step(input_.byte());
      DVS_ASSERT(upper_.released + core_.retained_frames() == sent_);
      DVS_ASSERT(upper_.lost <= sent_);
      DVS_ASSERT(upper_.messages == core_.statistics().frames_received);
      DVS_ASSERT(core_.state() != LinkState::down || core_.retained_frames() == 0);
    }
  }

 private:
  void step(unsigned what) {
    switch (what % 8) {
      case 0: core_.on_connected(now_); break;
      case 1: core_.on_disconnected(); break;
      case 2: say_hello(); break;
      case 3: say(FrameType::data); break;
      case 4: say(what & 8 ? FrameType::ack : FrameType::ping); break;
      case 5: pull(); break;
      case 6: pass_time(); break;
      case 7: send(); break;
    }
  }
  void say_hello() {
    LinkHello hello;
    hello.node = 2;
    const unsigned choice = input_.byte();
    hello.boot = 1 + (choice & 1);
    hello.session = choice & 2 ? core_.session() : choice & 4;
    hello.nonce = choice >> 5;
    hello.received = input_.byte();
    FrameHeader header;
    header.type = FrameType::hello;
    header.flags = choice & 8 ? dvk::wire::frame_flag::answer : 0;
    header.payload_bytes = sizeof hello;
    const auto bytes = dvk::wire::encode_hello(hello);
    static_cast<void>(core_.on_frame(now_, header, bytes));
  }
  void say(FrameType type) {
    FrameHeader header;
    header.type = type;
    const unsigned choice = input_.byte();
    header.flags = choice & 1 ? dvk::wire::frame_flag::replay_wanted : 0;
    header.acknowledged = input_.byte();
    if (type == FrameType::data) header.sequence = 1 + input_.byte();
    const dvs::Bytes payload(type == FrameType::data ? choice : 0);
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    static_cast<void>(core_.on_frame(now_, header, payload));
  }
  void pull() {
    for (unsigned count = input_.byte() % 16; count > 0; --count) {
      const auto frame = core_.next_frame(now_);
      if (!frame) break;
      DVS_ASSERT(frame->payload.size() == frame->header.payload_bytes);
      volatile unsigned sum = 0;
      for (const std::byte byte : frame->payload) sum = sum + static_cast<unsigned>(byte);
    }
  }
  void pass_time() {
    const unsigned choice = input_.byte();
    now_ += milliseconds(choice * (choice & 1 ? 50 : 1));
    static_cast<void>(core_.on_tick(now_));
    DVS_ASSERT(core_.next_deadline() > now_ || core_.state() == LinkState::down ||
               core_.next_frame(now_).has_value() || core_.next_deadline() == now_);
  }
  void send() {
    const std::size_t size = std::size_t{input_.byte()} * 512;
    if (core_.send(dvs::Bytes(size))) ++sent_;
  }

  Input input_;
  Upper upper_;
  dvs::TimePoint now_{std::chrono::seconds(1)};
  std::uint64_t sent_ = 0;
  LinkCore core_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Play(Input(data, size)).run();
  return 0;
}

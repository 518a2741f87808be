// A hostile node, and hostile processes beside it: the whole core of a daemon fed with whatever
// they might say, in any order.
//
// The input is a list of steps: one byte says who speaks, two how long what it says is. The hostile
// node may say anything; what must hold is that the core neither breaks nor sends a packet from one
// container into another, that what it says is well-formed, and that nothing is left when all
// processes have gone.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

#include "dvk/node/node_core.hpp"

namespace {

using namespace dvk;
using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::ContainerId;
using dvs::NodeId;
using dvs::Result;
using node::Handle;

constexpr NodeId self{1}, other{2};
constexpr std::uint64_t handles_max = 5;

void require(bool condition) {
  if (!condition) std::abort();
}

// Remembers which container each process is of and which address it was given; gives memory of a
// fixed size to everyone.
class World final : public node::Output {
 public:
  std::map<Handle, ContainerId> containers;
  std::map<Handle, Address> addresses;
  std::map<Handle, bool> is_refused;
  std::uint64_t serial = 1;

  void to_process(Handle handle, const wire::ToProcess& message, BytesView) override {
    require(containers.contains(handle));
    require(wire::decode_variant<wire::ToProcess>(wire::encode_variant(message)).has_value());
    if (const auto* welcome = std::get_if<wire::Welcome>(&message)) {
      require(welcome->address.container == containers[handle]);
      addresses[handle] = welcome->address;
    } else if (const auto* promoted = std::get_if<wire::Promoted>(&message)) {
      addresses[handle] = promoted->address;
    } else if (std::holds_alternative<wire::Refused>(message)) {
      is_refused[handle] = true;
    }
  }
  bool to_ring(Handle handle, const wire::PacketHeader& header, BytesView payload) override {
    require(containers.contains(handle) && header.payload_bytes == payload.size());
    if (header.kind == wire::PacketKind::copy_result) return true;
    require(header.container == dvs::raw(containers[handle]));
    return header.sequence % 2 == 0;
  }
  void open_ring(Handle first, Handle second, bool) override {
    require(first != second && containers.at(first) == containers.at(second));
  }
  void to_node(NodeId, const wire::NodeMessage& message) override { check(message); }
  bool packet_to_node(NodeId, const wire::PacketHeader& header, BytesView payload) override {
    return wire::decode_packet(wire::encode_packet(header, payload)).has_value();
  }
  bool has_bulk_room(NodeId) override { return ++serial % 3 != 0; }
  void copy_start_to_node(NodeId, const wire::CopyStart& start) override { check(start); }
  void send_pieces(NodeId, std::span<node::PieceToSend> pieces) override {
    for (node::PieceToSend& piece : pieces) piece.result = touch(piece.from, piece.head.bytes);
  }
  Result<void> read_memory(const node::MemoryPlace& place, std::span<std::byte> into) override {
    std::ranges::fill(into, std::byte{1});
    return touch(place, into.size());
  }
  void write_pieces(std::span<node::PieceToWrite> pieces) override {
    for (node::PieceToWrite& piece : pieces) piece.result = touch(piece.to, piece.bytes.size());
  }
  std::uint64_t fresh_serial() override { return ++serial; }
  bool was_given(std::uint64_t number) override { return number <= serial; }

 private:
  static void check(const wire::NodeMessage& message) {
    const Bytes bytes = wire::encode_node_message(message);
    require(wire::decode_variant<wire::NodeMessage>(BytesView(bytes).subspan(1)).has_value());
  }
  // A piece is never larger than announced, and only of processes that are there.
  Result<void> touch(const node::MemoryPlace& place, std::size_t bytes) {
    require(containers.contains(place.owner));
    if (place.side.offset + place.position > 1'000'000 || bytes > 1'000'000) {
      return dvs::fail(dvs::Errc::bad_address);
    }
    return {};
  }
};

class Run {
 public:
  Run() : core_(self, world_, node::Policy{}) {
    node::View view;
    view.number = 1;
    view.members = {self, other};
    core_.install_view(view, now_);
    core_.on_link_up(other, false, now_);
    // So that most inputs get past the directory.
    wire::Report report{1, true, true, {}};
    (void)core_.on_node_message(other, wire::encode_node_message(report), now_);
  }

  void step(std::uint8_t who, BytesView bytes) {
    now_ += std::chrono::milliseconds(10);
    const Handle handle{who % handles_max};
    switch (who / 32) {
      case 0: return on_process(handle, bytes);
      case 1: return on_packet(handle, bytes);
      case 2: return close(handle);
      case 3: return link(who);
      case 4: (void)core_.work(); return core_.on_tick(now_ += std::chrono::seconds(who % 32));
      default: (void)core_.on_node_message(other, bytes, now_);
    }
  }

  void finish() {
    for (std::uint64_t number = 0; number < handles_max; ++number) close(Handle{number});
    require(core_.endpoint_count() == 0);
  }

 private:
  void on_process(Handle handle, BytesView bytes) {
    const auto message = wire::decode_variant<wire::ToDaemon>(bytes);
    if (!message) return;
    const auto* hello = std::get_if<wire::Hello>(&*message);
    if (world_.is_refused[handle]) return close(handle);
    if (!world_.containers.contains(handle)) {
      if (hello == nullptr) return;
      const ContainerId container{static_cast<std::uint32_t>(handle) % 2 + 1};
      world_.containers[handle] = container;
      return core_.on_hello(handle, container, 7, *hello, now_);
    }
    const Bytes state(100, std::byte{3});
    const bool is_move = std::holds_alternative<wire::MoveOut>(*message);
    core_.on_process_message(handle, *message, is_move ? BytesView(state) : BytesView(), now_);
  }
  void on_packet(Handle handle, BytesView bytes) {
    const auto packet = wire::decode_packet(bytes);
    if (!packet || !world_.containers.contains(handle)) return;
    core_.on_process_packet(handle, packet->header, packet->payload, now_);
  }
  void close(Handle handle) {
    if (!world_.containers.contains(handle)) return;
    core_.on_process_closed(handle, now_);
    world_.containers.erase(handle);
    world_.addresses.erase(handle);
    world_.is_refused.erase(handle);
  }
  void link(std::uint8_t how) {
    switch (how % 4) {
      case 0: return core_.on_link_down(other, now_);
      case 1: return core_.on_link_up(other, true, now_);
      case 2: return core_.on_link_up(other, false, now_);
      default: return core_.on_bulk_room(other, now_);
    }
  }

  World world_;
  node::NodeCore core_;
  dvs::TimePoint now_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  BytesView rest(reinterpret_cast<const std::byte*>(data), size);
  Run run;
  while (rest.size() >= 3) {
    const auto who = static_cast<std::uint8_t>(rest[0]);
    const std::size_t wanted = static_cast<std::size_t>(rest[1]) | static_cast<std::size_t>(rest[2])
                                                                       << 8;
    rest = rest.subspan(3);
    const std::size_t length = std::min(wanted, rest.size());
    run.step(who, rest.first(length));
    rest = rest.subspan(length);
  }
  run.finish();
  return 0;
}

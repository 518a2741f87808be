// Hostile group members: the decoder, and the state machine of a leader, of a member and of a
// member that joins, fed with whatever the others might send.
//
// The input is a list of pieces: one byte says who receives, one who sends, two how long the
// message is.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dvk/core/group_core.hpp"

namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;

Address address_of(std::uint64_t serial) {
  return {dvs::ContainerId{1}, dvs::EndpointId{serial}, dvs::Incarnation{1}};
}

void require(bool condition) {
  if (!condition) std::abort();
}

struct Sink final : dvk::core::GroupOutput {
  void send(const Address&, Bytes message) override {
    // Whatever we were told, what we say is well-formed.
    require(dvk::wire::decode_group(message).has_value());
  }
};

// What decodes is encoded to the same bytes.
void check_codec(BytesView bytes) {
  const auto message = dvk::wire::decode_group(bytes);
  if (!message) return;
  const Bytes again = dvk::wire::encode_group(*message);
  require(again.size() == bytes.size() &&
          std::memcmp(again.data(), bytes.data(), bytes.size()) == 0);
}

void poke(dvk::core::GroupCore& core, std::uint8_t what, std::uint64_t& view) {
  using dvk::core::GroupView;
  switch (what % 6) {
    case 0: std::ignore = core.multicast(dvs::as_bytes("payload")); break;
    case 1: core.on_peer_broken(address_of(what % 5)); break;
    case 2: core.end_turn(); break;
    case 3:
      while (core.next_delivery()) continue;
      break;
    case 4:
      std::ignore = core.install(GroupView{++view, {address_of(1), address_of(2), address_of(3)}});
      break;
    default:
      std::ignore = core.install(
          GroupView{++view, {address_of(2), address_of(1), address_of(4), address_of(3)}});
      break;
  }
}

// A member with a history, as it comes about without anybody lying.
void settle_in(dvk::core::GroupCore& core, std::uint64_t self) {
  using namespace dvk::wire;
  std::ignore = core.install({1, {address_of(1), address_of(2), address_of(3)}});
  if (self == 1) {
    for (const std::uint64_t other : {2, 3}) {
      require(core.on_message(address_of(other), encode_group(GroupReport{1, false, 0, 0}))
                  .has_value());
    }
  } else {
    GroupEntry view{GroupEntryKind::view, {}, 1, {}, {}};
    for (const std::uint64_t member : {1, 2, 3})
      view.members.push_back({address_of(member), 0, true});
    const auto start = encode_group(GroupOrdered{1, 1, 0, true, {view}});
    require(core.on_message(address_of(1), start).has_value());
  }
  core.end_turn();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView input(reinterpret_cast<const std::byte*>(data), size);
  check_codec(input);
  Sink sink;
  const dvk::core::GroupSettings settings{.outstanding_max = 8, .window_bytes = 1000};
  dvk::core::GroupCore leader(address_of(1), sink, settings);
  dvk::core::GroupCore member(address_of(2), sink, settings);
  dvk::core::GroupCore newcomer(address_of(4), sink, settings);
  settle_in(leader, 1);
  settle_in(member, 2);
  dvk::core::GroupCore* const cores[] = {&leader, &member, &newcomer};
  std::uint64_t view = 1;
  std::size_t offset = 0;
  while (size - offset >= 4) {
    dvk::core::GroupCore& core = *cores[data[offset] % 3];
    const std::uint8_t sender = data[offset + 1];
    const std::size_t length = data[offset + 2] | std::size_t{data[offset + 3]} << 8;
    offset += 4;
    if (sender >= 8) {
      poke(core, sender, view);
      continue;
    }
    const std::size_t taken = length < size - offset ? length : size - offset;
    std::ignore = core.on_message(address_of(sender % 5), input.subspan(offset, taken));
    if (sender & 1) core.end_turn();
    offset += taken;
  }
  for (dvk::core::GroupCore* core : cores) {
    core->end_turn();
    while (core->next_delivery()) continue;
  }
  return 0;
}

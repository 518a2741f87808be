// The packet: what one endpoint's library hands to another's, whatever path lies between.
//
// A header of fixed size, then the payload. Numbers are little-endian as they lie in memory (x86-64
// is the floor). Packets are numbered per conversation; `ack` alone is not.
#pragma once

#include <cstdint>
#include <type_traits>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"

namespace dvk::wire {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Result;

constexpr std::uint16_t packet_version = 1;
constexpr std::size_t max_message_bytes = 64 * 1024;

enum class PacketKind : std::uint8_t {
  message = 1,  // one-way; taken by receive; uses credit
  request = 2,  // `token` is the caller's call number; uses credit
  reply = 3,    // `token` is the call number; needs no credit: the caller made room by calling
  notify = 4,   // `token` is the set of bits; at most one unacknowledged per conversation
  cancel = 5,   // `token` is the call number; the caller no longer waits for it
  ack = 6,      // unnumbered, carries only the acknowledgement fields
  // Between a process and its own daemon, never further (see attach_message.hpp).
  copy_request = 16,
  copy_result = 17,
};
constexpr bool uses_credit(PacketKind kind) {
  return kind == PacketKind::message || kind == PacketKind::request;
}

constexpr bool is_of_daemon(PacketKind kind) {
  return kind == PacketKind::copy_request || kind == PacketKind::copy_result;
}

struct PacketHeader {
  std::uint16_t version = packet_version;
  PacketKind kind{};
  std::uint8_t reserved = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t container = 0;
  std::uint32_t epoch = 0;  // of the sender's numbering
  std::uint64_t source_id = 0;
  std::uint64_t source_incarnation = 0;
  std::uint64_t target_id = 0;
  std::uint64_t target_incarnation = 0;
  std::uint64_t sequence = 0;  // 0 for `ack`
  std::uint64_t token = 0;
  // Highest number taken of the other direction's `acknowledged_epoch`.
  std::uint64_t acknowledged = 0;
  std::uint64_t credit = 0;  // total cost the other direction may have sent in that epoch
  std::uint32_t acknowledged_epoch = 0;
  std::uint32_t reserved2 = 0;

  Address source() const {
    return {dvs::ContainerId{container}, dvs::EndpointId{source_id},
            dvs::Incarnation{source_incarnation}};
  }
  Address target() const {
    return {dvs::ContainerId{container}, dvs::EndpointId{target_id},
            dvs::Incarnation{target_incarnation}};
  }
  void set_source(const Address& address) {
    container = dvs::raw(address.container);
    source_id = dvs::raw(address.id);
    source_incarnation = dvs::raw(address.incarnation);
  }
  void set_target(const Address& address) {
    target_id = dvs::raw(address.id);
    target_incarnation = dvs::raw(address.incarnation);
  }
};
static_assert(sizeof(PacketHeader) == 88 && std::is_trivially_copyable_v<PacketHeader>);

struct Packet {
  PacketHeader header;
  BytesView payload;
};

// Splits bytes into header and payload. Checks version, kind and that the length is exactly right;
// says nothing about whether the addresses make sense. The payload points into `bytes`.
Result<Packet> decode_packet(BytesView bytes);
// Header and payload as one run of bytes.
Bytes encode_packet(const PacketHeader& header, BytesView payload);

}  // namespace dvk::wire

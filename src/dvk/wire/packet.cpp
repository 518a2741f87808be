#include "dvk/wire/packet.hpp"

#include <cstring>

#include <fmt/format.h>

namespace dvk::wire {
namespace {

bool is_known(PacketKind kind) {
  switch (kind) {
    case PacketKind::message:
    case PacketKind::request:
    case PacketKind::reply:
    case PacketKind::notify:
    case PacketKind::cancel:
    case PacketKind::ack:
    case PacketKind::copy_request:
    case PacketKind::copy_result: return true;
  }
  return false;
}

}  // namespace

Result<Packet> decode_packet(BytesView bytes) {
  Packet packet;
  if (bytes.size() < sizeof(PacketHeader)) {
    return dvs::fail(Errc::protocol_violation,
                     fmt::format("packet of {} bytes is shorter than its header", bytes.size()));
  }
  std::memcpy(&packet.header, bytes.data(), sizeof(PacketHeader));
  const PacketHeader& header = packet.header;
  if (header.version != packet_version) {
    return dvs::fail(Errc::version_mismatch, fmt::format("packet version {}, this is version {}",
                                                         header.version, packet_version));
  }
  if (!is_known(header.kind)) {
    return dvs::fail(Errc::protocol_violation,
                     fmt::format("packet kind {}", static_cast<unsigned>(header.kind)));
  }
  packet.payload = bytes.subspan(sizeof(PacketHeader));
  if (header.payload_bytes != packet.payload.size() || header.payload_bytes > max_message_bytes) {
    return dvs::fail(Errc::protocol_violation,
                     fmt::format("packet announces {} bytes of payload and carries {}",
                                 header.payload_bytes, packet.payload.size()));
  }
  return packet;
}

Bytes encode_packet(const PacketHeader& header, BytesView payload) {
  Bytes bytes(sizeof(PacketHeader) + payload.size());
  std::memcpy(bytes.data(), &header, sizeof(PacketHeader));
  if (!payload.empty()) {
    std::memcpy(bytes.data() + sizeof(PacketHeader), payload.data(), payload.size());
  }
  return bytes;
}

}  // namespace dvk::wire

// The packet's layout and everything its decoder must refuse.
#include "dvk/wire/packet.hpp"

#include <cstddef>
#include <set>

#include <gtest/gtest.h>

namespace dvk::wire {
namespace {

PacketHeader full_header(std::size_t payload_bytes) {
  PacketHeader header;
  header.kind = PacketKind::request;
  header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
  header.epoch = 3;
  header.set_source({dvs::ContainerId{7}, dvs::EndpointId{8}, dvs::Incarnation{9}});
  header.set_target({dvs::ContainerId{7}, dvs::EndpointId{10}, dvs::Incarnation{11}});
  header.sequence = 12;
  header.token = 13;
  header.acknowledged = 14;
  header.credit = 15;
  header.acknowledged_epoch = 16;
  return header;
}
Bytes packet_of(std::size_t payload_bytes) {
  return encode_packet(full_header(payload_bytes), Bytes(payload_bytes, std::byte{0x5a}));
}
Errc error_of(BytesView bytes) {
  const auto decoded = decode_packet(bytes);
  return decoded ? Errc{} : decoded.error().code;
}

// Other nodes and older libraries read these places.
TEST(Packet, LayoutIsFixed) {
  static_assert(offsetof(PacketHeader, kind) == 2);
  static_assert(offsetof(PacketHeader, payload_bytes) == 4);
  static_assert(offsetof(PacketHeader, container) == 8);
  static_assert(offsetof(PacketHeader, source_id) == 16);
  static_assert(offsetof(PacketHeader, sequence) == 48);
  static_assert(offsetof(PacketHeader, acknowledged_epoch) == 80);
  const Bytes bytes = packet_of(2);
  ASSERT_EQ(bytes.size(), 90U);
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_EQ(bytes[1], std::byte{0});
  EXPECT_EQ(bytes[2], std::byte{2});
  EXPECT_EQ(bytes[4], std::byte{2});
  EXPECT_EQ(bytes[8], std::byte{7});
  EXPECT_EQ(bytes[88], std::byte{0x5a});
}

TEST(Packet, ComesBackAsItWas) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{1000}, max_message_bytes}) {
    const Bytes bytes = packet_of(size);
    const auto decoded = decode_packet(bytes);
    ASSERT_TRUE(decoded.has_value()) << size;
    EXPECT_EQ(decoded->payload.size(), size);
    EXPECT_EQ(decoded->payload.data(), bytes.data() + sizeof(PacketHeader));  // no copy
    EXPECT_EQ(encode_packet(decoded->header, decoded->payload), bytes);
    EXPECT_EQ(decoded->header.source(),
              (Address{dvs::ContainerId{7}, dvs::EndpointId{8}, dvs::Incarnation{9}}));
    EXPECT_EQ(decoded->header.target(),
              (Address{dvs::ContainerId{7}, dvs::EndpointId{10}, dvs::Incarnation{11}}));
  }
}

TEST(Packet, EveryTruncationAndExtensionIsRefused) {
  Bytes bytes = packet_of(20);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(error_of(BytesView(bytes).first(size)), Errc::protocol_violation) << size;
  }
  bytes.push_back({});
  EXPECT_EQ(error_of(bytes), Errc::protocol_violation);
}

TEST(Packet, AFlippedLengthIsRefused) {
  const Bytes good = packet_of(20);
  for (unsigned bit = 0; bit < 32; ++bit) {
    Bytes bytes = good;
    bytes[4 + bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_EQ(error_of(bytes), Errc::protocol_violation) << bit;
  }
}

TEST(Packet, OversizeIsRefusedThoughTheLengthIsRight) {
  EXPECT_EQ(error_of(packet_of(max_message_bytes + 1)), Errc::protocol_violation);
}

TEST(Packet, AnotherVersionIsSaidToBeOne) {
  for (const std::uint16_t version : {0, 2, 0x101, 0xffff}) {
    PacketHeader header = full_header(0);
    header.version = version;
    EXPECT_EQ(error_of(encode_packet(header, {})), Errc::version_mismatch);
  }
}

TEST(Packet, OnlyKnownKindsPass) {
  const std::set<unsigned> known{1, 2, 3, 4, 5, 6, 16, 17};
  for (unsigned kind = 0; kind < 256; ++kind) {
    PacketHeader header = full_header(0);
    header.kind = static_cast<PacketKind>(kind);
    EXPECT_EQ(error_of(encode_packet(header, {})),
              known.contains(kind) ? Errc{} : Errc::protocol_violation)
        << kind;
  }
}

TEST(Packet, OnlyMessagesAndRequestsUseCredit) {
  EXPECT_TRUE(uses_credit(PacketKind::message));
  EXPECT_TRUE(uses_credit(PacketKind::request));
  for (const PacketKind kind :
       {PacketKind::reply, PacketKind::notify, PacketKind::cancel, PacketKind::ack,
        PacketKind::copy_request, PacketKind::copy_result}) {
    EXPECT_FALSE(uses_credit(kind));
  }
}

}  // namespace
}  // namespace dvk::wire

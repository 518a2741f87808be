// Processes with memory, and copies ordered between them.
#pragma once

#include "dvk/node/copier.hpp"
#include "dvk/node/test_cluster.hpp"

namespace dvk::node {

constexpr std::size_t large = 3 * Copier::piece_bytes + 7;
constexpr std::size_t larger =
    2 * Copier::messages_per_work * Copier::piece_bytes + 7;  // not done at once

class CopierTest : public ClusterTest {
 protected:
  Bytes& memory(const Process& process) { return node(process.node).memory[process.handle]; }
  // Gives a process `bytes` of memory that no other process has.
  void fill(const Process& process, std::size_t bytes, unsigned seed) {
    Bytes& own = memory(process);
    own.resize(bytes);
    for (std::size_t i = 0; i < bytes; ++i) own[i] = static_cast<std::byte>(i * 7 + i / 251 + seed);
  }
  void connect(const Process& from, const Process& to) {
    if (from.address == to.address) return;
    query(from, to.address);
    settle();
    node(from.node).told[from.handle].clear();
  }
  // Orders the whole source into the whole target.
  void order(const Process& orderer, const Process& source, const Process& target,
             std::uint64_t bytes, std::uint64_t token = 1) {
    order_as(orderer,
             {.source = source.address,
              .target = target.address,
              .source_grant = source.address == orderer.address ? 0U : 7U,
              .target_grant = target.address == orderer.address ? 0U : 8U,
              .bytes = bytes},
             token);
  }
  void order_as(const Process& orderer, const wire::CopyOrder& copy, std::uint64_t token = 1) {
    PacketHeader header;
    header.kind = wire::PacketKind::copy_request;
    header.token = token;
    const Bytes payload = wire::encode_fields(copy);
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    core(orderer.node).on_process_packet(orderer.handle, header, payload, now);
  }
  // How the copy with this token ended; nothing: not yet.
  std::optional<Errc> outcome(const Process& orderer, std::uint64_t token = 1) {
    const auto packet = next_packet(orderer);
    if (!packet) return std::nullopt;
    EXPECT_EQ(packet->header.kind, wire::PacketKind::copy_result);
    EXPECT_EQ(packet->header.token, token);
    EXPECT_EQ(packet->header.payload_bytes, packet->payload.size());
    const auto result = wire::decode_fields<wire::CopyOutcome>(packet->payload);
    EXPECT_TRUE(result.has_value());
    return result ? result->error : Errc::system;
  }
  void expect_outcome(const Process& orderer, Errc error, std::uint64_t token = 1) {
    const auto result = outcome(orderer, token);
    ASSERT_TRUE(result.has_value()) << "the copy has not ended";
    EXPECT_EQ(*result, error) << name_of(*result);
    EXPECT_FALSE(next_packet(orderer).has_value()) << "it ended twice";
  }
  // After a copy that failed everything is as before: a new one of the same parties goes well.
  void expect_still_works(const Process& orderer, const Process& source, const Process& target) {
    connect(orderer, source);
    connect(orderer, target);
    node(orderer.node).ring[orderer.handle].clear();
    order(orderer, source, target, memory(source).size(), 77);
    settle();
    expect_outcome(orderer, Errc{}, 77);
    EXPECT_EQ(memory(target), memory(source));
  }
};

}  // namespace dvk::node

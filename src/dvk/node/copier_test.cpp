// Copies: every combination of places, errors of each side, and whatever may end in the middle.
#include "dvk/node/copier.hpp"

#include <gtest/gtest.h>

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

constexpr std::size_t large = 3 * Copier::piece_bytes + 7;
constexpr std::size_t larger = 2 * Copier::pieces_per_work * Copier::piece_bytes + 7;  // not done at once

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
    order_as(orderer, {.source = source.address,
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

// --- Places --------------------------------------------------------------------------------------

// The orderer on node 1, source and target on any node; also as one of the sides.
TEST_F(CopierTest, EveryCombinationOfPlaces) {
  const Process orderer = open(1);
  for (unsigned source_at = 0; source_at <= node_count; ++source_at) {
    for (unsigned target_at = 0; target_at <= node_count; ++target_at) {
      SCOPED_TRACE(std::to_string(source_at) + " to " + std::to_string(target_at));
      const Process source = source_at == 0 ? orderer : open(source_at);
      const Process target = target_at == 0 ? orderer : open(target_at);
      connect(orderer, source);
      connect(orderer, target);
      for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, Copier::piece_bytes, large}) {
        SCOPED_TRACE(bytes);
        fill(target, bytes, 100);
        fill(source, bytes, 1);
        order(orderer, source, target, bytes);
        settle();
        expect_outcome(orderer, Errc{});
        EXPECT_EQ(memory(target), memory(source));
      }
    }
  }
}

TEST_F(CopierTest, AlsoWhereTheOrdererIsNotOnTheFirstNode) {
  const Process orderer = open(3), source = open(1), target = open(2);
  connect(orderer, source);
  connect(orderer, target);
  fill(source, large, 1);
  fill(target, large, 2);
  order(orderer, source, target, large);
  settle();
  expect_outcome(orderer, Errc{});
  EXPECT_EQ(memory(target), memory(source));
}

TEST_F(CopierTest, OffsetsAndTheRestStayAsTheyAre) {
  const Process source = open(1), target = open(2);
  connect(source, target);
  fill(source, 100, 1);
  fill(target, 100, 50);
  const Bytes before = memory(target);
  order_as(source, {.source = source.address,
                    .target = target.address,
                    .source_offset = 10,
                    .target_grant = 8,
                    .target_offset = 20,
                    .bytes = 30});
  settle();
  expect_outcome(source, Errc{});
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(memory(target)[i], i >= 20 && i < 50 ? memory(source)[i - 10] : before[i]) << i;
  }
}

TEST_F(CopierTest, ManyCopiesAtOnceDoNotMix) {
  const Process orderer = open(1);
  std::vector<std::pair<Process, Process>> pairs;
  for (unsigned i = 0; i < 9; ++i) {
    const Process source = open(1 + i % 3), target = open(1 + i / 3);
    connect(orderer, source);
    connect(orderer, target);
    fill(source, large, i);
    fill(target, large, 200);
    order(orderer, source, target, large, 100 + i);
    pairs.emplace_back(source, target);
  }
  settle();
  std::set<std::uint64_t> tokens;
  while (const auto packet = next_packet(orderer)) tokens.insert(packet->header.token);
  EXPECT_EQ(tokens.size(), 9U);
  for (const auto& [source, target] : pairs) EXPECT_EQ(memory(target), memory(source));
}

// --- Refused -------------------------------------------------------------------------------------

TEST_F(CopierTest, WithoutAnOpenConversationItIsNotReady) {
  const Process orderer = open(1), source = open(1), target = open(2);
  order(orderer, source, target, 1);
  expect_outcome(orderer, Errc::not_ready);
  connect(orderer, source);
  order(orderer, source, target, 1);
  expect_outcome(orderer, Errc::not_ready);
  connect(orderer, target);
  fill(source, 1, 1);
  fill(target, 1, 2);
  expect_still_works(orderer, source, target);
}

TEST_F(CopierTest, GrantZeroIsOnlyTheOrderersOwnMemory) {
  const Process orderer = open(1), source = open(1), target = open(2);
  connect(orderer, source);
  connect(orderer, target);
  const auto refused = [&](std::uint64_t source_grant, std::uint64_t target_grant, const Process& from,
                           const Process& to) {
    order_as(orderer, {.source = from.address,
                       .target = to.address,
                       .source_grant = source_grant,
                       .target_grant = target_grant,
                       .bytes = 1});
    expect_outcome(orderer, Errc::grant_denied);
  };
  refused(0, 8, source, target);
  refused(7, 0, source, target);
  refused(7, 8, orderer, target);
  refused(7, 8, source, orderer);
  EXPECT_TRUE(node(1).touched.empty());
  EXPECT_TRUE(node(2).touched.empty());
}

TEST_F(CopierTest, RubbishForAnOrderIsIgnored) {
  const Process orderer = open(1);
  PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  core(1).on_process_packet(orderer.handle, header, dvs::as_bytes("rubbish"), now);
  header.kind = wire::PacketKind::copy_result;
  core(1).on_process_packet(orderer.handle, header, dvs::as_bytes("rubbish"), now);
  settle();
  EXPECT_FALSE(next_packet(orderer).has_value());
}

TEST_F(CopierTest, MoreThanTheLimitAtOnceIsRefused) {
  const Process orderer = open(1), target = open(2), other = open(1);
  connect(orderer, target);
  connect(other, target);
  fill(orderer, 10, 1);
  fill(other, 10, 1);
  fill(target, 10, 2);
  node(1).full.insert(id(2));
  for (unsigned i = 0; i < Copier::copies_max; ++i) order(orderer, orderer, target, 10, i);
  EXPECT_FALSE(next_packet(orderer).has_value());
  order(orderer, orderer, target, 10, 5000);
  expect_outcome(orderer, Errc::queue_full, 5000);
  order(other, other, target, 10);  // everybody has a limit of his own
  EXPECT_FALSE(next_packet(other).has_value());
  node(1).full.clear();
  settle();
  unsigned ended = 0;
  while (const auto packet = next_packet(orderer)) ++ended;
  EXPECT_EQ(ended, Copier::copies_max);
  expect_outcome(other, Errc{});
  order(orderer, orderer, target, 10, 6000);
  settle();
  expect_outcome(orderer, Errc{}, 6000);
}

// --- Errors of the memories ----------------------------------------------------------------------

TEST_F(CopierTest, ErrorsOfEitherSideReachTheOrderer) {
  const Process orderer = open(1);
  for (unsigned source_at = 1; source_at <= node_count; ++source_at) {
    for (unsigned target_at = 1; target_at <= node_count; ++target_at) {
      const Process source = open(source_at), target = open(target_at);
      connect(orderer, source);
      connect(orderer, target);
      for (const Process& bad : {source, target}) {
        for (const Errc error : {Errc::grant_denied, Errc::grant_revoked, Errc::bad_address}) {
          SCOPED_TRACE(std::to_string(source_at) + " to " + std::to_string(target_at) + " " +
                       std::string(name_of(error)));
          fill(source, large, 1);
          fill(target, large, 2);
          node(bad.node).memory_errors[bad.handle] = error;
          order(orderer, source, target, large);
          settle();
          expect_outcome(orderer, error);
          node(bad.node).memory_errors.clear();
          settle();
          expect_still_works(orderer, source, target);
        }
      }
    }
  }
}

TEST_F(CopierTest, AGrantRevokedInTheMiddleEndsTheCopyThere) {
  const Process source = open(1), target = open(2);
  connect(source, target);
  fill(source, large, 1);
  fill(target, large, 2);
  order(source, source, target, large);
  core(1).work();
  deliver_one(1, 2, Lane::bulk);
  deliver_one(1, 2, Lane::bulk);
  node(2).memory_errors[target.handle] = Errc::grant_revoked;
  settle();
  expect_outcome(source, Errc::grant_revoked);
  EXPECT_EQ(node(2).touched.size(), 2U);  // one piece written, one refused, the rest not tried
}

TEST_F(CopierTest, ASourceTooShortEndsWhereItEnds) {
  const Process orderer = open(1), source = open(2), target = open(3);
  connect(orderer, source);
  connect(orderer, target);
  fill(source, Copier::piece_bytes + 5, 1);
  fill(target, large, 2);
  order(orderer, source, target, large);
  settle();
  expect_outcome(orderer, Errc::bad_address);
}

TEST_F(CopierTest, PiecesOutOfPlaceAreRefused) {
  const Process target = open(1), source = open(2);
  connect(target, source);
  fill(target, 100, 2);
  order(target, source, target, 100);
  const auto starts = node(1).under_way<wire::CopyStart>(id(2));
  ASSERT_EQ(starts.size(), 1U);
  node(1).lanes.clear();
  const auto data = [&](std::uint64_t position, std::size_t size, unsigned from) {
    wire::CopyDataHead head{.copy = starts[0].copy, .position = position, .orderer_node = 1};
    Bytes bytes(1 + sizeof head + size);
    bytes[0] = static_cast<std::byte>(wire::NodeMessageForm::copy_data);
    std::memcpy(bytes.data() + 1, &head, sizeof head);
    EXPECT_TRUE(core(1).on_node_message(id(from), bytes, now).has_value());
  };
  data(0, 10, 3);  // not the source's node
  EXPECT_FALSE(outcome(target).has_value());
  data(0, 10, 2);
  EXPECT_FALSE(outcome(target).has_value());
  data(20, 10, 2);
  expect_outcome(target, Errc::protocol_violation);
  order(target, source, target, 100);
  const auto again = node(1).under_way<wire::CopyStart>(id(2));
  ASSERT_EQ(again.size(), 1U);
  wire::CopyDataHead head{.copy = again[0].copy, .position = 0, .orderer_node = 1};
  Bytes too_long(1 + sizeof head + 101);
  too_long[0] = static_cast<std::byte>(wire::NodeMessageForm::copy_data);
  std::memcpy(too_long.data() + 1, &head, sizeof head);
  EXPECT_TRUE(core(1).on_node_message(id(2), too_long, now).has_value());
  expect_outcome(target, Errc::protocol_violation);
}

// --- Lanes ---------------------------------------------------------------------------------------

TEST_F(CopierTest, ALaneWithoutRoomHoldsItUpAndNobodyElse) {
  const Process source = open(1), to_two = open(2), to_three = open(3);
  connect(source, to_two);
  connect(source, to_three);
  fill(source, large, 1);
  fill(to_two, large, 2);
  fill(to_three, large, 2);
  node(1).full.insert(id(2));
  order(source, source, to_two, large, 1);
  order(source, source, to_three, large, 2);
  settle();
  expect_outcome(source, Errc{}, 2);
  EXPECT_FALSE(core(1).work());  // nothing can be done until there is room
  EXPECT_NE(memory(to_two), memory(source));
  node(1).full.clear();
  core(1).on_bulk_room(id(2), now);
  settle();
  expect_outcome(source, Errc{}, 1);
  EXPECT_EQ(memory(to_two), memory(source));
}

TEST_F(CopierTest, WorkIsBoundedAndTakesTurns) {
  const Process source = open(1), target = open(2);
  connect(source, target);
  const std::size_t bytes = 20 * Copier::piece_bytes;
  fill(source, bytes, 1);
  fill(target, bytes, 2);
  order(source, source, target, bytes, 1);
  order(source, source, target, bytes, 2);
  EXPECT_TRUE(core(1).work());
  EXPECT_EQ(node(1).touched.size(), Copier::pieces_per_work);
  std::map<std::uint64_t, unsigned> pieces;
  for (const Bytes& message : node(1).lanes[{id(2), Lane::bulk}]) {
    if (message[0] != static_cast<std::byte>(wire::NodeMessageForm::copy_data)) continue;
    wire::CopyDataHead head;
    std::memcpy(&head, message.data() + 1, sizeof head);
    ++pieces[head.copy];
  }
  ASSERT_EQ(pieces.size(), 2U);
  for (const auto& [copy, count] : pieces) EXPECT_EQ(count, Copier::pieces_per_work / 2);
}

TEST_F(CopierTest, WithoutCopiesThereIsNoWork) { EXPECT_FALSE(core(1).work()); }

// --- Ends ----------------------------------------------------------------------------------------

class CopierEndTest : public CopierTest {
 protected:
  // Orderer on node 1, source on 2, target on 3, and one piece is written.
  CopierEndTest() : orderer(open(1)), source(open(2)), target(open(3)) {
    connect(orderer, source);
    connect(orderer, target);
    fill(source, larger, 1);
    fill(target, larger, 2);
    order(orderer, source, target, larger);
  }
  void one_piece() {
    deliver(1, 2);
    core(2).work();
    deliver_one(2, 3, Lane::bulk);
    deliver_one(2, 3, Lane::bulk);
    EXPECT_EQ(node(3).touched.size(), 1U);
  }
  // Neither side goes on with a copy that has ended.
  void expect_stopped() {
    node(2).touched.clear();
    node(3).touched.clear();
    settle();
    EXPECT_TRUE(node(2).touched.empty());
    EXPECT_TRUE(node(3).touched.empty());
    EXPECT_FALSE(core(2).work());
  }
  Process orderer, source, target;
};

TEST_F(CopierEndTest, TheSourceDies) {
  one_piece();
  close(source);
  settle();
  expect_outcome(orderer, Errc::peer_died);
  expect_stopped();
}

TEST_F(CopierEndTest, TheTargetDies) {
  one_piece();
  close(target);
  settle();
  expect_outcome(orderer, Errc::peer_died);
  expect_stopped();
}

TEST_F(CopierEndTest, TheSourceDiesBeforeTheOrderArrives) {
  close(source);
  settle();
  expect_outcome(orderer, Errc::peer_died);
}

TEST_F(CopierEndTest, TheTargetDiesBeforeTheBytesArrive) {
  close(target);
  settle();
  expect_outcome(orderer, Errc::peer_died);
  expect_stopped();
}

// The node cannot tell by who asks: source and target are both meant to be there, and the source is not.
TEST_F(CopierTest, ASourceThatDiesBesideItsTargetEndsTheCopy) {
  const Process orderer = open(1), source = open(2), target = open(2);
  connect(orderer, source);
  connect(orderer, target);
  fill(target, 10, 2);
  order(orderer, source, target, 10);
  close(source);
  settle();
  expect_outcome(orderer, Errc::peer_died);
}

TEST_F(CopierTest, ATargetThatDiesBesideItsSourceEndsTheCopy) {
  for (const unsigned at : {1U, 2U}) {
    const Process orderer = open(1), source = open(at), target = open(at);
    connect(orderer, source);
    connect(orderer, target);
    fill(source, 10, 2);
    order(orderer, source, target, 10);
    close(target);
    settle();
    expect_outcome(orderer, Errc::peer_died);
  }
}

TEST_F(CopierEndTest, TheOrdererDies) {
  one_piece();
  close(orderer);
  deliver(1, 2);
  deliver(1, 3);
  expect_stopped();
}

TEST_F(CopierEndTest, TheOrdererDiesAtOnce) {
  close(orderer);
  settle();
  expect_stopped();
}

// The order to stop goes another lane and may be first: what comes behind it must not begin anew.
TEST_F(CopierEndTest, AStopThatOvertakesTheBeginningStillStops) {
  deliver(1, 2);
  core(2).work();
  close(orderer);
  deliver(1, 2);
  deliver(1, 3);          // the target's node hears of the end first
  deliver(2, 3, Lane::bulk);
  EXPECT_TRUE(node(3).touched.empty());
  close(target);  // nobody hears of a copy that has ended
  EXPECT_TRUE(node(3).under_way<wire::CopyEnd>(id(1)).empty());
}

TEST_F(CopierEndTest, LinksThatBreak) {
  const std::pair<unsigned, unsigned> links[] = {{1, 2}, {1, 3}, {2, 3}};
  for (const auto& [a, b] : links) {
    for (const bool is_renewed : {false, true}) {
      SCOPED_TRACE(std::to_string(a) + std::to_string(b) + (is_renewed ? " renewed" : " given up"));
      settle();
      connect(orderer, source);
      connect(orderer, target);
      node(1).ring[orderer.handle].clear();
      node(3).touched.clear();
      order(orderer, source, target, larger);
      one_piece();
      if (is_renewed) {
        renew_session(a, b);
      } else {
        cut(a, b);
      }
      settle();
      expect_outcome(orderer, Errc::unreachable);
      expect_stopped();
      if (!is_renewed) heal(a, b);
      settle();
      expect_still_works(orderer, source, target);
    }
  }
}

TEST_F(CopierEndTest, LinksThatBreakAtOnce) {
  const std::pair<unsigned, unsigned> links[] = {{1, 2}, {1, 3}, {2, 3}};
  for (const auto& [a, b] : links) {
    settle();
    connect(orderer, source);
    connect(orderer, target);
    node(1).ring[orderer.handle].clear();
    order(orderer, source, target, larger);
    cut(a, b);
    settle();
    expect_outcome(orderer, Errc::unreachable);
    expect_stopped();
    heal(a, b);
    settle();
    expect_still_works(orderer, source, target);
  }
}

TEST_F(CopierEndTest, ALostNodeIsADeadSide) {
  one_piece();
  core(1).on_node_lost(id(2), now);
  settle();
  expect_outcome(orderer, Errc::peer_died);
}

TEST_F(CopierEndTest, ALostOrderersNodeStopsTheOthers) {
  one_piece();
  restart(1);
  expect_stopped();
  // The new daemon counts its copies from the beginning, and is not taken for the old one.
  const Process again = open(1);
  expect_still_works(again, source, target);
}

TEST_F(CopierEndTest, AStopRememberedDoesNotStopTheNextDaemonsCopies) {
  deliver(1, 2);
  core(2).work();
  close(orderer);
  deliver(1, 3);
  node(2).lanes.clear();
  restart(1);
  settle();
  const Process again = open(1);
  expect_still_works(again, source, target);
}

TEST_F(CopierEndTest, AStrangerCannotEndIt) {
  one_piece();
  const auto copy = std::uint64_t{1};
  EXPECT_TRUE(inject(3, 2, wire::CopyEnd{copy, id(1), Errc::grant_denied}).has_value());
  EXPECT_TRUE(inject(2, 3, wire::CopyEnd{copy, id(1), Errc::grant_denied}).has_value());
  settle();
  expect_outcome(orderer, Errc{});
  EXPECT_EQ(memory(target), memory(source));
}

// What a copy wrote to the memory of the old process would be lost, and nobody would know.
TEST_F(CopierEndTest, ASideThatMovesAwayEndsTheCopy) {
  for (const bool is_source : {true, false}) {
    SCOPED_TRACE(is_source ? "source" : "target");
    node(1).ring[orderer.handle].clear();
    node(3).touched.clear();
    const Process from = open(2), to = open(3);
    connect(orderer, from);
    connect(orderer, to);
    fill(from, larger, 1);
    fill(to, larger, 2);
    settle();
    while (next_packet(orderer)) {
    }
    node(3).touched.clear();
    order(orderer, from, to, larger, 9);
    one_piece();
    const Process& mover = is_source ? from : to;
    const unsigned away = is_source ? 3 : 2;
    const Process adopter = adopt(away, "", mover.address);
    tell(mover, wire::MoveOut{.target = id(away), .state_bytes = 1}, Bytes(1));
    deliver(mover.node, away);
    tell(adopter, wire::AdoptReady{});
    deliver(away, mover.node);
    settle();
    expect_outcome(orderer, Errc::unreachable, 9);
  }
}

}  // namespace
}  // namespace dvk::node

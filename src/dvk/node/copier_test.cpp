// Copies: every combination of places, what is refused, errors of each side, lanes without room.
#include "dvk/node/test_copier.hpp"

namespace dvk::node {
namespace {

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
  const auto refused = [&](std::uint64_t source_grant, std::uint64_t target_grant,
                           const Process& from, const Process& to) {
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
    const wire::CopyDataHead head{.copy = starts[0].copy,
                                  .position = position,
                                  .bytes = static_cast<std::uint32_t>(size),
                                  .orderer_node = 1};
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
  const wire::CopyDataHead head{.copy = again[0].copy, .bytes = 101, .orderer_node = 1};
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
  EXPECT_EQ(node(1).touched.size(), Copier::messages_per_work);
  std::map<std::uint64_t, unsigned> pieces;
  for (const Bytes& message : node(1).lanes[{id(2), Lane::bulk}]) {
    if (message[0] != static_cast<std::byte>(wire::NodeMessageForm::copy_data)) continue;
    wire::CopyDataHead head;
    std::memcpy(&head, message.data() + 1, sizeof head);
    ++pieces[head.copy];
  }
  ASSERT_EQ(pieces.size(), 2U);
  for (const auto& [copy, count] : pieces) EXPECT_EQ(count, Copier::messages_per_work / 2);
}

TEST_F(CopierTest, WithoutCopiesThereIsNoWork) {
  EXPECT_FALSE(core(1).work());
}

// --- Several in one message ----------------------------------------------------------------------

class CopierBatchTest : public CopierTest {
 protected:
  CopierBatchTest() : source(open(1)), target(open(2)), other(open(2)) {
    connect(source, target);
    connect(source, other);
    fill(source, 100, 1);
    fill(target, 100, 2);
    fill(other, 100, 3);
  }
  std::size_t messages_of_data() {
    return static_cast<std::size_t>(
        std::ranges::count_if(node(1).lanes[{id(2), Lane::bulk}], [](const Bytes& message) {
          return message[0] == static_cast<std::byte>(wire::NodeMessageForm::copy_data);
        }));
  }
  // By token, as they ended.
  std::map<std::uint64_t, Errc> outcomes() {
    std::map<std::uint64_t, Errc> found;
    while (const auto packet = next_packet(source)) {
      found[packet->header.token] = wire::decode_fields<wire::CopyOutcome>(packet->payload)->error;
    }
    return found;
  }
  const Process source, target, other;
};

TEST_F(CopierBatchTest, SmallCopiesToOneNodeShareAMessage) {
  for (std::uint64_t token = 1; token <= 3; ++token) order(source, source, target, 100, token);
  core(1).work();
  EXPECT_EQ(messages_of_data(), 1U);
  settle();
  EXPECT_EQ(outcomes().size(), 3U);
  EXPECT_EQ(memory(target), memory(source));
}

TEST_F(CopierBatchTest, AMessageHoldsABoundedNumberOfPieces) {
  for (std::uint64_t token = 0; token <= Copier::pieces_per_message; ++token) {
    order(source, source, target, 1, token);
  }
  core(1).work();
  EXPECT_EQ(messages_of_data(), 2U);
  settle();
  EXPECT_EQ(outcomes().size(), Copier::pieces_per_message + 1);
}

TEST_F(CopierBatchTest, OneThatCannotBeWrittenHarmsNoneOfTheOthers) {
  node(2).memory_errors[other.handle] = Errc::grant_revoked;
  order(source, source, target, 100, 1);
  order(source, source, other, 100, 2);
  order(source, source, target, 100, 3);
  settle();
  EXPECT_EQ(outcomes(),
            (std::map<std::uint64_t, Errc>{{1, Errc{}}, {2, Errc::grant_revoked}, {3, Errc{}}}));
  EXPECT_EQ(memory(target), memory(source));
}

TEST_F(CopierBatchTest, OneThatCannotBeReadHarmsNoneOfTheOthers) {
  order(source, source, target, 100, 1);
  order(source, source, target, 101, 2);
  order(source, source, target, 100, 3);
  settle();
  EXPECT_EQ(outcomes(),
            (std::map<std::uint64_t, Errc>{{1, Errc{}}, {2, Errc::bad_address}, {3, Errc{}}}));
  EXPECT_EQ(memory(target), memory(source));
}

}  // namespace
}  // namespace dvk::node

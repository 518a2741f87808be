// Backups: who is promoted when, and what it becomes.
#include <gtest/gtest.h>

#include "dvk/node/directory.hpp"
#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

class BackupTest : public ClusterTest {
 protected:
  // The promotion must be the next thing the process hears.
  Address promoted(const Process& process) {
    const auto message = next<wire::Promoted>(process);
    return message ? message->address : Address{};
  }
};

TEST_F(BackupTest, TakesOverTheNameAndIdWithALifeOfItsOwn) {
  const Process primary = open(2, "name");
  const Process backup = open_backup(3, "name");
  EXPECT_TRUE(hears_nothing(backup));
  EXPECT_EQ(look_up(open(1), "name").second, primary.address);
  close(primary);
  settle();
  const Address address = promoted(backup);
  EXPECT_EQ(address.id, primary.address.id);
  EXPECT_NE(address.incarnation, primary.address.incarnation);
  EXPECT_NE(address.incarnation, backup.address.incarnation);
  EXPECT_EQ(look_up(open(1), "name"), (Found{Errc{}, address}));
  EXPECT_TRUE(hears_nothing(backup));
}

TEST_F(BackupTest, PromotesAtOnceWhereThereIsNoPrimary) {
  const Process backup = open_backup(2, "name");
  const Address address = promoted(backup);
  EXPECT_EQ(address.id, backup.address.id);
  EXPECT_EQ(look_up(open(1), "name").second, address);
}

TEST_F(BackupTest, TheyFollowInTheOrderTheyCame) {
  const Process primary = open(1, "name");
  const Process first = open_backup(3, "name"), second = open_backup(2, "name");
  close(primary);
  settle();
  Process next_primary = first;
  next_primary.address = promoted(first);
  EXPECT_TRUE(hears_nothing(second));
  close(next_primary);
  settle();
  const Address last = promoted(second);
  EXPECT_EQ(last.id, primary.address.id);
  EXPECT_EQ(look_up(open(1), "name").second, last);
}

TEST_F(BackupTest, ADeadBackupIsPassedOver) {
  const Process primary = open(1, "name");
  const Process first = open_backup(2, "name"), second = open_backup(3, "name");
  close(first);
  settle();
  close(primary);
  settle();
  EXPECT_NE(promoted(second), Address{});
}

// The order to promote is on its way to a backup that has just died.
TEST_F(BackupTest, ABackupThatDiesBeforeItHearsIsPassedOver) {
  const Process primary = open(1, "name");
  const Process first = open_backup(2, "name"), second = open_backup(3, "name");
  close(primary);
  EXPECT_EQ(node(1).under_way<wire::Promote>(id(2)).size(), 1U);
  close(first);
  settle();
  EXPECT_NE(promoted(second), Address{});
}

TEST_F(BackupTest, ABackupThatDiesWhileItIsPromotedIsPassedOver) {
  const Process primary = open(1, "name");
  const Process first = open_backup(2, "name"), second = open_backup(3, "name");
  close(primary);
  deliver(1, 2);
  close(first);
  settle();
  const Address address = promoted(second);
  EXPECT_EQ(address.id, primary.address.id);
  EXPECT_EQ(look_up(open(1), "name").second, address);
}

TEST_F(BackupTest, OnlyOneIsPromoted) {
  const Process primary = open(1, "name");
  const Process first = open_backup(2, "name"), second = open_backup(3, "name");
  close(primary);
  // A registration that comes meanwhile promotes no second one.
  const Process third = open_backup(3, "name");
  settle();
  promoted(first);
  EXPECT_TRUE(hears_nothing(second));
  EXPECT_TRUE(hears_nothing(third));
}

TEST_F(BackupTest, ALostNodeTakesPrimaryAndBackupWithIt) {
  const Process primary = open(2, "name");
  open_backup(2, "name");
  const Process survivor = open_backup(3, "name");
  lose(2);
  settle();
  EXPECT_EQ(promoted(survivor).id, primary.address.id);
}

TEST_F(BackupTest, ARestartedNodeTakesPrimaryAndBackupWithIt) {
  const Process primary = open(2, "name");
  open_backup(2, "name");
  const Process survivor = open_backup(3, "name");
  restart(2);
  settle();
  EXPECT_EQ(promoted(survivor).id, primary.address.id);
}

TEST_F(BackupTest, ABrokenLinkPromotesNobody) {
  open(2, "name");
  const Process backup = open_backup(3, "name");
  cut(1, 2);
  settle();
  EXPECT_TRUE(hears_nothing(backup));
  heal(1, 2);
  settle();
  EXPECT_TRUE(hears_nothing(backup));
}

TEST_F(BackupTest, ARepeatedReportPromotesNobody) {
  open(2, "name");
  const Process backup = open_backup(3, "name");
  renew_session(1, 2);
  settle();
  renew_session(1, 3);
  settle();
  EXPECT_TRUE(hears_nothing(backup));
  EXPECT_EQ(look_up(open(1), "name").first, Errc{});
}

TEST_F(BackupTest, TheNextAuthorityPromotesForAPrimaryThatWentWithTheLast) {
  open(1, "name");
  const Process backup = open_backup(3, "name");
  lose(1);
  settle();
  const Address address = promoted(backup);
  EXPECT_NE(address, Address{});
  EXPECT_EQ(look_up(open(2), "name").second, address);
}

TEST_F(BackupTest, TheNextAuthorityWaitsForAllBeforeItPromotes) {
  open(3, "name");
  const Process backup = open_backup(2, "name");
  lose(1);
  pass(Directory::retry_after);
  EXPECT_TRUE(hears_nothing(backup));
  EXPECT_EQ(look_up(open(2), "name").first, Errc{});
}

TEST_F(BackupTest, APromotionWhoseOrderWasLostIsOrderedAgain) {
  const Process primary = open(1, "name");
  const Process backup = open_backup(2, "name");
  close(primary);
  renew_session(1, 2);  // loses the order
  settle();
  EXPECT_NE(promoted(backup), Address{});
}

TEST_F(BackupTest, APromotionWhoseRegistrationWasLostIsFinished) {
  const Process primary = open(1, "name");
  const Process backup = open_backup(2, "name");
  close(primary);
  deliver(1, 2);
  EXPECT_EQ(node(2).under_way<wire::Register>(id(1)).size(), 1U);
  renew_session(1, 2);
  pass(std::chrono::seconds(2));
  const Address address = promoted(backup);
  EXPECT_EQ(address.id, primary.address.id);
  EXPECT_EQ(look_up(open(3), "name").second, address);
}

// A rebuilding directory may need longer than a process that opens would wait; a backup has no
// choice.
TEST_F(BackupTest, APromotionIsNotGivenUp) {
  const Process primary = open(1, "name");
  const Process backup = open_backup(2, "name");
  close(primary);
  deliver(1, 2);
  drop(1, 2);
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::milliseconds(100);
    core(2).on_tick(now);
    drop(1, 2);
  }
  EXPECT_TRUE(hears_nothing(backup));
  pass(std::chrono::seconds(2));
  EXPECT_EQ(promoted(backup).id, primary.address.id);
}

TEST_F(BackupTest, ThosePeersHearThatTheOldLivesEnded) {
  const Process primary = open(2, "name");
  const Process backup = open_backup(3, "name");
  const Process near = open(3), far = open(1);
  query(near, backup.address);
  query(far, backup.address);
  settle();
  expect_relay(far, backup.address, 3);
  close(primary);
  settle();
  expect_gone(near, backup.address, Errc::peer_died);
  expect_gone(far, backup.address, Errc::peer_died);
}

TEST_F(BackupTest, ThePromotedOneIsReachedUnderItsNewAddress) {
  const Process primary = open(2, "name");
  Process backup = open_backup(3, "name");
  const Process far = open(1), near = open(3);
  close(primary);
  settle();
  backup.address = promoted(backup);
  query(far, backup.address);
  settle();
  expect_relay(far, backup.address, 3);
  EXPECT_TRUE(both_ways(far, backup));
  query(near, backup.address);
  EXPECT_EQ(node(3).introductions.size(), 1U);
}

// It does not know yet, and whatever it asks is answered: it would wait for ever.
TEST_F(BackupTest, WhatItAsksWhileItIsPromotedIsAnswered) {
  const Process primary = open(1, "name");
  const Process backup = open_backup(2, "name");
  close(primary);
  deliver(1, 2);  // the promotion; its registration stays under way
  tell(backup, wire::NameQuery{.request = 5, .name = "other"});
  tell(backup, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  EXPECT_EQ(next<wire::MoveResult>(backup)->error, Errc::not_ready);
  PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  header.token = 7;
  const Bytes order = wire::encode_fields(wire::CopyOrder{});
  header.payload_bytes = static_cast<std::uint32_t>(order.size());
  core(2).on_process_packet(backup.handle, header, order, now);
  const auto result = next_packet(backup);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->header.kind, wire::PacketKind::copy_result);
  EXPECT_EQ(result->header.token, 7U);
  settle();
  EXPECT_EQ(promoted(backup).id, primary.address.id);
  EXPECT_EQ(next<wire::NameResult>(backup)->error, Errc::unknown_endpoint);
}

// Its new address may be known to others before it has heard that the directory agreed.
TEST_F(BackupTest, WhoAsksWhileItIsPromotedIsAnsweredAfterwards) {
  const Process primary = open(1, "name");
  const Process backup = open_backup(2, "name");
  const Process far = open(3);
  close(primary);
  deliver(1, 2);
  deliver(2, 1);  // registers; the answer stays under way
  tell(far, wire::NameQuery{.request = 5, .name = "name"});
  deliver(3, 1);
  deliver(1, 3);
  const Address address = next<wire::NameResult>(far)->address;
  EXPECT_EQ(address.id, primary.address.id);
  query(far, address);
  deliver(3, 2);
  deliver(2, 3);
  expect_waiting(far, address);
  settle();
  EXPECT_EQ(promoted(backup), address);
  expect_relay(far, address, 2);
}

// The answer to its registration did not count any more, but the order to promote it does.
TEST_F(BackupTest, OneThatIsPromotedBeforeItKnowsOfItsRegistrationIsWelcomedFirst) {
  const Process primary = open(1, "name");
  const Process backup = attach(2, {.kind = wire::HelloKind::backup, .name = "name"});
  deliver(2, 1);
  close(primary);  // answer and order are on their way
  node(2).lanes[{id(1), Lane::message}].clear();
  core(2).on_link_up(id(1), false, now);
  node(2).lanes[{id(1), Lane::message}].clear();
  deliver(1, 2);
  EXPECT_TRUE(welcome(backup));
  pass(std::chrono::seconds(2));
  const auto promoted = next<wire::Promoted>(backup);
  ASSERT_TRUE(promoted.has_value());
  EXPECT_EQ(look_up(open(3), "name"), (Found{Errc{}, promoted->address}));
}

// The directory is lost between the primary's death and its report of the first promotion. One of
// the two holds the name afterwards, the other hears why it has ended, and can be opened again.
TEST_F(BackupTest, OfTwoThatArePromotedOneHoldsTheNameAndTheOtherIsRefused) {
  const Process primary = open(1, "name");
  const Process first = open_backup(2, "name"), second = open_backup(3, "name");
  close(primary);
  deliver(1, 2);  // the first is promoted, and the authority is lost before it hears of it
  lose(1);
  pass(std::chrono::seconds(2));
  std::vector<Address> promoted;
  std::vector<Errc> refused;
  for (const Process& process : {first, second}) {
    for (const auto& message : node(process.node).told[process.handle]) {
      if (const auto* won = std::get_if<wire::Promoted>(&message)) promoted.push_back(won->address);
      if (const auto* lost = std::get_if<wire::Refused>(&message)) refused.push_back(lost->error);
    }
  }
  ASSERT_EQ(promoted.size(), 1U);
  EXPECT_EQ(refused, std::vector{Errc::name_in_use});
  EXPECT_EQ(look_up(open(3), "name"), (Found{Errc{}, promoted.front()}));
  EXPECT_NE(open_backup(2, "name").address, promoted.front());
}

}  // namespace
}  // namespace dvk::node

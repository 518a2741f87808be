// One engine alone: commits, answers, bounds, stopping, restarting, and directories it must not
// use.
#include "cluster/engine/engine.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include <gtest/gtest.h>

#include "cluster/engine/engine_test_group.hpp"

namespace dvs::cluster {
namespace {

using test::eventually;

std::string text_of(const Result<Committed>& result) {
  return result ? std::string(as_text(result->answer)) : to_string(result.error());
}

class EngineAlone : public testing::Test {
 protected:
  test::TestMember& member() { return member_; }
  std::filesystem::path path() const { return directory_.path() / "group"; }
  Errc error_of_start() {
    const auto started = member_.start(true);
    if (started) return Errc{};
    EXPECT_NE(started.error().detail.find(path().string()), std::string::npos)
        << to_string(started.error());
    return started.error().code;
  }
  // Has committed "one" and "two", and is stopped.
  void fill() {
    ASSERT_TRUE(member_.start(true));
    ASSERT_TRUE(member_.propose("one"));
    ASSERT_TRUE(member_.propose("two"));
    member_.stop();
  }

 private:
  test::TemporaryDirectory directory_;
  test::Switchboard switchboard_;
  test::TestMember member_{NodeId{1}, switchboard_, path()};
};

TEST_F(EngineAlone, CommitsAndAnswers) {
  ASSERT_TRUE(member().start(true));
  const auto first = member().propose("alpha");
  EXPECT_EQ(text_of(first), "1:alpha");
  const auto second = member().propose("");
  EXPECT_EQ(text_of(second), "2:");
  EXPECT_GT(second->index, first->index);
  const auto barrier = member().barrier();
  ASSERT_TRUE(barrier);
  EXPECT_GT(*barrier, second->index);
  EXPECT_TRUE(member().ledger().is_in_order());
  EXPECT_TRUE(eventually([&] { return member().engine().status().applied >= *barrier; }));
  const EngineStatus status = member().engine().status();
  EXPECT_EQ(status.position, Position::leader);
  EXPECT_EQ(status.leader, NodeId{1});
  EXPECT_GE(status.term, 1U);
  EXPECT_EQ(status.members, (std::vector<Member>{{NodeId{1}, Role::voter}}));
  EXPECT_FALSE(status.is_changing);
  EXPECT_EQ(member().positions().back(), Position::leader);
}

TEST_F(EngineAlone, EntriesOfAnyLengthComeBackUnchangedAfterARestart) {
  std::vector<std::string> entries;
  for (std::size_t length = 0; length < 40; ++length) entries.emplace_back(length, 'x');
  entries.emplace_back(std::size_t{1} << 20, 'y');
  ASSERT_TRUE(member().start(true));
  for (const std::string& entry : entries) ASSERT_TRUE(member().propose(entry));
  member().stop();
  ASSERT_TRUE(member().start(true));
  EXPECT_TRUE(eventually([&] { return member().ledger().entries() == entries; }));
}

TEST_F(EngineAlone, ASnapshotIsTakenAndRestored) {
  auto config = member().config(true);
  config.snapshot_entries = 20;
  config.snapshot_trailing = 5;
  ASSERT_TRUE(member().start(config));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(member().propose(std::to_string(i)));
  EXPECT_GE(member().ledger().snapshots(), 1U);
  const auto entries = member().ledger().entries();
  member().stop();
  ASSERT_TRUE(member().start(config));
  EXPECT_EQ(member().ledger().restores(), 1U);
  EXPECT_TRUE(eventually([&] { return member().ledger().entries() == entries; }));
  EXPECT_TRUE(member().ledger().is_in_order());
}

TEST_F(EngineAlone, BytesAreAReasonForASnapshotToo) {
  auto config = member().config(true);
  config.snapshot_bytes = 100'000;
  ASSERT_TRUE(member().start(config));
  const std::string entry(10'000, 'z');
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(member().propose(entry));
  EXPECT_EQ(member().ledger().snapshots(), 0U);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(member().propose(entry));
  EXPECT_EQ(member().ledger().snapshots(), 1U);
}

TEST_F(EngineAlone, BoundsAreKept) {
  auto config = member().config(true);
  config.proposal_bytes_max = 100;
  config.outstanding_max = 3;
  ASSERT_TRUE(member().start(config));
  EXPECT_EQ(member().propose(std::string(101, 'x')).error().code, Errc::message_too_large);
  // Completions are inline on the engine's thread: it cannot go on while the first one waits.
  std::promise<void> blocked;
  std::promise<void> go_on;
  std::atomic<int> full = 0;
  std::atomic<int> completed = 0;
  member().engine().propose({}, [&](const Result<Committed>&) {
    blocked.set_value();
    go_on.get_future().wait();
  });
  blocked.get_future().wait();
  for (int i = 0; i < 5; ++i) {
    member().engine().propose({}, [&](const Result<Committed>& result) {
      if (!result && result.error() == Errc::queue_full) ++full;
      ++completed;
    });
  }
  EXPECT_EQ(full, 2);
  go_on.set_value();
  EXPECT_TRUE(eventually([&] { return completed == 5; }));
  EXPECT_EQ(full, 2);
}

TEST_F(EngineAlone, StoppingCompletesEverythingExactlyOnce) {
  ASSERT_TRUE(member().start(true));
  std::vector<std::atomic<int>> calls(600);
  std::atomic<int> committed = 0;
  for (auto& count : calls) {
    member().engine().propose(to_bytes(as_bytes("entry")), [&](const Result<Committed>& result) {
      ++count;
      if (result) ++committed;
      if (!result) {
        EXPECT_TRUE(result.error() == Errc::detached || result.error() == Errc::unreachable)
            << to_string(result.error());
      }
    });
  }
  member().engine().stop();
  for (auto& count : calls) EXPECT_EQ(count, 1);
  EXPECT_EQ(member().propose("late").error().code, Errc::detached);
  EXPECT_EQ(member().add(NodeId{2}, Role::voter).error().code, Errc::detached);
  member().engine().stop();
  member().stop();
  ASSERT_TRUE(member().start(true));
  EXPECT_TRUE(
      eventually([&] { return member().ledger().count() >= static_cast<std::size_t>(committed); }));
}

TEST_F(EngineAlone, WaitsToBeAddedUnlessItIsTheFirst) {
  ASSERT_TRUE(member().start(false));
  EXPECT_EQ(member().propose("x").error().code, Errc::not_ready);
  EXPECT_EQ(member().engine().status().position, Position::follower);
  EXPECT_TRUE(member().engine().status().members.empty());
  member().stop();
  // The directory is not new any more, so this does not begin a group of its own either.
  ASSERT_TRUE(member().start(true));
  EXPECT_EQ(member().propose("x").error().code, Errc::not_ready);
}

TEST_F(EngineAlone, ChangesThatChangeNothingSucceedAndImpossibleOnesAreRefused) {
  ASSERT_TRUE(member().start(true));
  EXPECT_TRUE(member().assign(NodeId{1}, Role::voter));
  EXPECT_TRUE(member().remove(NodeId{9}));
  EXPECT_EQ(member().assign(NodeId{9}, Role::voter).error().code, Errc::invalid_argument);
  EXPECT_EQ(member().remove(NodeId{1}).error().code, Errc::invalid_argument);
  EXPECT_EQ(member().assign(NodeId{1}, Role::spare).error().code, Errc::invalid_argument);
  EXPECT_EQ(member().transfer(NodeId{9}).error().code, Errc::invalid_argument);
  EXPECT_EQ(member().transfer(no_node).error().code, Errc::invalid_argument);
  EXPECT_TRUE(member().add(NodeId{9}, Role::spare));
  EXPECT_TRUE(member().add(NodeId{9}, Role::spare));
  EXPECT_TRUE(member().propose("still alive"));
  EXPECT_TRUE(member().remove(NodeId{9}));
}

TEST_F(EngineAlone, BadSettingsAreRefused) {
  auto config = member().config(true);
  config.heartbeat = config.election_timeout;
  EXPECT_EQ(member().start(config).error().code, Errc::invalid_argument);
  config = member().config(true);
  config.node = no_node;
  EXPECT_EQ(member().start(config).error().code, Errc::invalid_argument);
}

TEST_F(EngineAlone, ADirectoryInUseIsRefused) {
  ASSERT_TRUE(member().start(true));
  test::Switchboard nowhere;
  test::TestMember second(NodeId{1}, nowhere, path());
  EXPECT_EQ(second.start(true).error().code, Errc::name_in_use);
  EXPECT_TRUE(member().propose("undisturbed"));
  member().stop();
  EXPECT_TRUE(second.start(true));
}

TEST_F(EngineAlone, AnotherNodesDirectoryIsRefused) {
  fill();
  test::Switchboard nowhere;
  test::TestMember second(NodeId{2}, nowhere, path());
  EXPECT_EQ(second.start(true).error().code, Errc::invalid_argument);
}

TEST_F(EngineAlone, ADirectoryThatCannotBeMadeOrIsAFileIsRefused) {
  std::ofstream(path()) << "a file";
  EXPECT_EQ(error_of_start(), Errc::system);
}

TEST_F(EngineAlone, ADirectoryThatCannotBeWrittenIsRefused) {
  std::filesystem::create_directory(path());
  ::chmod(path().c_str(), S_IRUSR | S_IXUSR);
  // root may write everywhere: be nobody for a moment.
  const uid_t self = ::geteuid();
  if (self == 0) {
    ASSERT_EQ(::chmod(path().parent_path().c_str(), S_IRWXU | S_IXOTH), 0);
    ASSERT_EQ(::seteuid(65534), 0);
  }
  EXPECT_EQ(error_of_start(), Errc::system);
  ASSERT_EQ(::seteuid(self), 0);
  ::chmod(path().c_str(), S_IRWXU);
}

TEST_F(EngineAlone, ADirectoryOfANewerReleaseIsRefused) {
  fill();
  std::ofstream(path() / "identity") << "dvs-engine 2 node 1\n";
  EXPECT_EQ(error_of_start(), Errc::version_mismatch);
}

TEST_F(EngineAlone, ADirectoryOfSomethingElseIsRefused) {
  std::filesystem::create_directory(path());
  std::ofstream(path() / "precious") << "data";
  EXPECT_EQ(error_of_start(), Errc::protocol_violation);
  EXPECT_TRUE(std::filesystem::exists(path() / "precious"));
}

TEST_F(EngineAlone, AnInterruptedFirstStartIsBegunAgain) {
  fill();
  // As if the process had been killed after libraft had begun and before the start had succeeded.
  std::filesystem::remove(path() / "identity");
  std::ofstream(path() / "beginning") << "";
  ASSERT_TRUE(member().start(true));
  EXPECT_EQ(text_of(member().propose("fresh")), "1:fresh");
}

TEST_F(EngineAlone, DamagedMetadataIsRefused) {
  fill();
  for (const char* name : {"metadata1", "metadata2"}) {
    if (!std::filesystem::exists(path() / name)) continue;
    std::ofstream(path() / name) << std::string(32, '\x7f');
  }
  EXPECT_EQ(error_of_start(), Errc::protocol_violation);
}

TEST_F(EngineAlone, ADamagedSegmentIsRefusedAndNotSetAside) {
  fill();
  std::size_t damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path())) {
    const std::string name = entry.path().filename().string();
    // Closed segments; the first holds the group's first configuration.
    if (name.find('-') == std::string::npos || name.starts_with("open-")) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(24);
    file << "damaged!";
    ++damaged;
  }
  ASSERT_GE(damaged, 1U);
  EXPECT_EQ(error_of_start(), Errc::protocol_violation);
  EXPECT_EQ(error_of_start(), Errc::protocol_violation);
}

TEST_F(EngineAlone, StoppingIsPromptAlsoWhenNothingHappens) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(member().start(true));
    member().stop();
  }
}

}  // namespace
}  // namespace dvs::cluster

// A totally ordered group over three nodes: all members deliver the same, in the same order, and go
// on when one of them dies in the middle of it.
#include <gtest/gtest.h>
#include <algorithm>

#include <dvk/group.hpp>
#include <mutex>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
using dvk::Group;
using dvk::GroupView;

const std::vector<std::string> names = {"member-1", "member-2", "member-3"};

// What one member delivered: texts of messages, and "view N" for the views.
struct Member {
  std::vector<std::string> delivered;
  std::uint64_t multicasts = 0;
};

class Groups : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace(ClusterOptions{.nodes = 3});
  }

  Group open(int node) {
    Endpoint endpoint = cluster->open(node, names[static_cast<std::size_t>(node) - 1]);
    const GroupView view = must(Group::static_view(endpoint, names, patience), "static_view");
    Group group(std::move(endpoint));
    must(group.install(view), "install");
    const std::scoped_lock lock(mutex);
    first_view = view;
    return group;
  }
  // Takes what there is; true: something came.
  static bool take(Group& group, Member& member, dvk::Deadline deadline) {
    const auto event = group.next(deadline);
    if (!event) {
      if (event.error() == Errc::deadline || event.error() == Errc::would_block) return false;
      must(event, "next");
    }
    if (const auto* message = std::get_if<dvk::GroupMessage>(&*event)) {
      member.delivered.emplace_back(message->text());
    } else if (const auto* change = std::get_if<dvk::GroupChange>(&*event)) {
      member.delivered.push_back("view " + std::to_string(change->view.number));
    }
    return true;
  }
  static void multicast(Group& group, Member& member, int node) {
    const std::string text = std::to_string(node) + "/" + std::to_string(member.multicasts + 1);
    const auto number = group.multicast(dvk::as_bytes(text));
    if (!number && number.error() == Errc::queue_full) return;
    must(number, "multicast");
    ++member.multicasts;
  }

  std::optional<Cluster> cluster;
  std::mutex mutex;
  GroupView first_view;
};

// Every message of a sender that is in the list stands in its sender's order, once.
void expect_in_order(const std::vector<std::string>& delivered, int node, std::uint64_t at_least,
                     std::uint64_t at_most) {
  std::uint64_t count = 0;
  const std::string prefix = std::to_string(node) + "/";
  for (const std::string& text : delivered) {
    if (!text.starts_with(prefix)) continue;
    ASSERT_EQ(text, prefix + std::to_string(++count));
  }
  EXPECT_GE(count, at_least);
  EXPECT_LE(count, at_most);
}

TEST_F(Groups, DeliverTheSameInTheSameOrder) {
  constexpr std::uint64_t count = 300;
  std::vector<Member> members(4);
  LoadThreads threads;
  std::atomic<int> done = 0;
  for (int node = 1; node <= 3; ++node) {
    threads.start("member", [&, node] {
      Member& member = members[static_cast<std::size_t>(node)];
      Group group = open(node);
      const auto end = std::chrono::steady_clock::now() + patience;
      bool is_done = false;
      while (done < 3 && !threads.is_stopping()) {
        if (std::chrono::steady_clock::now() > end) throw std::runtime_error("no end in sight");
        if (member.multicasts < count) multicast(group, member, node);
        while (take(group, member, member.multicasts < count ? dvk::Deadline::now() : 5ms)) {
        }
        if (!is_done && member.delivered.size() == 3 * count + 1) ++done, is_done = true;
      }
    });
  }
  threads.join();
  ASSERT_FALSE(HasFailure());
  for (int node = 1; node <= 3; ++node) {
    const Member& member = members[static_cast<std::size_t>(node)];
    EXPECT_EQ(member.delivered, members[1].delivered) << "node " << node;
    expect_in_order(members[1].delivered, node, count, count);
  }
}

TEST_F(Groups, AgreeWhenAMemberIsLost) {
  std::vector<Member> members(4);
  std::atomic<bool> is_second_view_known = false;
  std::atomic<int> done = 0;
  GroupView second_view;
  LoadThreads threads;
  for (int node = 1; node <= 3; ++node) {
    threads.start("member", [&, node] {
      Member& member = members[static_cast<std::size_t>(node)];
      Group group = open(node);
      const auto end = std::chrono::steady_clock::now() + patience;
      bool is_installed = false;
      std::uint64_t last_count = 0;  // multicasts after which this member falls silent
      bool is_done = false;
      while (done < 2 && !threads.is_stopping()) {
        if (std::chrono::steady_clock::now() > end) throw std::runtime_error("no end in sight");
        if (node == 3 && member.delivered.size() > 100) return;  // dies with messages under way
        if (is_second_view_known && !is_installed) {
          must(group.install(second_view), "install");
          is_installed = true;
          last_count = member.multicasts + 50;
        }
        const bool may_speak = !is_installed || member.multicasts < last_count;
        if (may_speak) multicast(group, member, node);
        while (take(group, member, may_speak ? dvk::Deadline::now() : 5ms)) {
        }
        const std::string own_last = std::to_string(node) + "/" + std::to_string(member.multicasts);
        if (is_installed && !may_speak && !is_done &&
            std::ranges::find(member.delivered, own_last) != member.delivered.end()) {
          ++done, is_done = true;
        }
      }
      // Both have delivered their own last; what the other sent last follows.
      while (take(group, member, 1s)) {
      }
    });
  }
  Endpoint observer = cluster->open(1);
  while (!observer.lookup("member-3") && !threads.has_failed()) std::this_thread::sleep_for(1ms);
  while (observer.lookup("member-3") && !threads.has_failed()) std::this_thread::sleep_for(1ms);
  {
    const std::scoped_lock lock(mutex);
    second_view = {.number = 2, .members = {first_view.members[0], first_view.members[1]}};
  }
  is_second_view_known = true;
  threads.join();
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(members[1].delivered, members[2].delivered);
  EXPECT_EQ(std::ranges::count(members[1].delivered, "view 2"), 1);
  for (int node = 1; node <= 2; ++node) {
    const std::uint64_t sent = members[static_cast<std::size_t>(node)].multicasts;
    expect_in_order(members[1].delivered, node, sent, sent);
  }
  expect_in_order(members[1].delivered, 3, 0, members[3].multicasts);
  // What the lost member had delivered is a beginning of what the others did.
  const auto& lost = members[3].delivered;
  ASSERT_LE(lost.size(), members[1].delivered.size());
  EXPECT_TRUE(std::ranges::equal(lost, std::span(members[1].delivered).first(lost.size())));
}

}  // namespace
}  // namespace integration

// Directed tests of one lane: each law of link_core.hpp by the shortest exchange that shows it.
#include "dvk/core/link_core.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dvk::core {
namespace {

using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::NodeId;
using dvs::Result;
using dvs::TimePoint;
using std::chrono::milliseconds;
using std::chrono::seconds;
using wire::Frame;
using wire::FrameHeader;
using wire::FrameType;

struct RecordingUpper final : LinkUpper {
  void on_message(BytesView payload) override { messages.emplace_back(dvs::as_text(payload)); }
  void on_event(const LinkEvent& event) override { events.push_back(event); }
  void on_released(Bytes payload) override { released.push_back(std::move(payload)); }

  const LinkEvent* last(LinkEvent::Kind kind) const {
    const LinkEvent* found = nullptr;
    for (const LinkEvent& event : events) {
      if (event.kind == kind) found = &event;
    }
    return found;
  }
  std::size_t count(LinkEvent::Kind kind) const {
    std::size_t number = 0;
    for (const LinkEvent& event : events) number += event.kind == kind;
    return number;
  }

  std::vector<std::string> messages;
  std::vector<LinkEvent> events;
  std::vector<Bytes> released;
};

Bytes text(std::string_view words) {
  return dvs::to_bytes(dvs::as_bytes(words));
}

LinkCoreConfig config_for(unsigned self, unsigned peer, std::uint64_t boot) {
  LinkCoreConfig config;
  config.self = NodeId(self);
  config.peer = NodeId(peer);
  config.boot = boot;
  config.nonce_seed = boot * 1000 + self;
  config.retained_bytes_max = 1024 * 1024;
  return config;
}

struct Side {
  Side(unsigned self, unsigned peer, std::uint64_t boot, TimePoint now)
      : core(config_for(self, peer, boot), upper, now) {}
  RecordingUpper upper;
  LinkCore core;
};

// Two sides and a carrier that the test drives by hand.
class LinkCoreTest : public ::testing::Test {
 protected:
  void connect() {
    a.core.on_connected(now);
    b->core.on_connected(now);
  }
  void disconnect() {
    a.core.on_disconnected();
    b->core.on_disconnected();
  }
  static std::vector<Frame> take(Side& from, TimePoint now) {
    std::vector<Frame> frames;
    while (auto frame = from.core.next_frame(now)) frames.push_back(*frame);
    return frames;
  }
  void give(Side& to, const std::vector<Frame>& frames) {
    for (const Frame& frame : frames) {
      ASSERT_TRUE(to.core.on_frame(now, frame.header, frame.payload).has_value());
    }
  }
  // Carries frames both ways until neither side has any.
  void exchange() {
    for (bool is_busy = true; is_busy;) {
      const auto from_a = take(a, now);
      give(*b, from_a);
      const auto from_b = take(*b, now);
      give(a, from_b);
      is_busy = !from_a.empty() || !from_b.empty();
    }
  }
  // Lets time pass in steps small enough that neither side thinks it has slept.
  void pass(dvs::Duration span, bool is_carried = true) {
    const TimePoint end = now + span;
    while (now < end) {
      now = std::min(end, now + milliseconds(10));
      static_cast<void>(a.core.on_tick(now));
      static_cast<void>(b->core.on_tick(now));
      if (is_carried) exchange();
    }
  }
  void establish() {
    connect();
    exchange();
    ASSERT_EQ(a.core.state(), LinkState::up);
    ASSERT_EQ(b->core.state(), LinkState::up);
  }
  void restart_b() { b = std::make_unique<Side>(2, 1, 22, now); }

  TimePoint now{seconds(1000)};
  Side a{1, 2, 11, now};
  std::unique_ptr<Side> b = std::make_unique<Side>(2, 1, 21, now);
};

TEST_F(LinkCoreTest, BothSidesAgreeOnAFirstSessionAndExchangeMessages) {
  ASSERT_TRUE(a.core.send(text("early")).has_value());
  establish();
  EXPECT_NE(a.core.session(), 0U);
  EXPECT_EQ(a.core.session(), b->core.session());
  EXPECT_EQ(a.core.peer_boot(), 21U);
  const LinkEvent* event = a.upper.last(LinkEvent::Kind::new_session);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(event->cause, SessionCause::first);
  EXPECT_EQ(event->lost_frames, 0U);

  ASSERT_TRUE(b->core.send(text("answer")).has_value());
  ASSERT_TRUE(b->core.send({}).has_value());
  exchange();
  EXPECT_EQ(b->upper.messages, std::vector<std::string>{"early"});
  EXPECT_EQ(a.upper.messages, (std::vector<std::string>{"answer", ""}));
}

TEST_F(LinkCoreTest, PayloadIsNeitherCopiedNorMovedUntilItIsReleased) {
  establish();
  Bytes payload = text(std::string(1000, 'x'));
  const std::byte* where = payload.data();
  ASSERT_TRUE(a.core.send(std::move(payload)).has_value());
  const auto frames = take(a, now);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].payload.data(), where);
  EXPECT_TRUE(a.upper.released.empty());
  give(*b, frames);
  pass(milliseconds(20));
  ASSERT_EQ(a.upper.released.size(), 1U);
  EXPECT_EQ(a.upper.released[0].data(), where);
}

TEST_F(LinkCoreTest, AcknowledgementRidesOnDataOrFollowsAfterADelay) {
  establish();
  ASSERT_TRUE(a.core.send(text("1")).has_value());
  give(*b, take(a, now));
  EXPECT_TRUE(take(*b, now).empty()) << "waits for data to ride on";
  ASSERT_TRUE(b->core.send(text("2")).has_value());
  const auto reply = take(*b, now);
  ASSERT_EQ(reply.size(), 1U);
  EXPECT_EQ(reply[0].header.acknowledged, 1U);

  ASSERT_TRUE(a.core.send(text("3")).has_value());
  give(*b, take(a, now));
  const TimePoint due = b->core.next_deadline();
  EXPECT_EQ(due, now + LinkTimings{}.acknowledge_delay);
  now = due;
  ASSERT_TRUE(b->core.on_tick(now).has_value());
  const auto pure = take(*b, now);
  ASSERT_EQ(pure.size(), 1U);
  EXPECT_EQ(pure[0].header.type, FrameType::ack);
  EXPECT_EQ(pure[0].header.acknowledged, 2U);
}

TEST_F(LinkCoreTest, ReconnectReplaysExactlyWhatWasNotTaken) {
  establish();
  for (const char* word : {"1", "2", "3", "4"}) ASSERT_TRUE(a.core.send(text(word)).has_value());
  auto frames = take(a, now);
  frames.resize(2);  // the connection breaks behind the second, and takes the acknowledgement along
  give(*b, frames);
  disconnect();
  EXPECT_EQ(a.core.state(), LinkState::reconnecting);
  ASSERT_TRUE(a.core.send(text("5")).has_value());
  const std::uint64_t session = a.core.session();
  establish();
  EXPECT_EQ(a.core.session(), session);
  EXPECT_EQ(b->upper.messages, (std::vector<std::string>{"1", "2", "3", "4", "5"}));
  EXPECT_EQ(a.core.statistics().replays, 2U);
  EXPECT_EQ(b->core.statistics().duplicates, 0U);
  EXPECT_EQ(a.upper.count(LinkEvent::Kind::new_session), 1U);
}

TEST_F(LinkCoreTest, ALostHelloIsRepeated) {
  connect();
  take(a, now);  // both lost
  take(*b, now);
  pass(milliseconds(300));
  EXPECT_EQ(a.core.state(), LinkState::up);
  EXPECT_EQ(b->core.state(), LinkState::up);
  EXPECT_EQ(a.core.session(), b->core.session());
}

TEST_F(LinkCoreTest, AGapAsksForAReplayOnceAndDoublesAreDropped) {
  establish();
  for (const char* word : {"1", "2", "3", "4"}) ASSERT_TRUE(a.core.send(text(word)).has_value());
  auto frames = take(a, now);
  frames.erase(frames.begin() + 1);
  give(*b, frames);
  const auto request = take(*b, now);
  ASSERT_EQ(request.size(), 1U);
  EXPECT_EQ(request[0].header.flags, wire::frame_flag::replay_wanted);
  EXPECT_EQ(request[0].header.acknowledged, 1U);
  give(a, request);
  const auto replayed = take(a, now);
  ASSERT_EQ(replayed.size(), 3U);
  give(*b, replayed);
  give(*b, replayed);
  EXPECT_EQ(b->upper.messages, (std::vector<std::string>{"1", "2", "3", "4"}));
  EXPECT_EQ(b->core.statistics().gaps, 2U);
  EXPECT_EQ(b->core.statistics().duplicates, 3U);
}

TEST_F(LinkCoreTest, ALostTailIsSentAgainWithGrowingIntervals) {
  establish();
  ASSERT_TRUE(a.core.send(text("tail")).has_value());
  take(a, now);  // lost
  unsigned repeats = 0;
  for (int i = 0; i < 100; ++i) {
    now += milliseconds(10);
    ASSERT_TRUE(a.core.on_tick(now).has_value());
    for (const Frame& frame : take(a, now)) repeats += frame.header.type == FrameType::data;
  }
  EXPECT_EQ(repeats, 2U);  // at 200 ms and 400 ms later; the next would be 800 ms later
  exchange();
  pass(seconds(1));
  EXPECT_EQ(b->upper.messages, std::vector<std::string>{"tail"});
}

TEST_F(LinkCoreTest, AnIdleLinkPingsAndStaysUp) {
  establish();
  const auto before = a.core.statistics().frames_sent;
  pass(seconds(30));
  EXPECT_EQ(a.core.state(), LinkState::up);
  EXPECT_EQ(a.core.statistics().frames_sent, before);
  EXPECT_EQ(a.upper.count(LinkEvent::Kind::state_changed), 1U);
}

TEST_F(LinkCoreTest, SilenceIsSuspectThenEndsTheConnectionThenTheSession) {
  establish();
  ASSERT_TRUE(a.core.send(text("kept")).has_value());
  pass(milliseconds(490), false);
  EXPECT_EQ(a.core.state(), LinkState::up);
  pass(milliseconds(20), false);
  EXPECT_EQ(a.core.state(), LinkState::suspect);
  pass(milliseconds(1500), false);
  EXPECT_EQ(a.core.state(), LinkState::reconnecting);
  EXPECT_FALSE(a.core.next_frame(now).has_value());
  pass(seconds(7), false);
  EXPECT_EQ(a.core.state(), LinkState::reconnecting);
  pass(seconds(1), false);
  EXPECT_EQ(a.core.state(), LinkState::down);
  EXPECT_EQ(a.upper.last(LinkEvent::Kind::state_changed)->lost_frames, 1U);
  EXPECT_EQ(a.core.retained_frames(), 0U);
  EXPECT_EQ(a.upper.released.size(), 1U);
  EXPECT_EQ(a.core.send(text("refused")).error().code, Errc::unreachable);
}

TEST_F(LinkCoreTest, AnythingHeardEndsTheSuspicion) {
  establish();
  pass(milliseconds(600), false);
  ASSERT_EQ(a.core.state(), LinkState::suspect);
  a.core.on_activity(now);
  EXPECT_EQ(a.core.state(), LinkState::up);
}

TEST_F(LinkCoreTest, TimeThatThisNodeSleptIsNotHeldAgainstThePeer) {
  establish();
  now += seconds(60);
  ASSERT_TRUE(a.core.on_tick(now).has_value());
  EXPECT_EQ(a.core.state(), LinkState::up);
  pass(milliseconds(600), false);
  EXPECT_EQ(a.core.state(), LinkState::suspect) << "but silence after that is";
}

// What a daemon says at once to a node that is there again must not be refused.
TEST_F(LinkCoreTest, ALinkThatWasDownIsUpWhenItsNewSessionIsTold) {
  establish();
  disconnect();
  pass(config_for(1, 2, 1).timings.give_up_after + milliseconds(100));
  ASSERT_EQ(a.core.state(), LinkState::down);
  connect();
  exchange();
  ASSERT_NE(a.upper.last(LinkEvent::Kind::new_session), nullptr);
  EXPECT_EQ(a.upper.last(LinkEvent::Kind::new_session)->state, LinkState::up);
  EXPECT_EQ(a.upper.last(LinkEvent::Kind::state_changed)->state, LinkState::up);
}

TEST_F(LinkCoreTest, ALinkGivenUpByOneSideBeginsANewSessionOnBoth) {
  establish();
  const std::uint64_t session = a.core.session();
  disconnect();
  ASSERT_TRUE(b->core.send(text("lost")).has_value());
  for (int i = 0; i < 1100; ++i) {  // only a's clock runs
    now += milliseconds(10);
    ASSERT_TRUE(a.core.on_tick(now).has_value());
  }
  ASSERT_EQ(a.core.state(), LinkState::down);
  ASSERT_EQ(b->core.state(), LinkState::reconnecting);
  establish();
  EXPECT_NE(a.core.session(), session);
  EXPECT_EQ(a.core.session(), b->core.session());
  EXPECT_EQ(b->upper.last(LinkEvent::Kind::new_session)->cause, SessionCause::given_up);
  EXPECT_EQ(b->upper.last(LinkEvent::Kind::new_session)->lost_frames, 1U);
  EXPECT_TRUE(a.upper.messages.empty());
  ASSERT_TRUE(b->core.send(text("fresh")).has_value());
  exchange();
  EXPECT_EQ(a.upper.messages, std::vector<std::string>{"fresh"});
}

TEST_F(LinkCoreTest, ARestartedPeerIsReportedWithWhatWasLost) {
  establish();
  ASSERT_TRUE(a.core.send(text("lost")).has_value());
  take(a, now);
  ASSERT_TRUE(a.core.send(text("lost too")).has_value());
  disconnect();
  restart_b();
  establish();
  const LinkEvent* event = a.upper.last(LinkEvent::Kind::new_session);
  EXPECT_EQ(event->cause, SessionCause::peer_restarted);
  EXPECT_EQ(event->lost_frames, 2U);
  EXPECT_EQ(a.upper.last(LinkEvent::Kind::state_changed)->lost_frames, 0U) << "told once";
  EXPECT_EQ(a.upper.released.size(), 2U) << "and their memory given back";
  EXPECT_EQ(b->upper.last(LinkEvent::Kind::new_session)->cause, SessionCause::first);
  EXPECT_EQ(a.core.peer_boot(), 22U);
  ASSERT_TRUE(a.core.send(text("fresh")).has_value());
  exchange();
  EXPECT_EQ(b->upper.messages, std::vector<std::string>{"fresh"});
}

TEST_F(LinkCoreTest, AFullQueueRefusesAndAnnouncesRoom) {
  std::size_t taken = 0;
  while (a.core.send(Bytes(100 * 1024)).has_value()) ++taken;
  EXPECT_EQ(taken, 10U);
  EXPECT_FALSE(a.core.has_room());
  EXPECT_EQ(a.core.send(Bytes(100 * 1024)).error().code, Errc::queue_full);
  EXPECT_EQ(a.upper.count(LinkEvent::Kind::room_available), 0U);
  establish();
  pass(milliseconds(20));
  EXPECT_EQ(b->upper.messages.size(), taken);
  EXPECT_EQ(a.upper.count(LinkEvent::Kind::room_available), 1U);
  EXPECT_TRUE(a.core.has_room());
}

TEST_F(LinkCoreTest, AMessageBeyondTheLimitIsRefused) {
  EXPECT_TRUE(a.core.send(Bytes(wire::max_frame_payload)).has_value());
  EXPECT_EQ(a.core.send(Bytes(wire::max_frame_payload + 1)).error().code, Errc::message_too_large);
}

TEST_F(LinkCoreTest, ALieAboutWhatWasSentEndsTheConnection) {
  establish();
  ASSERT_TRUE(a.core.send(text("queued, not sent")).has_value());
  FrameHeader lie;
  lie.type = FrameType::ack;
  lie.acknowledged = 1;
  EXPECT_EQ(a.core.on_frame(now, lie, {}).error().code, Errc::protocol_violation);
  EXPECT_EQ(a.core.state(), LinkState::reconnecting);
  EXPECT_TRUE(a.upper.released.empty());
  EXPECT_EQ(a.core.retained_frames(), 1U);
}

class LinkHelloTest : public LinkCoreTest {
 protected:
  Result<void> meet(const wire::LinkHello& hello) {
    a.core.on_connected(now);
    FrameHeader header;
    header.type = FrameType::hello;
    header.payload_bytes = sizeof hello;
    return a.core.on_frame(now, header, wire::encode_hello(hello));
  }
  wire::LinkHello good_hello() const {
    wire::LinkHello hello;
    hello.node = 2;
    hello.boot = 21;
    hello.nonce = 5;
    return hello;
  }
};

TEST_F(LinkHelloTest, EachWrongFieldHasItsError) {
  wire::LinkHello hello = good_hello();
  hello.cluster[3] = 1;
  EXPECT_EQ(meet(hello).error().code, Errc::wrong_cluster);
  hello = good_hello();
  hello.node = 3;
  EXPECT_EQ(meet(hello).error().code, Errc::protocol_violation);
  hello = good_hello();
  hello.lane = 1;
  EXPECT_EQ(meet(hello).error().code, Errc::protocol_violation);
  hello = good_hello();
  hello.magic ^= 1;
  EXPECT_EQ(meet(hello).error().code, Errc::protocol_violation);
  EXPECT_EQ(a.core.state(), LinkState::connecting);
  EXPECT_TRUE(meet(good_hello()).has_value());
  EXPECT_EQ(a.core.state(), LinkState::up);
}

TEST_F(LinkHelloTest, APeerThatForgetsOrInventsMessagesIsRefused) {
  establish();
  ASSERT_TRUE(a.core.send(text("1")).has_value());
  exchange();
  pass(milliseconds(20));
  wire::LinkHello hello = good_hello();
  hello.session = a.core.session();
  hello.received = 0;
  EXPECT_EQ(meet(hello).error().code, Errc::protocol_violation);
  hello.received = 2;
  EXPECT_EQ(meet(hello).error().code, Errc::protocol_violation);
  hello.received = 1;
  hello.boot = 99;
  EXPECT_EQ(meet(hello).error().code, Errc::protocol_violation);
  hello.boot = 21;
  EXPECT_TRUE(meet(hello).has_value());
}

TEST_F(LinkCoreTest, AFrameWithoutAConnectionIsRefused) {
  FrameHeader header;
  header.type = FrameType::ping;
  EXPECT_EQ(a.core.on_frame(now, header, {}).error().code, Errc::detached);
}

}  // namespace
}  // namespace dvk::core

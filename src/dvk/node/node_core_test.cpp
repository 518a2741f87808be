// The daemon's core as a whole: attaching, what is refused, and messages that are rubbish.
#include "dvk/node/node_core.hpp"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

using wire::HelloKind;

class NodeCoreTest : public ClusterTest {
 protected:
  Errc error_of(BytesView message) {
    const auto result = core(1).on_node_message(id(2), message, now);
    return result ? Errc{} : result.error().code;
  }
  static Bytes with_form(wire::NodeMessageForm form, const Bytes& body) {
    Bytes message(1 + body.size());
    message[0] = static_cast<std::byte>(form);
    std::ranges::copy(body, message.begin() + 1);
    return message;
  }
};

// --- Attaching -----------------------------------------------------------------------------------

TEST_F(NodeCoreTest, WelcomeSaysWhoAndWhere) {
  const Process process = attach(2, {});
  const auto message = next<wire::Welcome>(process);
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->node, id(2));
  EXPECT_EQ(message->state_bytes, 0U);
  EXPECT_EQ(message->address.container, ContainerId{1});
  EXPECT_EQ(birth_node(message->address.incarnation), id(2));
  EXPECT_EQ(core(2).endpoint_count(), 1U);
  close(process);
  EXPECT_EQ(core(2).endpoint_count(), 0U);
}

TEST_F(NodeCoreTest, NoAddressIsGivenTwice) {
  std::set<std::uint64_t> lives, ids;
  for (unsigned i = 0; i < 30; ++i) {
    const Process process = open(1 + i % 3);
    EXPECT_TRUE(lives.insert(raw(process.address.incarnation)).second);
    EXPECT_TRUE(ids.insert(raw(process.address.id)).second);
    if (i % 2 == 0) close(process);
    if (i % 7 == 0) restart(1);
  }
}

TEST_F(NodeCoreTest, RefusesHellosThatAreWrong) {
  const auto refused = [&](const wire::Hello& hello) { return refusal(attach(1, hello)); };
  EXPECT_EQ(refused({.version = wire::attach_version + 1}), Errc::version_mismatch);
  EXPECT_EQ(refused({.version = 0}), Errc::version_mismatch);
  EXPECT_EQ(refused({.name = std::string(wire::max_name_bytes + 1, 'x')}), Errc::invalid_argument);
  EXPECT_EQ(refused({.kind = HelloKind::backup, .name = {}}), Errc::invalid_argument);
  EXPECT_EQ(core(1).endpoint_count(), 0U);
  open(1, std::string(wire::max_name_bytes, 'x'));
}

TEST_F(NodeCoreTest, AnUnknownKindOfHelloIsRefused) {
  const Process process = attach(1, {.kind = static_cast<HelloKind>(9), .name = "name"});
  settle();
  EXPECT_EQ(refusal(process), Errc::protocol_violation);
  EXPECT_EQ(core(1).endpoint_count(), 0U);
}

TEST_F(NodeCoreTest, ASecondHelloIsRefusedAndChangesNothing) {
  const Process process = open(1, "name");
  core(1).on_hello(process.handle, ContainerId{2}, 0, {.name = "other"}, now);
  EXPECT_EQ(refusal(process), Errc::protocol_violation);
  tell(process, wire::Hello{.name = "other"});
  EXPECT_EQ(refusal(process), Errc::protocol_violation);
  EXPECT_EQ(look_up(process, "name").second, process.address);
}

TEST_F(NodeCoreTest, NamesNeedARuleOfBinding) {
  node(1).restart(Policy({{ContainerId{1}, {.bind = {{0, "*"}, {7, "app*"}}, .talk = {}}}}));
  install_view({1, 2, 3});
  settle();
  for (const HelloKind kind : {HelloKind::open, HelloKind::backup, HelloKind::adopt}) {
    EXPECT_EQ(refusal(attach(1, {.kind = kind, .name = "system"}, 7)), Errc::not_permitted);
  }
  EXPECT_EQ(core(1).endpoint_count(), 0U);
  open(1, "app", 7);
  open(1, "", 7);
  open(1, "system", 0);
  open(1, "system", 7, 2);  // a container without rules
}

TEST_F(NodeCoreTest, WhoeverIsNotAttachedIsNotHeard) {
  const Process nobody{1, static_cast<Handle>(999), {}};
  tell(nobody, wire::NodesQuery{});
  close(nobody);
  send_packet(nobody, {});
  EXPECT_TRUE(hears_nothing(nobody));
}

TEST_F(NodeCoreTest, AnswersQuestions) {
  const Process process = open(2);
  tell(process, wire::NodesQuery{.request = 3});
  const auto nodes = next<wire::NodesResult>(process);
  ASSERT_TRUE(nodes.has_value());
  EXPECT_EQ(nodes->request, 3U);
  EXPECT_EQ(nodes->nodes, (std::vector{id(1), id(2), id(3)}));
  tell(process, wire::BarrierQuery{.request = 4});
  EXPECT_EQ(next<wire::Barrier>(process)->request, 4U);
}

// Nothing that comes out of turn may do more than nothing.
TEST_F(NodeCoreTest, MessagesOutOfTurnAreIgnored) {
  const Process active = open(1);
  const Process waiting = attach(2, {.kind = HelloKind::adopt, .name = "nothing"});
  const Process registering = attach(2, {.name = "name"});
  for (const Process& process : {waiting, registering}) {
    tell(process, wire::RouteQuery{active.address});
    tell(process, wire::NameQuery{.request = 1, .name = "name"});
    tell(process, wire::MoveOut{.target = id(3)});
    tell(process, wire::MoveCancel{});
    tell(process, wire::AdoptReady{});
    tell(process, wire::ExpressQuery{active.address});
    send_packet(process, active.address);
  }
  tell(active, wire::AdoptReady{});
  tell(active, wire::MoveCancel{});
  settle();
  EXPECT_TRUE(hears_nothing(waiting));
  EXPECT_TRUE(hears_nothing(active));
  EXPECT_FALSE(next_packet(active).has_value());
  close(waiting);
  close(registering);
  settle();
  EXPECT_EQ(core(2).endpoint_count(), 0U);
}

TEST_F(NodeCoreTest, OneThatWasRefusedIsNobody) {
  const Process holder = open(1, "name");
  const Process refused = attach(2, {.name = "name"});
  settle();
  EXPECT_EQ(refusal(refused), Errc::name_in_use);
  send_packet(refused, holder.address);
  tell(refused, wire::RouteQuery{holder.address});
  settle();
  EXPECT_TRUE(hears_nothing(refused));
  close(refused);
  settle();
  EXPECT_EQ(look_up(open(3), "name").second, holder.address);
}

// --- Rubbish from nodes --------------------------------------------------------------------------

TEST_F(NodeCoreTest, MessagesThatAreNoneAreRefused) {
  EXPECT_EQ(error_of({}), Errc::protocol_violation);
  for (const int form : {0, 4, 255}) {
    EXPECT_EQ(error_of(with_form(static_cast<wire::NodeMessageForm>(form), Bytes(100))),
              Errc::protocol_violation);
  }
  EXPECT_EQ(error_of(with_form(wire::NodeMessageForm::control, {})), Errc::protocol_violation);
  EXPECT_EQ(error_of(with_form(wire::NodeMessageForm::control, Bytes(3, std::byte{0xff}))),
            Errc::protocol_violation);
  EXPECT_EQ(error_of(with_form(wire::NodeMessageForm::packet, Bytes(87))),
            Errc::protocol_violation);
  EXPECT_EQ(error_of(with_form(wire::NodeMessageForm::copy_data, Bytes(23))),
            Errc::protocol_violation);
  EXPECT_EQ(error_of(with_form(wire::NodeMessageForm::copy_data, Bytes(24))), Errc{});
}

// Copy orders and results pass only between a process and its own daemon.
TEST_F(NodeCoreTest, CopyPacketsDoNotComeFromNodes) {
  const Process process = open(1), peer = open(2);
  join(process, peer);
  for (const auto kind : {wire::PacketKind::copy_request, wire::PacketKind::copy_result}) {
    PacketHeader header;
    header.kind = kind;
    header.set_source(peer.address);
    header.set_target(process.address);
    EXPECT_EQ(error_of(with_form(wire::NodeMessageForm::packet, wire::encode_packet(header, {}))),
              Errc::protocol_violation);
  }
  EXPECT_FALSE(next_packet(process).has_value());
}

// Messages of every kind, made of a few addresses and numbers, so that many of them hit something.
class RandomMessages {
 public:
  explicit RandomMessages(std::vector<Address> addresses) : addresses_(std::move(addresses)) {}

  std::uint64_t pick(std::uint64_t bound) { return random_() % bound; }
  wire::NodeMessage next() {
    switch (pick(3)) {
      case 0: return of_router();
      case 1: return of_directory();
      default: return of_mover_or_copier();
    }
  }

 private:
  Address address() { return addresses_[pick(addresses_.size())]; }
  NodeId node() { return static_cast<NodeId>(pick(5)); }
  std::string name() { return pick(2) == 0 ? "name" : "moved"; }
  Errc error() { return pick(3) == 0 ? Errc::not_ready : static_cast<Errc>(pick(2) * 40); }
  std::uint64_t number() { return pick(4); }
  bool flag() { return pick(2) == 0; }
  wire::DirectoryEntry entry() { return {address(), name(), flag(), pick(3)}; }

  wire::NodeMessage of_router() {
    switch (pick(5)) {
      case 0: return wire::Open{address(), address(), name(), 0};
      case 1:
        return wire::Opened{address(), address(), static_cast<wire::OpenStatus>(pick(9)), node()};
      case 2: return wire::Gone{address()};
      case 3: return wire::Moved{address(), node()};
      default: return wire::Resumed{address()};
    }
  }
  wire::NodeMessage of_directory() {
    switch (pick(8)) {
      case 0: return wire::Register{number(), pick(3), entry()};
      case 1: return wire::Registered{number(), error(), EndpointId{pick(9)}};
      case 2: return wire::Unregister{address(), pick(3)};
      case 3: return wire::Lookup{number(), pick(3), ContainerId{1}, name()};
      case 4: return wire::Locate{number(), pick(3), address()};
      case 5: return wire::LookupResult{number(), error(), address(), node()};
      case 6: return wire::Report{pick(3), flag(), flag(), {entry()}};
      case 7: return wire::ReportQuery{pick(3)};
      default: return wire::Promote{address(), EndpointId{pick(9)}, name()};
    }
  }
  wire::NodeMessage of_mover_or_copier() {
    switch (pick(8)) {
      case 0:
        return wire::MovePrepare{number(), address(), name(), 0, pick(3), pick(4), Bytes(pick(3))};
      case 1: return wire::MoveMore{number(), pick(3)};
      case 2: return wire::MoveReady{number(), error()};
      case 3: return wire::MoveDecision{number(), flag()};
      case 4: return wire::MoveQuery{number()};
      case 5: {
        const wire::CopySide source{address(), pick(2), 0}, target{address(), pick(2), 0};
        return wire::CopyStart{number(), node(),  address(), source,
                               target,   pick(5), node(),    node()};
      }
      case 6: return wire::MoveSettled{number()};
      default: return wire::CopyEnd{number(), node(), error()};
    }
  }

  std::vector<Address> addresses_;
  std::mt19937_64 random_{1};
};

// Whatever another daemon says, however wrong and out of turn: this one lives, and answers at most.
TEST_F(NodeCoreTest, SurvivesAnyMessageInAnyOrder) {
  const Process holder = open(1, "name"), backup = open_backup(1, "name"), peer = open(2);
  const Process adopter = adopt(1, "moved");
  join(holder, peer);
  const Address never{ContainerId{1}, EndpointId{5}, Incarnation{std::uint64_t{2} << 48 | 5}};
  RandomMessages messages({holder.address, backup.address, peer.address, {}, never});
  for (int i = 0; i < 20'000; ++i) {
    const unsigned from = 2 + static_cast<unsigned>(messages.pick(2));
    (void)inject(from, 1, messages.next());
    core(1).work();
    if (messages.pick(10) == 0) tell(adopter, wire::AdoptReady{});
    if (messages.pick(50) == 0) core(1).on_tick(now += std::chrono::milliseconds(100));
    if (messages.pick(100) == 0) core(1).on_link_up(id(from), messages.pick(2) == 0, now);
    node(1).lanes.clear();
  }
  // New ones find a daemon that works.
  const Process late = attach(1, {});
  EXPECT_NE(welcome(late), Address{});
}

// --- Express -------------------------------------------------------------------------------------

// A host without express connections answers nothing, and the relay goes on.
TEST_F(NodeCoreTest, WithoutExpressTheRelayGoesOn) {
  const Process a = open(1), b = open(2);
  join(a, b);
  tell(a, wire::ExpressQuery{b.address});
  settle();
  EXPECT_TRUE(hears_nothing(a));
  EXPECT_TRUE(both_ways(a, b));
}

}  // namespace
}  // namespace dvk::node

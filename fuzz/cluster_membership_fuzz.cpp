// Hostile nodes in the membership: the decoder, and the machines of a leader and of an ordinary
// node, fed with whatever the others might send.
//
// The input is a list of pieces: one byte says who receives and who sends, one how long the message
// is. Whatever comes, what is sent is well-formed, and what is proposed is accepted or refused by
// the state without harm.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cluster/membership/membership.hpp"
#include "cluster/state/state.hpp"

namespace {

using namespace dvs::cluster;
using dvs::BytesView;
using dvs::NodeId;

void require(bool condition) {
  if (!condition) std::abort();
}

class Run {
 public:
  Run() {
    state_.apply(++index_, encode_proposal({ClientId{}, 0, OpenSession{}}));
    for (const char* name : {"a", "b", "c"}) {
      propose(Join{name, "h:1", {}, BootId{7}, NodeRole::voter});
    }
    propose(ProposeView{0, {NodeId{1}, NodeId{2}, NodeId{3}}});
    leader_.on_term(1);
    leader_.lead(1, {NodeId{1}, NodeId{2}, NodeId{3}}, state_.roster(), now_);
    tell();
  }

  void message(std::uint8_t who, BytesView bytes) {
    now_ += std::chrono::milliseconds(who / 16);
    Membership& receiver = who % 2 == 0 ? leader_ : member_;
    Actions actions;
    std::ignore = receiver.on_message(static_cast<NodeId>(who / 2 % 4 + 1), bytes, now_, actions);
    perform(actions);
  }
  void tick() {
    now_ += std::chrono::milliseconds(20);
    Actions actions;
    leader_.tick(now_, actions);
    member_.tick(now_, actions);
    perform(actions);
  }

 private:
  void propose(Command command) {
    const bool has_session = !is_safe_to_repeat(command);
    const ClientId client{has_session ? std::uint64_t{1} : 0};
    const Proposal proposal{client, has_session ? ++sequence_ : 0, std::move(command)};
    state_.apply(++index_, encode_proposal(proposal));
  }
  void tell() {
    Actions actions;
    leader_.on_roster(state_.roster(), now_, actions);
    member_.on_roster(state_.roster(), now_, actions);
  }
  void perform(const Actions& actions) {
    for (const Actions::Envelope& envelope : actions.messages) {
      require(decode_membership(envelope.message).has_value());
    }
    for (const Command& command : actions.proposals) propose(command);
    if (!actions.proposals.empty()) tell();
  }

  dvs::TimePoint now_{std::chrono::hours(1)};
  State state_;
  std::uint64_t index_ = 0;
  std::uint64_t sequence_ = 0;
  Membership leader_{NodeId{1}, BootId{7}};
  Membership member_{NodeId{2}, BootId{7}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView input(reinterpret_cast<const std::byte*>(data), size);
  Run run;
  std::size_t offset = 0;
  while (size - offset >= 2) {
    const std::uint8_t who = data[offset];
    const std::size_t length = data[offset + 1];
    offset += 2;
    if (length == 0) {
      run.tick();
      continue;
    }
    const std::size_t taken = length < size - offset ? length : size - offset;
    run.message(who, input.subspan(offset, taken));
    offset += taken;
  }
  return 0;
}

#include "sim/lane.hpp"

#include <fmt/format.h>

namespace sim {

using dvk::core::LinkEvent;
using dvk::core::LinkState;

namespace {

// More control messages than this never wait in a world of this size unless something runs wild.
constexpr std::size_t waiting_max = 100'000;

}  // namespace

Lane::Lane(Context& context, Wire& wire, LaneOwner& owner, const NodeClock& clock,
           const dvk::core::LinkCoreConfig& config)
    : context_(context),
      wire_(wire),
      owner_(owner),
      clock_(clock),
      self_(config.self),
      peer_(config.peer),
      lane_(config.lane),
      core_(config, *this, now()),
      alarm_(context.scheduler, [this] { tick(); }) {
  wire_.bind(self_, *this);
}

void Lane::stop() {
  is_stopped_ = true;
  alarm_.clear();
  wire_.unbind(self_);
}

// --- The layer above ---

bool Lane::send_control(dvs::Bytes message) {
  if (is_down()) return false;
  waiting_.push_back(std::move(message));
  send_waiting();
  if (waiting_.size() > waiting_max) {
    context_.judge.fail("bounded_queues", fmt::format("{} control messages wait for node {}",
                                                      waiting_.size(), dvs::raw(peer_)));
  }
  return true;
}

void Lane::send_waiting() {
  while (!waiting_.empty() && core_.has_room()) {
    dvs::Bytes message = std::move(waiting_.front());
    waiting_.pop_front();
    (void)core_.send(std::move(message));  // refused only when the link is down
  }
}

bool Lane::send(dvs::Bytes message) {
  return has_room() && core_.send(std::move(message)).has_value();
}

void Lane::reset_connection() {
  core_.on_disconnected();
  wire_.close(self_);
}

void Lane::pump() {
  if (is_stopped_ || owner_.daemon_ready_at() > context_.now()) return;
  send_waiting();
  while (wire_.has_room(self_)) {
    const auto frame = core_.next_frame(now());
    if (!frame) break;
    wire_.send(self_, *frame);
  }
  alarm_.set(clock_.world(core_.next_deadline()));
}

void Lane::tick() {
  if (is_stopped_) return;
  if (const Instant ready = owner_.daemon_ready_at(); ready > context_.now()) {
    return alarm_.set(ready);
  }
  if (!core_.on_tick(now())) wire_.close(self_);
  owner_.settle();
}

// --- The wire ---

void Lane::on_connected() {
  core_.on_connected(now());
  owner_.settle();
}

void Lane::on_disconnected() {
  core_.on_disconnected();
  owner_.settle();
}

void Lane::on_writable() {
  pump();
}

void Lane::on_frame(const dvk::wire::FrameHeader& header, dvs::BytesView payload) {
  if (const auto result = core_.on_frame(now(), header, payload); !result) {
    // Nobody here breaks the protocol on purpose.
    if (result.error() != dvs::Errc::unreachable) {
      context_.judge.fail("link", fmt::format("nodes {} and {} lane {}: {}", dvs::raw(self_),
                                              dvs::raw(peer_), lane_, to_string(result.error())));
    }
    wire_.close(self_);
  }
  owner_.settle();
}

// --- LinkCore ---

void Lane::on_message(dvs::BytesView payload) {
  owner_.on_lane_message(peer_, lane_, payload);
}

void Lane::on_event(const LinkEvent& event) {
  const bool is_state = event.kind == LinkEvent::Kind::state_changed;
  context_.record({.what = Happening::link_event,
                   .node = dvs::raw(self_),
                   .a = dvs::raw(peer_),
                   .b = lane_,
                   .c = static_cast<std::uint64_t>(event.kind) << 8 |
                        (is_state ? static_cast<std::uint64_t>(event.state)
                                  : static_cast<std::uint64_t>(event.cause))});
  // A session that ends takes what waits for room with it: the layer above repeats what matters.
  if (event.kind == LinkEvent::Kind::new_session && event.cause != dvk::core::SessionCause::first) {
    waiting_.clear();
  }
  owner_.on_lane_event(peer_, lane_, event);
}

}  // namespace sim

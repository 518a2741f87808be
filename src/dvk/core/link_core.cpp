// The state machine of one lane. See link_core.hpp for the laws it keeps.
#include "dvk/core/link_core.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/assert.hpp"

namespace dvk::core {

using dvs::Errc;
using dvs::fail;
using dvs::never;
using dvs::Result;
using dvs::TimePoint;
using wire::FrameHeader;
using wire::FrameType;
using wire::LinkHello;
namespace frame_flag = wire::frame_flag;

namespace {

// An acknowledgement no longer waits for data to ride on when so much is owed: the sender's bound
// on retained bytes must not stall it, and its buffers are reused while they are still in the
// cache.
constexpr std::size_t acknowledge_bytes = 512 * 1024;
constexpr unsigned acknowledge_frames = 256;

TimePoint after(TimePoint start, dvs::Duration delay) {
  return delay >= never - start ? never : start + delay;
}

// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection that spreads every bit.
std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

std::string node_text(std::uint16_t node) {
  return "node " + std::to_string(node);
}

}  // namespace

const char* name_of(LinkState state) noexcept {
  switch (state) {
    case LinkState::connecting: return "connecting";
    case LinkState::up: return "up";
    case LinkState::suspect: return "suspect";
    case LinkState::reconnecting: return "reconnecting";
    case LinkState::down: return "down";
  }
  return "unknown";
}

LinkCore::LinkCore(const LinkCoreConfig& config, LinkUpper& upper, TimePoint now)
    : config_(config),
      upper_(upper),
      last_heard_(now),
      last_sent_(now),
      retransmit_after_(config.timings.retransmit_after) {
  DVS_ASSERT(config.boot != 0 && config.self != config.peer);
  DVS_ASSERT(config.retained_bytes_max >= largest_cost);
}

// --- The layer above ---

Result<void> LinkCore::send(dvs::Bytes payload, std::uint8_t flags) {
  DVS_ASSERT((flags & ~frame_flag::compressed) == 0);
  const std::size_t size = payload.size();
  if (size > wire::max_frame_payload) {
    return fail(Errc::message_too_large, "a link message of " + std::to_string(size) + " bytes");
  }
  if (state_ == LinkState::down) {
    return fail(Errc::unreachable, node_text(dvs::raw(config_.peer)) + " is down");
  }
  if (retained_bytes_ + size + frame_cost_bytes > config_.retained_bytes_max) {
    return fail(Errc::queue_full);
  }
  retained_bytes_ += size + frame_cost_bytes;
  send_.push({std::move(payload), flags});
  if (!has_room()) was_full_ = true;
  return {};
}

void LinkCore::release(Outgoing& outgoing) {
  retained_bytes_ -= outgoing.payload.size() + frame_cost_bytes;
  upper_.on_released(std::move(outgoing.payload));
}

void LinkCore::announce_room() {
  // Not at the first free byte, else sender and receiver would run in step, one frame at a time.
  if (!was_full_ || !has_room() || retained_bytes_ > config_.retained_bytes_max / 2) return;
  was_full_ = false;
  upper_.on_event({LinkEvent::Kind::room_available, state_, {}, 0});
}

std::uint64_t LinkCore::drop_retained() {
  const std::uint64_t count = send_.size();
  const bool known = send_.acknowledge(send_.last_number(), [&](Outgoing& o) { release(o); });
  DVS_ASSERT(known && retained_bytes_ == 0);
  statistics_.lost_frames += count;
  return count;
}

// --- Connection ---

void LinkCore::on_connected(TimePoint now) {
  on_disconnected();
  is_connected_ = true;
  connected_at_ = last_sent_ = now;
  hello_ = LinkHello{};
  hello_.cluster = config_.cluster;
  hello_.boot = config_.boot;
  hello_.session = session_;
  hello_.received = session_ != 0 ? receive_.received() : 0;
  hello_.nonce = mix(config_.nonce_seed + ++nonces_ * 0x9E3779B97F4A7C15U);
  hello_.node = dvs::raw(config_.self);
  hello_.lane = config_.lane;
  hello_bytes_ = wire::encode_hello(hello_);
  is_hello_due_ = true;
}

void LinkCore::on_disconnected() {
  if (!is_connected_) return;
  is_connected_ = is_established_ = false;
  is_hello_due_ = is_ack_due_ = is_ping_due_ = is_replay_request_due_ = false;
  unacknowledged_bytes_ = unacknowledged_frames_ = 0;
  acknowledge_at_ = repeat_hello_at_ = retransmit_at_ = connected_at_ = never;
  next_request_at_ = TimePoint::min();
  retransmit_after_ = config_.timings.retransmit_after;
  if (state_ == LinkState::up || state_ == LinkState::suspect) set_state(LinkState::reconnecting);
}

void LinkCore::heard(TimePoint now) {
  last_heard_ = std::max(last_heard_, now);
  if (state_ == LinkState::suspect) set_state(LinkState::up);
}

void LinkCore::on_activity(TimePoint now) {
  if (is_established_) heard(now);
}

void LinkCore::set_state(LinkState state, std::uint64_t lost_frames) {
  if (state == state_) return;
  state_ = state;
  upper_.on_event({LinkEvent::Kind::state_changed, state, {}, lost_frames});
}

// --- Hello and session ---

Result<void> LinkCore::check_hello(const LinkHello& hello) const {
  if (hello.cluster != config_.cluster) {
    return fail(Errc::wrong_cluster,
                node_text(hello.node) + " at the other end belongs to another cluster");
  }
  if (hello.node != dvs::raw(config_.peer) || hello.lane != config_.lane) {
    return fail(Errc::protocol_violation, "expected " + node_text(dvs::raw(config_.peer)) +
                                              " lane " + std::to_string(config_.lane) +
                                              ", but met " + node_text(hello.node) + " lane " +
                                              std::to_string(hello.lane));
  }
  return {};
}

Result<void> LinkCore::take_hello(TimePoint now, const FrameHeader& header,
                                  dvs::BytesView payload) {
  DVS_TRY(const LinkHello hello, wire::decode_hello(payload));
  DVS_CHECK(check_hello(hello));
  const bool is_answer = (header.flags & frame_flag::answer) != 0;
  if (is_established_) {
    if (hello.nonce != peer_nonce_) {
      return fail(Errc::protocol_violation, "a second, different hello on one connection");
    }
    if (!is_answer) is_hello_due_ = true;
    return {};
  }
  // A session given up since our hello would have taken the connection with it.
  DVS_ASSERT(hello_.session == session_);
  const bool is_resumed = session_ != 0 && hello.session == session_;
  if (is_resumed) DVS_CHECK(resume(now, hello));
  is_established_ = true;
  peer_nonce_ = hello.nonce;
  if (!is_answer) is_hello_due_ = true;
  repeat_hello_at_ = never;
  last_heard_ = std::max(last_heard_, now);
  ++statistics_.connections;
  if (!is_resumed) begin_session(hello);
  set_state(LinkState::up);
  announce_room();
  return {};
}

Result<void> LinkCore::resume(TimePoint now, const LinkHello& hello) {
  if (hello.boot != peer_boot_) {
    return fail(Errc::protocol_violation, "another boot of the peer claims the same session");
  }
  if (hello.received + 1 < send_.first_number()) {
    return fail(Errc::protocol_violation, "the peer has forgotten messages it acknowledged");
  }
  DVS_CHECK(take_acknowledgement(now, hello.received));
  rewind();
  return {};
}

void LinkCore::begin_session(const LinkHello& hello) {
  SessionCause cause = SessionCause::given_up;
  if (peer_boot_ == 0) {
    cause = SessionCause::first;
  } else if (peer_boot_ != hello.boot) {
    cause = SessionCause::peer_restarted;
  }
  // What was queued without a session has never left this node; it belongs to this one.
  std::uint64_t lost_frames = 0;
  if (session_ != 0) {
    lost_frames = drop_retained();
    send_.restart_at(1);
  }
  handed_ = 0;
  receive_.restart_after(0);
  peer_boot_ = hello.boot;
  const bool is_lower = config_.self < config_.peer;
  const std::uint64_t lower = is_lower ? hello_.nonce : hello.nonce;
  const std::uint64_t higher = is_lower ? hello.nonce : hello_.nonce;
  session_ = std::max<std::uint64_t>(1, mix(lower ^ mix(higher)));
  ++statistics_.sessions;
  // Whoever hears of it may send at once: it is up by then.
  const LinkState before = std::exchange(state_, LinkState::up);
  upper_.on_event({LinkEvent::Kind::new_session, state_, cause, lost_frames});
  if (before != state_) upper_.on_event({LinkEvent::Kind::state_changed, state_, {}, 0});
}

void LinkCore::give_up() {
  const std::uint64_t lost_frames = drop_retained();
  send_.restart_at(1);
  handed_ = 0;
  session_ = 0;
  receive_.restart_after(0);
  was_full_ = false;
  set_state(LinkState::down, lost_frames);
}

// --- Frames that come in ---

Result<void> LinkCore::on_frame(TimePoint now, const FrameHeader& header, dvs::BytesView payload) {
  if (!is_connected_) return fail(Errc::detached, "a frame without a connection");
  auto result = take_frame(now, header, payload);
  if (!result) on_disconnected();
  return result;
}

Result<void> LinkCore::take_frame(TimePoint now, const FrameHeader& header,
                                  dvs::BytesView payload) {
  if (header.type == FrameType::hello) return take_hello(now, header, payload);
  // A carrier that reorders may bring it before the hello; it will be repeated.
  if (!is_established_) return {};
  heard(now);
  DVS_CHECK(take_acknowledgement(now, header.acknowledged));
  if ((header.flags & frame_flag::replay_wanted) != 0) rewind();
  if (header.type == FrameType::data) take_data(now, header, payload);
  announce_room();
  return {};
}

Result<void> LinkCore::take_acknowledgement(TimePoint now, std::uint64_t number) {
  if (number > handed_) {
    return fail(Errc::protocol_violation, "the peer acknowledges message " +
                                              std::to_string(number) + ", but only " +
                                              std::to_string(handed_) + " were sent");
  }
  if (number < send_.first_number()) return {};
  const bool known = send_.acknowledge(number, [&](Outgoing& outgoing) { release(outgoing); });
  DVS_ASSERT(known);
  retransmit_after_ = config_.timings.retransmit_after;
  retransmit_at_ = send_.in_flight() ? after(now, retransmit_after_) : never;
  return {};
}

void LinkCore::take_data(TimePoint now, const FrameHeader& header, dvs::BytesView payload) {
  switch (receive_.offer(header.sequence)) {
    case ReceiveWindow::Verdict::accept:
      owe_acknowledgement(now, payload.size());
      is_replay_request_due_ = false;
      ++statistics_.frames_received;
      statistics_.bytes_received += payload.size();
      upper_.on_message(payload);
      break;
    case ReceiveWindow::Verdict::duplicate:
      ++statistics_.duplicates;
      is_ack_due_ = true;
      break;
    case ReceiveWindow::Verdict::gap:
      ++statistics_.gaps;
      owe_replay_request(now);
      break;
  }
}

void LinkCore::owe_acknowledgement(TimePoint now, std::size_t bytes) {
  unacknowledged_bytes_ += bytes;
  ++unacknowledged_frames_;
  if (unacknowledged_bytes_ >= acknowledge_bytes || unacknowledged_frames_ >= acknowledge_frames) {
    is_ack_due_ = true;
    acknowledge_at_ = never;
  } else if (acknowledge_at_ == never) {
    acknowledge_at_ = after(now, config_.timings.acknowledge_delay);
  }
}

// One request shows the sender all that is missing; more while its replay is under way would only
// make it begin again.
void LinkCore::owe_replay_request(TimePoint now) {
  if (now < next_request_at_) return;
  next_request_at_ = after(now, config_.timings.replay_request_interval);
  is_replay_request_due_ = true;
}

void LinkCore::rewind() {
  send_.rewind();
  retransmit_at_ = never;
}

// --- Frames that go out ---

std::optional<wire::Frame> LinkCore::next_frame(TimePoint now) {
  if (!is_connected_) return std::nullopt;
  if (is_hello_due_) {
    last_sent_ = now;
    return hello_frame(now);
  }
  if (!is_established_) return std::nullopt;
  std::optional<wire::Frame> frame;
  if (send_.next() != nullptr) {
    frame = data_frame(now);
  } else if (is_ack_due_ || is_replay_request_due_) {
    frame = wire::Frame{acknowledging_header(FrameType::ack), {}};
  } else if (is_ping_due_) {
    frame = wire::Frame{acknowledging_header(FrameType::ping), {}};
  }
  if (frame) {
    last_sent_ = now;
    is_ping_due_ = false;
  }
  return frame;
}

wire::Frame LinkCore::hello_frame(TimePoint now) {
  is_hello_due_ = false;
  if (!is_established_) repeat_hello_at_ = after(now, config_.timings.retransmit_after);
  FrameHeader header;
  header.type = FrameType::hello;
  header.flags = is_established_ ? frame_flag::answer : 0;
  header.payload_bytes = sizeof(LinkHello);
  return {header, hello_bytes_};
}

wire::Frame LinkCore::data_frame(TimePoint now) {
  const Outgoing& outgoing = *send_.next();
  FrameHeader header = acknowledging_header(FrameType::data);
  header.flags |= outgoing.flags;
  header.payload_bytes = static_cast<std::uint32_t>(outgoing.payload.size());
  header.sequence = send_.next_number();
  send_.advance();
  ++statistics_.frames_sent;
  statistics_.bytes_sent += outgoing.payload.size();
  if (header.sequence <= handed_) ++statistics_.replays;
  handed_ = std::max(handed_, header.sequence);
  if (retransmit_at_ == never) retransmit_at_ = after(now, retransmit_after_);
  return {header, outgoing.payload};
}

FrameHeader LinkCore::acknowledging_header(FrameType type) {
  FrameHeader header;
  header.type = type;
  if (is_replay_request_due_) header.flags = frame_flag::replay_wanted;
  header.acknowledged = receive_.received();
  is_ack_due_ = is_replay_request_due_ = false;
  unacknowledged_bytes_ = unacknowledged_frames_ = 0;
  acknowledge_at_ = never;
  return header;
}

// --- Clock ---

TimePoint LinkCore::next_deadline() const {
  const LinkTimings& timings = config_.timings;
  TimePoint deadline = never;
  if (state_ != LinkState::down) deadline = after(last_heard_, timings.give_up_after);
  if (!is_connected_) return deadline;
  if (!is_established_) {
    return std::min({deadline, repeat_hello_at_, after(connected_at_, timings.reconnect_after)});
  }
  deadline = std::min(
      {deadline, acknowledge_at_, retransmit_at_, after(last_heard_, timings.reconnect_after)});
  if (state_ == LinkState::up) {
    deadline = std::min(deadline, after(last_heard_, timings.suspect_after));
  }
  if (!is_ping_due_) deadline = std::min(deadline, after(last_sent_, timings.heartbeat_interval));
  return deadline;
}

Result<void> LinkCore::on_tick(TimePoint now) {
  // If this node itself slept through its deadline, the peer's signs of life wait unread: that time
  // is not held against the peer.
  const TimePoint deadline = next_deadline();
  if (deadline < now && now - deadline > config_.timings.heartbeat_interval) {
    last_heard_ += now - deadline;
  }
  auto result = watch(now);
  if (!result) {
    on_disconnected();
    return result;
  }
  if (now >= repeat_hello_at_) {
    is_hello_due_ = true;
    repeat_hello_at_ = never;
  }
  if (now >= acknowledge_at_) {
    is_ack_due_ = true;
    acknowledge_at_ = never;
  }
  if (is_established_ && now >= after(last_sent_, config_.timings.heartbeat_interval)) {
    is_ping_due_ = true;
  }
  if (now >= retransmit_at_) {
    retransmit_after_ = std::min(retransmit_after_ * 2, config_.timings.retransmit_after_max);
    rewind();
  }
  return {};
}

Result<void> LinkCore::watch(TimePoint now) {
  const LinkTimings& timings = config_.timings;
  if (state_ != LinkState::down && now >= after(last_heard_, timings.give_up_after)) {
    give_up();
    // A hello with the old session may be on its way: this connection must not be used for another.
    if (is_connected_) return fail(Errc::unreachable, "the link was given up");
    return {};
  }
  if (!is_connected_) return {};
  if (!is_established_) {
    if (now < after(connected_at_, timings.reconnect_after)) return {};
    return fail(Errc::unreachable, "no hello came");
  }
  if (now >= after(last_heard_, timings.reconnect_after)) {
    return fail(Errc::unreachable, "the peer is silent");
  }
  if (state_ == LinkState::up && now >= after(last_heard_, timings.suspect_after)) {
    set_state(LinkState::suspect);
  }
  return {};
}

}  // namespace dvk::core

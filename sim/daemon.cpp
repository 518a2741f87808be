#include "sim/daemon.hpp"

#include <cstring>

#include <fmt/format.h>

#include "sim/process.hpp"

namespace sim {

using dvk::core::LinkEvent;
using dvk::core::LinkState;
using dvk::core::SessionCause;
using dvk::wire::NodeMessageForm;
using dvs::Errc;

namespace {

dvk::core::LinkCoreConfig link_config(Context& context, NodeId self, NodeId peer, std::uint8_t lane,
                                      std::uint64_t boot) {
  const bool is_ordered =
      (lane == bulk_lane ? context.scenario.bulk_lane : context.scenario.message_lane).is_ordered;
  dvk::core::LinkCoreConfig config;
  config.self = self;
  config.peer = peer;
  config.lane = lane;
  config.boot = boot;
  config.nonce_seed = context.random.next();
  config.retained_bytes_max = context.scenario.retained_bytes_max;
  config.timings = context.scenario.link;
  if (is_ordered) config.timings.retransmit_after = Duration::max();
  return config;
}

dvs::Bytes with_form(NodeMessageForm form, dvs::BytesView head, dvs::BytesView payload) {
  dvs::Bytes bytes;
  bytes.reserve(1 + head.size() + payload.size());
  bytes.push_back(static_cast<std::byte>(form));
  bytes.insert(bytes.end(), head.begin(), head.end());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

template <class T>
dvs::BytesView bytes_of(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof(value)};
}

}  // namespace

Daemon::Daemon(Context& context, Machine& machine, Network& network, std::uint64_t boot)
    : context_(context),
      machine_(machine),
      boot_(boot),
      core_(machine.id, *this, context.policy),
      tick_alarm_(context.scheduler, [this] { tick(); }),
      work_alarm_(context.scheduler, [this] { work(); }) {
  context_.record({.what = Happening::node_started, .node = dvs::raw(machine.id), .a = boot});
  for (const NodeId peer : network.nodes()) {
    if (peer == machine.id) continue;
    for (const std::uint8_t lane : {message_lane, bulk_lane}) {
      links_[peer].lanes[lane] =
          std::make_unique<Lane>(context, network.wire(machine.id, peer, lane), *this,
                                 machine.clock, link_config(context, machine.id, peer, lane, boot));
    }
  }
  settle();
}

void Daemon::kill() {
  is_dead_ = true;
  context_.record({.what = Happening::node_killed, .node = dvs::raw(machine_.id)});
  tick_alarm_.clear();
  work_alarm_.clear();
  for (auto& [peer, link] : links_) {
    for (auto& lane : link.lanes) lane->stop();
  }
  for (auto& [handle, attached] : attached_) {
    attached.attachment->to_daemon.close();
    attached.attachment->ring_to_daemon.close();
  }
}

bool Daemon::is_settled(const std::vector<NodeId>& others) const {
  for (const NodeId peer : others) {
    if (peer == machine_.id) continue;
    const Link& link = links_.at(peer);
    if (!link.lanes[0]->is_settled() || !link.lanes[1]->is_settled()) return false;
  }
  return true;
}

// --- Every event ends here ---

void Daemon::settle() {
  if (daemon_ready_at() > context_.now()) return;
  report_unreachable();
  for (auto& [peer, link] : links_) {
    for (auto& lane : link.lanes) {
      if (lane != nullptr) lane->pump();
    }
  }
  tick_alarm_.set(machine_.clock.world(core_.next_deadline()));
  if (!work_alarm_.is_set()) work_alarm_.set(context_.now() + context_.local_delay());
}

void Daemon::tick() {
  if (const Instant ready = daemon_ready_at(); ready > context_.now()) {
    return tick_alarm_.set(ready);
  }
  core_.on_tick(now());
  settle();
}

void Daemon::work() {
  if (const Instant ready = daemon_ready_at(); ready > context_.now()) {
    return work_alarm_.set(ready);
  }
  const bool has_more = core_.work();
  report_unreachable();
  for (auto& [peer, link] : links_) {
    for (auto& lane : link.lanes) lane->pump();
  }
  tick_alarm_.set(machine_.clock.world(core_.next_deadline()));
  if (has_more) work_alarm_.set(context_.now() + context_.local_delay());
}

void Daemon::install_view(const dvk::node::View& view) {
  core_.install_view(view, now());
  settle();
}

void Daemon::on_node_lost(NodeId node) {
  core_.on_node_lost(node, now());
  settle();
}

// --- Links ---

Lane* Daemon::lane_to(NodeId node, std::uint8_t lane) {
  const auto found = links_.find(node);
  return found == links_.end() ? nullptr : found->second.lanes[lane].get();
}

// What daemons tell each other about endpoints, for whoever reads a trace.
void Daemon::remark(NodeId peer, dvs::BytesView payload) {
  if (payload.empty() || payload[0] != static_cast<std::byte>(NodeMessageForm::control)) return;
  const auto message = dvk::wire::decode_variant<dvk::wire::NodeMessage>(payload.subspan(1));
  if (!message) return;
  TraceEvent event{.when = context_.now(),
                   .what = Happening::node_message,
                   .node = dvs::raw(machine_.id),
                   .a = dvs::raw(peer),
                   .b = message->index()};
  std::visit(
      [&](const auto& body) {
        if constexpr (requires {
                        body.from;
                        body.to;
                      })
          event.from = body.from, event.to = body.to;
        if constexpr (requires { body.who; }) event.from = body.who;
        if constexpr (requires { body.address; }) event.from = body.address;
        if constexpr (requires { body.entry; }) event.from = body.entry.address;
        if constexpr (requires { body.status; }) event.c = static_cast<std::uint64_t>(body.status);
        if constexpr (requires { body.error; }) event.c = static_cast<std::uint64_t>(body.error);
      },
      *message);
  context_.trace.remark(event);
}

void Daemon::on_lane_message(NodeId peer, std::uint8_t, dvs::BytesView payload) {
  if (context_.trace.takes_remarks()) remark(peer, payload);
  if (const auto result = core_.on_node_message(peer, payload, now()); !result) {
    context_.judge.fail("protocol", fmt::format("node {} to node {}: {}", dvs::raw(peer),
                                                dvs::raw(machine_.id), to_string(result.error())));
  }
}

void Daemon::on_lane_event(NodeId peer, std::uint8_t lane, const LinkEvent& event) {
  switch (event.kind) {
    case LinkEvent::Kind::new_session: return on_session(peer, lane, event);
    case LinkEvent::Kind::state_changed:
      if (event.state != LinkState::down) return;
      context_.calls.disrupted();
      for (auto& each : links_[peer].lanes) each->drop_waiting();
      return core_.on_link_down(peer, now());
    case LinkEvent::Kind::room_available:
      if (lane == bulk_lane) core_.on_bulk_room(peer, now());
      return;
  }
}

void Daemon::on_session(NodeId peer, std::uint8_t lane, const LinkEvent& event) {
  if (event.cause != SessionCause::first) context_.calls.disrupted();
  Link& link = links_[peer];
  const dvk::core::PeerLife::News news = lane == message_lane
                                             ? link.life.on_message_session(event.cause)
                                             : link.life.on_bulk_session(event.cause);
  if (news.must_cut_bulk) link.lanes[bulk_lane]->reset_connection();
  if (news.is_up) core_.on_link_up(peer, news.has_restarted, now());
}

// --- Output: processes ---

Attachment& Daemon::attach(Process& process, dvs::ContainerId container, std::uint32_t uid) {
  const Handle handle{++machine_.handles};
  Attached& attached = attached_[handle];
  attached.attachment = std::make_unique<Attachment>(
      context_, handle, container, uid, process,
      Channel<ToDaemonItem>::Receiver{
          .ready_at = [this] { return daemon_ready_at(); },
          .deliver = [this, &attached](ToDaemonItem&& i) { on_socket(attached, std::move(i)); }},
      Channel<RingRecord>::Receiver{
          .ready_at = [this] { return daemon_ready_at(); },
          .deliver = [this, &attached](RingRecord&& r) { on_ring(attached, std::move(r)); },
          .on_room = [&process] { process.on_daemon_ring_room(); }},
      Channel<ToProcessItem>::Receiver{
          .ready_at = [&process] { return process.ready_at(); },
          .deliver = [&process](ToProcessItem&& i) { process.on_daemon_message(std::move(i)); }},
      Channel<RingRecord>::Receiver{
          .ready_at = [&process] { return process.ready_at(); },
          .deliver = [&process](RingRecord&& r) { process.on_daemon_packet(std::move(r)); },
          .on_room = [this, &attached] { push_results(attached); }});
  return *attached.attachment;
}

void Daemon::on_socket(Attached& attached, ToDaemonItem&& item) {
  Attachment& attachment = *attached.attachment;
  if (!item.message) {
    attachment.ring_to_daemon.close();
    attachment.to_process.close();
    core_.on_process_closed(attachment.handle, now());
    return settle();
  }
  Address peer{};
  if (const auto* query = std::get_if<dvk::wire::RouteQuery>(&*item.message)) peer = query->peer;
  context_.record({.what = Happening::process_message,
                   .node = dvs::raw(machine_.id),
                   .from = attached.address,
                   .to = peer,
                   .a = dvs::raw(attachment.handle),
                   .b = item.message->index()});
  if (const auto* hello = std::get_if<dvk::wire::Hello>(&*item.message)) {
    core_.on_hello(attachment.handle, attachment.container, attachment.uid, *hello, now());
  } else {
    core_.on_process_message(attachment.handle, *item.message, item.state, now());
  }
  settle();
}

void Daemon::on_ring(Attached& attached, RingRecord&& record) {
  core_.on_process_packet(attached.attachment->handle, record.header, record.payload, now());
  settle();
}

void Daemon::to_process(Handle handle, const dvk::wire::ToProcess& message, dvs::BytesView state) {
  const auto found = attached_.find(handle);
  if (found == attached_.end()) return;
  Attached& attached = found->second;
  if (const auto* welcome = std::get_if<dvk::wire::Welcome>(&message)) {
    attached.address = welcome->address;
    attached.attachment->process.on_given(welcome->address);
  } else if (const auto* promoted = std::get_if<dvk::wire::Promoted>(&message)) {
    attached.address = promoted->address;
    attached.attachment->process.on_given(promoted->address);
  }
  attached.attachment->to_process.push({message, dvs::to_bytes(state), nullptr});
}

bool Daemon::to_ring(Handle handle, const dvk::wire::PacketHeader& header, dvs::BytesView payload) {
  const auto found = attached_.find(handle);
  if (found == attached_.end()) return false;
  Attached& attached = found->second;
  RingRecord record{header, dvs::to_bytes(payload)};
  if (header.kind == dvk::wire::PacketKind::copy_result) {
    attached.results.push_back(std::move(record));
    push_results(attached);
    return true;
  }
  const std::size_t bytes = record.bytes();
  const bool is_dropped =
      !context_.is_healed && context_.random.permille(context_.scenario.faults.ring_drop_permille);
  if (!is_dropped && attached.attachment->ring_to_process.push(std::move(record), bytes)) {
    return true;
  }
  context_.record({.what = Happening::packet_dropped,
                   .node = dvs::raw(machine_.id),
                   .from = header.source(),
                   .to = header.target(),
                   .a = static_cast<std::uint64_t>(header.kind),
                   .b = header.sequence});
  return false;
}

void Daemon::push_results(Attached& attached) {
  while (!attached.results.empty()) {
    const RingRecord& first = attached.results.front();
    if (!attached.attachment->ring_to_process.push(first, first.bytes())) return;
    attached.results.pop_front();
  }
}

void Daemon::open_ring(Handle first, Handle second, bool is_trusted) {
  const auto a = attached_.find(first), b = attached_.find(second);
  if (a == attached_.end() || b == attached_.end()) return;
  Attachment& one = *a->second.attachment;
  Attachment& two = *b->second.attachment;
  const auto ring =
      std::make_shared<PeerRing>(context_, one.process.library(), two.process.library());
  const auto tell = [&](Attachment& to, const Address& peer) {
    dvk::wire::Route route{.peer = peer, .kind = dvk::wire::RouteKind::ring};
    route.node = machine_.id;
    route.is_trusted = is_trusted;
    to.to_process.push({route, {}, ring});
  };
  tell(one, b->second.address);
  tell(two, a->second.address);
}

// --- Output: nodes ---

void Daemon::to_node(NodeId node, const dvk::wire::NodeMessage& message) {
  send_control(node, message_lane, message);
}

void Daemon::send_control(NodeId node, std::uint8_t lane, const dvk::wire::NodeMessage& message) {
  Lane* link = lane_to(node, lane);
  if (link == nullptr || !link->send_control(dvk::wire::encode_node_message(message))) {
    unreachable_.insert(node);
  }
}

// What the core then sends to say so may fail in the same way, once.
void Daemon::report_unreachable() {
  std::set<NodeId> told;
  for (auto nodes = std::exchange(unreachable_, {}); !nodes.empty();
       nodes = std::exchange(unreachable_, {})) {
    for (const NodeId node : nodes) {
      if (told.insert(node).second) core_.on_link_down(node, now());
    }
  }
}

bool Daemon::packet_to_node(NodeId node, const dvk::wire::PacketHeader& header,
                            dvs::BytesView payload) {
  Lane* lane = lane_to(node, message_lane);
  const bool is_dropped =
      !context_.is_healed && context_.random.permille(context_.scenario.faults.lane_drop_permille);
  const bool is_sent = lane != nullptr && !is_dropped &&
                       lane->send(with_form(NodeMessageForm::packet, bytes_of(header), payload));
  if (!is_sent) {
    context_.record({.what = Happening::packet_dropped,
                     .node = dvs::raw(machine_.id),
                     .from = header.source(),
                     .to = header.target(),
                     .a = static_cast<std::uint64_t>(header.kind),
                     .b = header.sequence});
  }
  return is_sent;
}

bool Daemon::has_bulk_room(NodeId node) {
  const Lane* lane = lane_to(node, bulk_lane);
  return lane != nullptr && lane->has_room();
}

void Daemon::copy_start_to_node(NodeId node, const dvk::wire::CopyStart& start) {
  send_control(node, bulk_lane, start);
}

void Daemon::send_pieces(NodeId node, std::span<dvk::node::PieceToSend> pieces) {
  Lane* lane = lane_to(node, bulk_lane);
  dvs::Bytes message(1, static_cast<std::byte>(NodeMessageForm::copy_data));
  for (auto& piece : pieces) {
    const auto range = memory_of(piece.from, piece.head.bytes, false);
    piece.result = !range            ? std::unexpected(range.error())
                   : lane == nullptr ? dvs::fail(Errc::unreachable)
                                     : dvs::Result<void>();
    if (!piece.result) continue;
    std::ranges::copy(bytes_of(piece.head), std::back_inserter(message));
    std::ranges::copy(*range, std::back_inserter(message));
  }
  // has_bulk_room was asked before, so this is refused only when the link is down.
  if (message.size() > 1) lane->send(std::move(message));
}

dvs::Result<std::span<std::byte>> Daemon::memory_of(const dvk::node::MemoryPlace& place,
                                                    std::size_t bytes, bool is_write) {
  const auto found = attached_.find(place.owner);
  if (found == attached_.end()) return dvs::fail(Errc::peer_died);
  Memory* memory = found->second.attachment->process.memory();
  if (memory == nullptr) return dvs::fail(Errc::peer_died);
  return memory->range(found->second.address, place.orderer, place.side.grant,
                       place.side.offset + place.position, bytes, is_write);
}

dvs::Result<void> Daemon::read_memory(const dvk::node::MemoryPlace& place,
                                      std::span<std::byte> into) {
  DVS_TRY(const std::span<std::byte> range, memory_of(place, into.size(), false));
  std::ranges::copy(range, into.begin());
  return {};
}

void Daemon::write_pieces(std::span<dvk::node::PieceToWrite> pieces) {
  for (auto& piece : pieces) {
    const auto range = memory_of(piece.to, piece.bytes.size(), true);
    if (range) std::ranges::copy(piece.bytes, range->begin());
    piece.result = range ? dvs::Result<void>() : std::unexpected(range.error());
  }
}

}  // namespace sim

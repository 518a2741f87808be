#include "sim/wire.hpp"

#include <algorithm>
#include <memory>

namespace sim {
namespace {

using std::chrono::milliseconds;

}  // namespace

Wire::Wire(Context& context, NodeId low, NodeId high, std::uint8_t lane,
           const LaneCharacter& character)
    : context_(context),
      lane_(lane),
      character_(character),
      dial_alarm_(context.scheduler, [this] { dial(); }) {
  ends_[0].node = low;
  ends_[1].node = high;
  for (End& end : ends_) {
    end.alarm = std::make_unique<Alarm>(context.scheduler, [this, &end] { deliver(end); });
  }
}

void Wire::bind(NodeId node, WireEnd& end) {
  end_of(node).daemon = &end;
  dial_alarm_.set_by(context_.now() + context_.random.between(milliseconds(1), milliseconds(50)));
}

void Wire::unbind(NodeId node) {
  End& end = end_of(node);
  const std::uint64_t connection = end.attached;
  detach(end, false);
  end.daemon = nullptr;
  if (context_.random.one_in(2)) notice_loss(other(end), connection);
}

// --- Connections ---

void Wire::dial() {
  if (ends_[0].daemon == nullptr || ends_[1].daemon == nullptr || is_connected()) return;
  if (is_cut()) return dial_alarm_.set(cut_until_ + milliseconds(1));
  const std::uint64_t connection = ++connection_;
  for (End& end : ends_) {
    const Duration delay = context_.random.between(Duration::zero(), 2 * character_.delay.most);
    context_.scheduler.after(delay, [this, &end, connection] { attach(end, connection); });
  }
}

void Wire::attach(End& end, std::uint64_t connection) {
  if (end.daemon == nullptr || connection != connection_) {
    // The other side waits for nothing: whoever comes next will replace this connection.
    return dial_alarm_.set_by(context_.now() + milliseconds(20));
  }
  std::erase_if(end.inbox, [&](const auto& item) { return item.second.connection != connection; });
  end.attached = connection;
  end.in_flight = end.inbox.size();
  context_.record({.what = Happening::wire_connected,
                   .node = dvs::raw(end.node),
                   .a = dvs::raw(other(end).node),
                   .b = lane_,
                   .c = connection});
  end.daemon->on_connected();
  if (!end.inbox.empty()) end.alarm->set(end.inbox.begin()->first);
}

void Wire::detach(End& end, bool tells_daemon) {
  if (end.attached == 0) return;
  context_.record({.what = Happening::wire_closed,
                   .node = dvs::raw(end.node),
                   .a = dvs::raw(other(end).node),
                   .b = lane_,
                   .c = end.attached});
  end.attached = 0;
  end.inbox.clear();
  end.in_flight = 0;
  end.last_arrival = {};
  if (tells_daemon && end.daemon != nullptr) end.daemon->on_disconnected();
  dial_alarm_.set_by(context_.now() + context_.random.about(milliseconds(50)));
}

// The end hears of the loss, a little later, unless the cable is cut meanwhile.
void Wire::notice_loss(End& end, std::uint64_t connection) {
  const Duration delay = context_.random.between(character_.delay.least, 2 * character_.delay.most);
  context_.scheduler.after(delay, [this, &end, connection] {
    if (!is_cut() && connection != 0 && end.attached == connection) detach(end, true);
  });
}

void Wire::close(NodeId node) {
  End& end = end_of(node);
  const std::uint64_t connection = end.attached;
  detach(end, false);
  notice_loss(other(end), connection);
}

void Wire::break_off() {
  for (End& end : ends_) {
    const std::uint64_t connection = end.attached;
    const Duration delay = context_.random.between(Duration::zero(), 2 * character_.delay.most);
    context_.scheduler.after(delay, [this, &end, connection] {
      if (connection != 0 && end.attached == connection) detach(end, true);
    });
  }
}

void Wire::cut(Duration how_long) {
  cut_until_ = std::max(cut_until_, context_.now() + how_long);
}

void Wire::heal() {
  cut_until_ = {};
  character_.lost_permille = character_.doubled_permille = character_.delayed_permille = 0;
  dial_alarm_.set_by(context_.now() + milliseconds(1));
}

// --- Frames ---

bool Wire::has_room(NodeId sender) const {
  const End& to = ends_[sender == ends_[0].node ? 1 : 0];
  return to.in_flight < character_.in_flight_max;
}

void Wire::send(NodeId sender, const dvk::wire::Frame& frame) {
  End& from = end_of(sender);
  End& to = other(from);
  if (from.attached == 0) return;
  if (frame.header.type == dvk::wire::FrameType::data ||
      frame.header.type == dvk::wire::FrameType::ack) {
    ++context_.data_frames;
  }
  const bool is_lost = context_.random.permille(character_.lost_permille);
  if (is_lost || (is_cut() && !character_.is_ordered)) {
    context_.record({.what = Happening::frame_lost,
                     .node = dvs::raw(to.node),
                     .a = dvs::raw(from.node),
                     .b = std::uint64_t{lane_} << 8 | static_cast<std::uint64_t>(frame.header.type),
                     .c = frame.header.sequence});
    return;
  }
  Travelling travelling{from.attached, frame.header, dvs::to_bytes(frame.payload)};
  if (context_.random.permille(character_.doubled_permille)) post(to, travelling);
  post(to, std::move(travelling));
}

void Wire::post(End& to, Travelling frame) {
  if (frame.connection < to.attached || frame.connection < connection_) return;
  Instant arrival =
      context_.now() + context_.random.between(character_.delay.least, character_.delay.most);
  // What is on the way while the cable is cut arrives later: TCP repeats it.
  if (is_cut()) arrival = std::max(arrival, cut_until_ + character_.delay.least);
  arrival = std::max(arrival, to.last_arrival);
  if (context_.random.permille(character_.delayed_permille)) {
    arrival += context_.random.about(4 * character_.delay.most);
  } else {
    to.last_arrival = arrival;
  }
  ++to.in_flight;
  to.inbox.emplace(arrival, std::move(frame));
  if (to.attached != 0) to.alarm->set(to.inbox.begin()->first);
}

void Wire::deliver(End& end) {
  while (!end.inbox.empty() && end.attached != 0) {
    const auto first = end.inbox.begin();
    const Instant when = std::max(first->first, end.daemon->ready_at());
    if (when > context_.now()) return end.alarm->set(when);
    const Travelling frame = std::move(first->second);
    end.inbox.erase(first);
    --end.in_flight;
    if (frame.connection != end.attached) continue;
    context_.record({.what = Happening::frame_arrived,
                     .node = dvs::raw(end.node),
                     .a = dvs::raw(other(end).node),
                     .b = std::uint64_t{lane_} << 8 | static_cast<std::uint64_t>(frame.header.type),
                     .c = frame.header.sequence});
    End& sender = other(end);
    const bool was_full = end.in_flight + 1 == character_.in_flight_max;
    end.daemon->on_frame(frame.header, frame.payload);
    if (was_full && sender.attached == frame.connection) sender.daemon->on_writable();
  }
}

}  // namespace sim

#include "dvk/core/conversation.hpp"

#include <algorithm>

namespace dvk::core {

Conversation::Conversation(const Address& self, const Address& peer, const Limits& limits)
    : self_(self),
      peer_(peer),
      limits_(limits),
      credit_(limits.window_cost),
      replay_after_(limits.replay_after),
      advertised_credit_(limits.window_cost) {}

bool Conversation::has_room(std::size_t payload_bytes) const {
  return retained_cost_ == 0 || retained_cost_ + cost_of(payload_bytes) <= limits_.send_queue_cost;
}

Result<void> Conversation::submit(PacketKind kind, std::uint64_t token, Bytes payload) {
  if (wire::uses_credit(kind)) {
    if (!has_room(payload.size())) return dvs::fail(Errc::queue_full);
    retained_cost_ += cost_of(payload.size());
    waiting_.push_back({kind, token, std::move(payload)});
    promote_waiting();
  } else {
    window_.push({kind, token, std::move(payload)});
  }
  return {};
}

void Conversation::notify(std::uint64_t bits) {
  pending_bits_ |= bits;
  promote_notify();
}

bool Conversation::withdraw_request(std::uint64_t token) {
  const auto found = std::ranges::find_if(waiting_, [&](const Outgoing& outgoing) {
    return outgoing.kind == PacketKind::request && outgoing.token == token;
  });
  if (found == waiting_.end()) return false;
  retained_cost_ -= cost_of(found->payload.size());
  waiting_.erase(found);
  promote_waiting();  // what waited behind it may be smaller
  return true;
}

// Gives numbers to what the peer's credit covers.
void Conversation::promote_waiting() {
  while (!waiting_.empty()) {
    const std::uint64_t cost = cost_of(waiting_.front().payload.size());
    if (sent_cost_ + cost > credit_) return;
    sent_cost_ += cost;
    window_.push(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void Conversation::promote_notify() {
  if (pending_bits_ == 0 || notify_number_ != 0) return;
  notify_number_ = window_.push({PacketKind::notify, std::exchange(pending_bits_, 0), {}});
}

void Conversation::set_path(PathKind path) {
  path_ = path;
  window_.rewind();
  replay_at_ = dvs::never;
  replay_after_ = limits_.replay_after;
  is_probe_due_ = false;
  // What the old path carried of acknowledgements and credit may be lost with it; and a peer that
  // had given us up learns that there is a way again.
  if (has_begun()) acknowledge_by(TimePoint::min());
}

void Conversation::fill_header(PacketHeader& header) const {
  header.set_source(self_);
  header.set_target(peer_);
  header.epoch = epoch_;
  const Acknowledgement ours = acknowledgement();
  header.acknowledged_epoch = ours.epoch;
  header.acknowledged = ours.number;
  header.credit = ours.credit;
}

Acknowledgement Conversation::acknowledgement() const {
  return {peer_epoch_, received_.received(), released_cost_ + limits_.window_cost};
}

bool Conversation::flush(Carrier& carrier, TimePoint now) {
  if (path_ == PathKind::none) return true;
  while (const Outgoing* outgoing = window_.next()) {
    PacketHeader header;
    fill_header(header);
    header.kind = outgoing->kind;
    header.token = outgoing->token;
    header.sequence = window_.next_number();
    header.payload_bytes = static_cast<std::uint32_t>(outgoing->payload.size());
    if (!carrier.transmit(peer_, header, outgoing->payload)) return false;
    handed_ = std::max(handed_, header.sequence);
    window_.advance();
    note_acknowledged(header);
    if (path_ == PathKind::lossy && replay_at_ == dvs::never) replay_at_ = now + replay_after_;
  }
  if (is_probe_due_ && !flush_probe(carrier)) return false;
  if (path_ == PathKind::lossy && is_starved() && replay_at_ == dvs::never) {
    replay_at_ = now + replay_after_;
  }
  return acknowledge_at_ > now || flush_acknowledgement(carrier);
}

// The acknowledgement rode on a packet. A lossless path has its own place for it.
void Conversation::note_acknowledged(const PacketHeader& header) {
  if (path_ != PathKind::lossy) return;
  acknowledgements_owed_ = 0;
  acknowledge_at_ = dvs::never;
  advertised_credit_ = header.credit;
}

// The packet that brought the credit may be lost, and nothing else would come: a number that the
// peer has had makes it acknowledge again.
bool Conversation::flush_probe(Carrier& carrier) {
  if (is_starved()) {
    PacketHeader header;
    fill_header(header);
    header.kind = PacketKind::notify;
    header.sequence = window_.first_number() - 1;
    if (!carrier.transmit(peer_, header, {})) return false;
    note_acknowledged(header);
  }
  is_probe_due_ = false;
  return true;
}

bool Conversation::flush_acknowledgement(Carrier& carrier) {
  const Acknowledgement ours = acknowledgement();
  if (path_ == PathKind::lossless) {
    carrier.publish(peer_, ours);
  } else {
    PacketHeader header;
    fill_header(header);
    header.kind = PacketKind::ack;
    if (!carrier.transmit(peer_, header, {})) return false;
  }
  advertised_credit_ = ours.credit;
  acknowledgements_owed_ = 0;
  acknowledge_at_ = dvs::never;
  return true;
}

bool Conversation::receive(const PacketHeader& header, TimePoint now) {
  on_acknowledgement({header.acknowledged_epoch, header.acknowledged, header.credit}, now);
  if (header.kind == PacketKind::ack || header.epoch < peer_epoch_) return false;
  if (header.epoch > peer_epoch_) {
    peer_epoch_ = header.epoch;
    received_.restart_after(0);
    received_cost_ = released_cost_ = 0;
    advertised_credit_ = limits_.window_cost;
  }
  const std::uint64_t cost = wire::uses_credit(header.kind) ? cost_of(header.payload_bytes) : 0;
  // A peer that keeps to its credit never gets here with too much. Another one is not heard; nor is
  // one that begins epoch after epoch while what it sent in older ones lies untaken.
  const bool is_over_credit = received_cost_ + cost > released_cost_ + limits_.window_cost;
  const bool is_hoarding = held_cost_ + cost > 4 * limits_.window_cost;
  const bool is_next = header.sequence == received_.received() + 1;
  if (is_next && cost != 0 && (is_over_credit || is_hoarding)) return false;
  if (received_.offer(header.sequence) != ReceiveWindow::Verdict::accept) {
    acknowledge_by(now);  // its idea of what we have is wrong: tell it
    return false;
  }
  held_cost_ += cost;
  received_cost_ += cost;
  ++acknowledgements_owed_;
  const bool is_due =
      path_ == PathKind::lossless || acknowledgements_owed_ >= limits_.acknowledge_every;
  acknowledge_by(is_due ? now : now + limits_.acknowledge_delay);
  return true;
}

void Conversation::on_acknowledgement(const Acknowledgement& theirs, TimePoint now) {
  // Acknowledges what was never sent: harms only its own conversation.
  if (theirs.epoch != epoch_ || theirs.number > handed_) return;
  const bool was_starved = is_starved();
  const std::uint64_t first_before = window_.first_number();
  const bool is_known = window_.acknowledge(theirs.number, [&](const Outgoing& outgoing) {
    if (wire::uses_credit(outgoing.kind)) retained_cost_ -= cost_of(outgoing.payload.size());
  });
  DVS_ASSERT(is_known);
  if (window_.first_number() != first_before) {
    replay_after_ = limits_.replay_after;
    replay_at_ = path_ == PathKind::lossy && window_.in_flight() ? now + replay_after_ : dvs::never;
    if (notify_number_ != 0 && theirs.number >= notify_number_) notify_number_ = 0;
    promote_notify();
  }
  if (theirs.credit > credit_) {
    credit_ = theirs.credit;
    promote_waiting();
  }
  if (was_starved && !is_starved()) {  // answered
    replay_after_ = limits_.replay_after;
    replay_at_ = dvs::never;
  }
}

void Conversation::release(std::uint32_t epoch, std::uint64_t cost, TimePoint now) {
  held_cost_ -= std::min(held_cost_, cost);
  if (epoch != peer_epoch_) return;
  released_cost_ += cost;
  const std::uint64_t credit = released_cost_ + limits_.window_cost;
  if (credit - advertised_credit_ >= limits_.window_cost / 4) acknowledge_by(now);
}

std::uint64_t Conversation::break_off() {
  std::uint64_t lost = pending_bits_ != 0 ? 1 : 0;
  const auto count = [&](const Outgoing& outgoing) {
    if (outgoing.kind == PacketKind::message || outgoing.kind == PacketKind::notify) ++lost;
  };
  std::ranges::for_each(window_.items(), count);
  std::ranges::for_each(waiting_, count);
  std::vector<Outgoing> replies;
  std::ranges::copy_if(window_.items(), std::back_inserter(replies),
                       [](const Outgoing& outgoing) { return outgoing.kind == PacketKind::reply; });
  ++epoch_;
  window_.restart_at(1);
  for (Outgoing& reply : replies) window_.push(std::move(reply));
  waiting_.clear();
  retained_cost_ = sent_cost_ = pending_bits_ = notify_number_ = handed_ = 0;
  credit_ = limits_.window_cost;
  is_probe_due_ = false;
  path_ = PathKind::none;
  replay_at_ = dvs::never;
  replay_after_ = limits_.replay_after;
  return lost;
}

TimePoint Conversation::next_deadline() const {
  return path_ == PathKind::none ? dvs::never : std::min(replay_at_, acknowledge_at_);
}

bool Conversation::on_tick(TimePoint now) {
  if (path_ == PathKind::none) return false;
  if (now >= replay_at_) {
    window_.rewind();
    is_probe_due_ = is_starved();
    replay_at_ = dvs::never;
    replay_after_ = std::min(replay_after_ * 2, limits_.replay_after_max);
    return true;
  }
  return now >= acknowledge_at_;
}

// One list of what travels with a moved endpoint, for both directions.
void Conversation::fields(auto&& field) {
  field(epoch_, sent_cost_, credit_, pending_bits_, notify_number_, handed_, peer_epoch_,
        held_cost_, received_cost_, released_cost_, is_watched, is_notify_queued);
}

void Conversation::save(wire::Writer& writer) {
  fields(writer);
  std::uint64_t first = window_.first_number(), received = received_.received();
  std::vector<Outgoing> numbered(window_.items().begin(), window_.items().end());
  std::vector<Outgoing> waiting(waiting_.begin(), waiting_.end());
  writer(first, received, numbered, waiting);
}

bool Conversation::load(wire::Reader& reader) {
  fields(reader);
  std::uint64_t first = 0, received = 0;
  std::vector<Outgoing> numbered, waiting;
  reader(first, received, numbered, waiting);
  constexpr std::uint64_t number_max = std::uint64_t{1} << 62;
  if (!reader.is_good() || first == 0 || first > number_max || received > number_max ||
      handed_ >= first + numbered.size()) {
    return false;
  }
  for (const auto* retained : {&numbered, &waiting}) {
    for (const Outgoing& outgoing : *retained) {
      if (wire::uses_credit(outgoing.kind)) retained_cost_ += cost_of(outgoing.payload.size());
    }
  }
  window_.restart_at(first);
  for (Outgoing& outgoing : numbered) window_.push(std::move(outgoing));
  window_.rewind();
  waiting_.assign(std::make_move_iterator(waiting.begin()), std::make_move_iterator(waiting.end()));
  received_.restart_after(received);
  advertised_credit_ = released_cost_ + limits_.window_cost;
  return true;
}

}  // namespace dvk::core

#include "sim/attachment.hpp"

namespace sim {

PeerRing::Side::Side(Context& the_context, PeerRing& the_ring, RingReader& the_reader,
                     RingReader& writer)
    : context(the_context),
      ring(the_ring),
      reader(the_reader),
      records(the_context.scheduler, the_context.random, the_context.scenario.local_delay,
              the_context.scenario.ring_bytes,
              {.ready_at = [this] { return ready_at(); },
               .deliver =
                   [this](RingRecord&& record) { reader.on_peer_packet(ring, std::move(record)); },
               .on_room = [&writer] { writer.on_ring_room(); }}),
      alarm(the_context.scheduler, [this] { show_words(); }) {}

void PeerRing::Side::show_words() {
  if (!words || records.is_closed()) return;
  const Instant ready = ready_at();
  if (ready > context.now()) return alarm.set(ready);
  const auto latest = *words;
  words.reset();
  reader.on_peer_words(ring, latest);
}

PeerRing::PeerRing(Context& context, RingReader& first, RingReader& second)
    : first_(context, *this, first, second), second_(context, *this, second, first) {}

bool PeerRing::push(const RingReader& sender, RingRecord record) {
  const std::size_t bytes = record.bytes();
  return from(sender).records.push(std::move(record), bytes);
}

void PeerRing::publish(const RingReader& sender, const dvk::core::Acknowledgement& words) {
  Side& side = from(sender);
  side.words = words;
  side.alarm.set_by(side.context.now() + side.context.local_delay());
}

void PeerRing::drain(const RingReader& reader) {
  to(reader).records.drain();
}

void PeerRing::open(const RingReader& reader) {
  Side& side = to(reader);
  side.is_open = true;
  side.records.retry();
  if (side.words) side.alarm.set_by(side.context.now());
}

void PeerRing::close(const RingReader& reader) {
  Side& side = to(reader);
  side.records.close();
  side.alarm.clear();
}

}  // namespace sim

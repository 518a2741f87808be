// Hostile entries in the log of the system group, and hostile snapshots.
//
// The input is a list of pieces: one byte says what a piece is, two how long it is. An entry is
// applied to two replicas, of which one was restored from a snapshot on the way; they must stay
// equal. A snapshot that is accepted must come out again as it went in.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "cluster/state/state.hpp"

namespace {

using namespace dvs::cluster;
using dvs::Bytes;
using dvs::BytesView;

void require(bool condition) {
  if (!condition) std::abort();
}

bool is_equal(BytesView left, BytesView right) {
  return left.size() == right.size() &&
         (left.empty() || std::memcmp(left.data(), right.data(), left.size()) == 0);
}

Limits small_limits() {
  Limits limits;
  limits.settings_bytes = 4096;
  limits.authorities = 4;
  limits.sessions = 3;
  limits.answers_per_session = 4;
  limits.history_events = 8;
  limits.history_bytes = 4096;
  return limits;
}

void check_snapshot(BytesView bytes) {
  auto restored = State::restore(bytes, small_limits());
  if (!restored) return;
  require(is_equal(restored->snapshot(), bytes));
  restored->apply(restored->applied() + 1, encode_proposal({ClientId{}, 0, OpenSession{}}));
}

// What decodes is encoded to the same bytes.
void check_codec(BytesView entry) {
  const auto proposal = decode_proposal(entry);
  if (proposal) require(is_equal(encode_proposal(*proposal), entry));
}

// A cluster of two nodes, so that most inputs get past the first checks.
std::uint64_t settle_in(State& state) {
  std::uint64_t index = 1;
  state.apply(index, encode_proposal({ClientId{}, 0, OpenSession{}}));
  for (const char* name : {"a", "b"}) {
    const Join join{name, "h:1", {}, BootId{7}, NodeRole::voter};
    const std::uint64_t sequence = index;
    require(state.apply(++index, encode_proposal({ClientId{1}, sequence, join})).is_done());
  }
  const ProposeView view{0, {dvs::NodeId{1}, dvs::NodeId{2}}};
  require(state.apply(++index, encode_proposal({ClientId{}, 0, view})).is_done());
  return index;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView input(reinterpret_cast<const std::byte*>(data), size);
  State state(small_limits());
  State replica(small_limits());
  std::uint64_t index = settle_in(state);
  settle_in(replica);
  std::size_t offset = 0;
  while (size - offset >= 3) {
    const std::uint8_t kind = data[offset];
    const std::size_t length = data[offset + 1] | std::size_t{data[offset + 2]} << 8;
    offset += 3;
    const BytesView piece = input.subspan(offset, length < size - offset ? length : size - offset);
    offset += piece.size();
    if (kind % 8 == 0) {
      check_snapshot(piece);
      continue;
    }
    if (kind % 8 == 1) {
      auto restored = State::restore(replica.snapshot(), small_limits());
      require(restored.has_value());
      replica = *std::move(restored);
    }
    check_codec(piece);
    ++index;
    require(state.apply(index, piece) == replica.apply(index, piece));
  }
  require(is_equal(state.snapshot(), replica.snapshot()));
  return 0;
}

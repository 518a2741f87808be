// The whole state as bytes, and back.
//
// Layout: one byte version, then the fields of Image (codec.hpp), all lists in ascending order. A
// snapshot comes over the network or from a disk: every rule that commands keep is checked again,
// so what is restored could have come about.
#include <bit>
#include <cstring>
#include <utility>

#include "cluster/state/state.hpp"

namespace dvs::cluster {
namespace {

constexpr std::uint8_t snapshot_version = 1;

struct Image {
  std::uint64_t applied = 0;
  std::vector<SessionImage> sessions;
  std::vector<Setting> settings;
  std::uint32_t next_number = 0;
  std::vector<NodeId> skipped;
  std::vector<Node> nodes;
  View view;
  std::uint64_t forgotten_epoch = 0;
  std::vector<Authority> authorities;
  void fields(auto&& field) {
    field(applied, sessions, settings, next_number, skipped, nodes, view, forgotten_epoch,
          authorities);
  }
};

// Eight bytes at a time, each folded into the 128-bit product of what was and an odd constant, as
// wyhash does (Wang Yi, 2019).
std::uint64_t fold(std::uint64_t left, std::uint64_t right) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(left) * right;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t hash(BytesView bytes) {
  constexpr std::uint64_t first = 0xA0761D6478BD642FU, second = 0xE7037ED1A0B428DBU;
  std::uint64_t state = fold(bytes.size() ^ first, second);
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t taken = std::min(bytes.size(), sizeof(word));
    std::memcpy(&word, bytes.data(), taken);
    state = fold(word ^ first, state ^ second) + std::rotl(state, 23);
    bytes = bytes.subspan(taken);
  }
  return fold(state ^ first, second);
}

}  // namespace

Bytes State::snapshot() const {
  Image image;
  image.applied = applied_;
  image.sessions = sessions_.image();
  image.settings = settings_.image();
  image.next_number = roster_.next_number();
  image.skipped = roster_.skipped();
  image.nodes = roster_.image();
  image.view = roster_.view();
  image.forgotten_epoch = authorities_.forgotten_epoch();
  image.authorities = authorities_.range("");
  Bytes bytes;
  dvk::wire::Writer writer(bytes);
  std::uint8_t version = snapshot_version;
  writer(version, image);
  return bytes;
}

Result<State> State::restore(BytesView snapshot, const Limits& limits) {
  if (snapshot.empty()) return fail(Errc::protocol_violation, "empty snapshot");
  const auto version = static_cast<std::uint8_t>(snapshot[0]);
  if (version != snapshot_version) {
    return fail(Errc::version_mismatch, "snapshot of version " + std::to_string(version));
  }
  dvk::wire::Reader reader(snapshot.subspan(1));
  Image image;
  reader(image);
  if (!reader.is_complete() || image.applied >= count_max) {
    return fail(Errc::protocol_violation, "malformed snapshot");
  }
  State state(limits);
  state.applied_ = image.applied;
  DVS_CHECK(state.sessions_.restore(image.sessions, image.applied));
  DVS_CHECK(state.settings_.restore(std::move(image.settings), image.applied));
  DVS_CHECK(state.roster_.restore(image.next_number, image.skipped, image.nodes, image.view));
  DVS_CHECK(state.authorities_.restore(image.forgotten_epoch, image.authorities, image.view));
  state.history_ = EventHistory(limits, image.applied);
  return state;
}

std::uint64_t State::fingerprint() const {
  return hash(snapshot());
}

}  // namespace dvs::cluster

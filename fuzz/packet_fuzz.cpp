// Packets from a hostile process or node: the decoder must never overreach, and what it accepts
// must be what encoding gives again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dvk/wire/packet.hpp"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dvs::BytesView bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto packet = dvk::wire::decode_packet(bytes);
  if (!packet) return 0;
  const auto& [header, payload] = *packet;
  require(payload.size() == header.payload_bytes && payload.size() <= dvk::wire::max_message_bytes);
  require(payload.data() + payload.size() == bytes.data() + bytes.size());
  const dvs::Bytes again = dvk::wire::encode_packet(header, payload);
  require(again.size() == size && std::memcmp(again.data(), data, size) == 0);
  return 0;
}

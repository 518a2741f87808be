// Hostile bytes on a link: the cutting into frames, the header and the hello.
//
// The first byte of the input says how the rest is cut into reads.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/assert.hpp"
#include "dvk/wire/frame.hpp"

namespace {

// Whatever is given out must be readable and within the announced bounds.
void examine(const dvk::wire::Frame& frame) {
  DVS_ASSERT(frame.payload.size() == frame.header.payload_bytes);
  DVS_ASSERT(frame.payload.size() <= dvk::wire::max_frame_payload);
  volatile unsigned sum = 0;
  for (const std::byte byte : frame.payload) sum = sum + static_cast<unsigned>(byte);
  if (frame.header.type != dvk::wire::FrameType::hello) return;
  const auto hello = dvk::wire::decode_hello(frame.payload);
  if (!hello) return;
  const auto again = dvk::wire::encode_hello(*hello);
  DVS_ASSERT(std::equal(again.begin(), again.end(), frame.payload.begin(), frame.payload.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = std::size_t{1} + data[0];
  dvs::BytesView rest{reinterpret_cast<const std::byte*>(data) + 1, size - 1};
  dvk::wire::FrameReader reader;
  while (!rest.empty()) {
    const auto space = reader.space();
    DVS_ASSERT(!space.empty());
    const std::size_t taken = std::min({rest.size(), space.size(), step * step});
    std::memcpy(space.data(), rest.data(), taken);
    reader.commit(taken);
    rest = rest.subspan(taken);
    for (;;) {
      const auto frame = reader.next();
      if (!frame) return 0;
      if (!*frame) break;
      examine(**frame);
    }
  }
  return 0;
}

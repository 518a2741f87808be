// What processes and daemons say on the attach socket, from a hostile other side: the decoder must
// never overreach, and what it accepts must be exactly what encoding gives again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dvk/wire/attach_message.hpp"

namespace {

using dvs::Bytes;
using dvs::BytesView;

void require(bool condition) {
  if (!condition) std::abort();
}

template <class Variant>
void check(BytesView bytes) {
  const auto message = dvk::wire::decode_variant<Variant>(bytes);
  if (!message) return;
  const Bytes again = dvk::wire::encode_variant(*message);
  require(again.size() == bytes.size() &&
          std::memcmp(again.data(), bytes.data(), bytes.size()) == 0);
}

template <class Fields>
void check_fields(BytesView bytes) {
  const auto fields = dvk::wire::decode_fields<Fields>(bytes);
  if (!fields) return;
  const Bytes again = dvk::wire::encode_fields(*fields);
  require(again.size() == bytes.size() &&
          std::memcmp(again.data(), bytes.data(), bytes.size()) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const BytesView bytes(reinterpret_cast<const std::byte*>(data), size);
  check<dvk::wire::ToDaemon>(bytes);
  check<dvk::wire::ToProcess>(bytes);
  check_fields<dvk::wire::CopyOrder>(bytes);
  check_fields<dvk::wire::CopyOutcome>(bytes);
  return 0;
}

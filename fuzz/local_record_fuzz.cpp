// The record of a local cluster and a line of /proc/PID/stat: any bytes are read or refused, and
// what was read is written and read again as the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.hpp"
#include "local/process.hpp"
#include "local/record.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)dvs::local::parse_process_line(input);
  const auto record = dvs::local::parse_record(input);
  if (!record) return 0;
  const std::string text = to_text(*record);
  const auto again = dvs::local::parse_record(text);
  DVS_ASSERT(again && to_text(*again) == text);
  return 0;
}

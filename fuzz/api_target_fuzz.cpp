// The target of a request to the HTTP API: any bytes are taken apart or refused, and a request with
// them finds a route or a problem.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/routes.hpp"
#include "api/target.hpp"
#include "api/test_source.hpp"
#include "base/assert.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  // The first line is the target, the rest the body.
  const std::size_t end = std::min(input.find('\n'), input.size());
  const std::string_view target = input.substr(0, end);
  const std::string_view body = input.substr(std::min(end + 1, input.size()));
  const auto parsed = dvs::api::parse_target(target);
  if (parsed) {
    DVS_ASSERT(!parsed->path.empty());
    for (const std::string& part : parsed->path) {
      for (const char c : part) DVS_ASSERT(static_cast<unsigned char>(c) >= 0x20);
    }
  }
  dvs::api::test::TestSource source;
  const dvs::api::EventLog events(1);
  for (const auto method : {dvs::api::Method::get, dvs::api::Method::post}) {
    const dvs::api::Reply reply =
        dvs::api::answer({source, events}, {.method = method, .target = target, .body = body});
    DVS_ASSERT(reply.status >= 200 && reply.status < 500);
    DVS_ASSERT(reply.events || !reply.body.empty());
  }
  return 0;
}

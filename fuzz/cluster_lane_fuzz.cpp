// What other nodes say on the lane of the cluster: rubbish is refused, streams stay bounded, and
// what is decoded is encoded to the same again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <boost/asio/co_spawn.hpp>

#include "base/assert.hpp"
#include "cluster/carrier/stream_carrier.hpp"
#include "cluster/node/lane_message.hpp"

namespace {

using namespace dvs;
using namespace dvs::cluster;

constexpr NodeId peer{2};

class Upper final : public StreamUpper {
 public:
  bool has_room(NodeId) override { return ++asked % 3 != 0; }
  void send(NodeId node, Bytes message) override {
    DVS_ASSERT(node == peer && message.size() >= sizeof(StreamHead));
  }
  void on_stream(NodeId from, dvs::runtime::Fd end) override {
    DVS_ASSERT(from == peer);
    ends.push_back(std::move(end));
    if (ends.size() > 4) ends.erase(ends.begin());
  }
  unsigned asked = 0;
  std::vector<dvs::runtime::Fd> ends;
};

void decode(BytesView bytes) {
  const auto hello = dvk::wire::decode_fields<Hello>(bytes);
  if (!hello) return;
  const Bytes again = dvk::wire::encode_fields(*hello);
  DVS_ASSERT(std::ranges::equal(again, bytes));
}

}  // namespace

// Pieces of the input, each with a byte for its length before it, are messages.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  BytesView input(reinterpret_cast<const std::byte*>(data), size);
  boost::asio::io_context io;
  Upper upper;
  StreamCarrier carrier(io, upper);
  while (!input.empty()) {
    const auto wanted = static_cast<std::size_t>(input[0]);
    input = input.subspan(1);
    const BytesView message = input.first(std::min(wanted, input.size()));
    input = input.subspan(message.size());
    (void)carrier.on_message(peer, message);
    DVS_ASSERT(carrier.stream_count() <= StreamCarrier::streams_max);
    decode(message);
    io.poll();
    io.restart();
  }
  carrier.on_session_end(peer);
  DVS_ASSERT(carrier.stream_count() == 0);
  bool is_stopped = false;
  boost::asio::co_spawn(io, carrier.stop(), [&](const std::exception_ptr&) { is_stopped = true; });
  while (!is_stopped) io.run_one();
  return 0;
}

// The frame decoder and the cutting of a byte stream into frames.
#include "dvk/wire/frame.hpp"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace dvk::wire {
namespace {

using dvs::Bytes;
using dvs::Errc;

template <class T>
void append(Bytes& out, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

FrameHeader data_header(std::uint64_t sequence, std::size_t payload_bytes) {
  FrameHeader header;
  header.type = FrameType::data;
  header.sequence = sequence;
  header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
  return header;
}

dvs::Result<FrameHeader> decode(const FrameHeader& header) {
  Bytes bytes;
  append(bytes, header);
  return decode_header(bytes);
}

TEST(FrameHeader, GoodOnesPassUnchanged) {
  const auto decoded = decode(data_header(7, max_frame_payload));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->sequence, 7U);
  EXPECT_EQ(decoded->payload_bytes, max_frame_payload);
}

TEST(FrameHeader, EachWrongFieldHasItsError) {
  FrameHeader header = data_header(1, 0);
  header.version = 2;
  EXPECT_EQ(decode(header).error().code, Errc::version_mismatch);
  header = data_header(1, 0);
  header.type = FrameType{9};
  EXPECT_EQ(decode(header).error().code, Errc::protocol_violation);
  header = data_header(1, 0);
  header.flags = 0x80;
  EXPECT_EQ(decode(header).error().code, Errc::protocol_violation);
  EXPECT_EQ(decode(data_header(0, 0)).error().code, Errc::protocol_violation);
  header = data_header(1, 0);
  header.type = FrameType::ping;
  EXPECT_EQ(decode(header).error().code, Errc::protocol_violation) << "a ping has no number";
  header = data_header(1, sizeof(CompressedPrefix));
  header.flags = frame_flag::compressed;
  EXPECT_EQ(decode(header).error().code, Errc::protocol_violation);
  header = FrameHeader{};
  header.type = FrameType::hello;
  header.payload_bytes = sizeof(LinkHello) - 1;
  EXPECT_EQ(decode(header).error().code, Errc::protocol_violation);
}

TEST(FrameHeader, AnOversizedLengthIsNamed) {
  const auto result = decode(data_header(1, max_frame_payload + 1));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::protocol_violation);
  EXPECT_NE(result.error().detail.find("262145"), std::string::npos) << result.error().detail;
}

TEST(Hello, SurvivesTheWireAndIsChecked) {
  LinkHello hello;
  hello.node = 3;
  hello.boot = 9;
  hello.received = 44;
  const auto bytes = encode_hello(hello);
  const auto decoded = decode_hello(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->received, 44U);
  EXPECT_FALSE(decode_hello(dvs::BytesView(bytes).first(bytes.size() - 1)).has_value());
  hello.boot = 0;
  EXPECT_FALSE(decode_hello(encode_hello(hello)).has_value());
}

Bytes payload_of(std::uint64_t number, std::size_t size) {
  Bytes payload(size);
  for (std::size_t i = 0; i < size; ++i) payload[i] = std::byte(number * 31 + i * 7);
  return payload;
}

// Any mixture of sizes, cut anywhere, comes out as it went in.
TEST(FrameReader, FindsFramesHoweverTheStreamIsCut) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return random() % limit; };
    Bytes stream;
    std::vector<std::size_t> sizes;
    for (std::uint64_t number = 1; number <= 60; ++number) {
      const std::size_t limits[] = {10, 1000, 40'000, max_frame_payload + 1};
      sizes.push_back(number % 20 == 0 ? max_frame_payload : below(limits[below(4)]));
      append(stream, data_header(number, sizes.back()));
      const Bytes payload = payload_of(number, sizes.back());
      stream.insert(stream.end(), payload.begin(), payload.end());
    }
    FrameReader reader;
    std::size_t position = 0;
    std::uint64_t found = 0;
    while (position < stream.size()) {
      const auto space = reader.space();
      ASSERT_FALSE(space.empty());
      const std::size_t size =
          std::min({space.size(), stream.size() - position, 1 + below(seed % 2 ? 100'000 : 2'000)});
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(position), size, space.begin());
      reader.commit(size);
      position += size;
      for (;;) {
        const auto frame = reader.next();
        ASSERT_TRUE(frame.has_value());
        if (!*frame) break;
        ++found;
        ASSERT_EQ((*frame)->header.sequence, found);
        ASSERT_TRUE(std::ranges::equal((*frame)->payload, payload_of(found, sizes[found - 1])));
      }
    }
    EXPECT_EQ(found, sizes.size());
  }
}

TEST(FrameReader, ReportsABadHeaderBehindGoodFrames) {
  Bytes stream;
  append(stream, data_header(1, 0));
  append(stream, data_header(2, max_frame_payload + 1));
  FrameReader reader;
  std::ranges::copy(stream, reader.space().begin());
  reader.commit(stream.size());
  ASSERT_TRUE(reader.next().value().has_value());
  EXPECT_EQ(reader.next().error().code, Errc::protocol_violation);
}

}  // namespace
}  // namespace dvk::wire

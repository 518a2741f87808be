// The link frame: what the daemons of two nodes say to each other on one lane of their link.
//
// A header of fixed size, then the payload. Numbers are little-endian as they lie in memory (x86-64
// is the floor). Only data frames are numbered; every frame but the hello acknowledges. The hello's
// layout stays the same in every version, so that a version mismatch can be told from rubbish.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"

namespace dvk::wire {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint16_t frame_version = 1;
constexpr std::size_t max_frame_payload = 256 * 1024;

using ClusterId = std::array<std::uint8_t, 16>;

enum class FrameType : std::uint8_t {
  // First frame on every connection, from both sides: who speaks, and which session it would
  // resume. Payload: LinkHello. Idempotent: repeated until answered. Errors: version_mismatch,
  // wrong_cluster, protocol_violation; all end the connection. Since version 1.
  hello = 1,
  // One message of the layer above. `sequence` counts from 1 within a session. Idempotent: a number
  // that was taken before is dropped. Since version 1.
  data = 2,
  // Acknowledges when there is no data to carry it; with `replay_wanted`, asks for everything after
  // `acknowledged` again. No payload. Idempotent. Since version 1.
  ack = 3,
  // Sign of life of a side that has nothing to send. Acknowledges too. No payload. Idempotent.
  // Since version 1.
  ping = 4,
};

namespace frame_flag {
constexpr std::uint8_t compressed = 1;  // data: the payload is a CompressedPrefix and a zstd frame
constexpr std::uint8_t replay_wanted = 2;  // data, ack, ping: send again all after `acknowledged`
constexpr std::uint8_t answer = 4;         // hello: the sender has had the other side's hello
}  // namespace frame_flag

struct FrameHeader {
  std::uint16_t version = frame_version;
  FrameType type{};
  std::uint8_t flags = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t sequence = 0;      // 0 unless data
  std::uint64_t acknowledged = 0;  // the highest number taken in this session; 0 in a hello
};
static_assert(sizeof(FrameHeader) == 24 && std::is_trivially_copyable_v<FrameHeader>);

// What a compressed payload begins with. At most max_frame_payload.
struct CompressedPrefix {
  std::uint32_t original_bytes = 0;
};
static_assert(sizeof(CompressedPrefix) == 4 && std::is_trivially_copyable_v<CompressedPrefix>);

constexpr std::uint64_t hello_magic = 0x0A6B6E694C6B7644;  // "DvkLink\n"

struct LinkHello {
  std::uint64_t magic = hello_magic;
  ClusterId cluster{};
  std::uint64_t boot = 0;      // incarnation of the sender's daemon: never 0
  std::uint64_t session = 0;   // what the sender would resume; 0: nothing
  std::uint64_t received = 0;  // the highest number taken in that session
  std::uint64_t nonce = 0;     // unique per connection of this boot; both make a new session's id
  std::uint16_t node = 0;
  std::uint8_t lane = 0;
  std::uint8_t reserved[5] = {};
};
static_assert(sizeof(LinkHello) == 64 && std::is_trivially_copyable_v<LinkHello>);

// Checks version (version_mismatch), type, flags and lengths (protocol_violation). `bytes` holds at
// least sizeof(FrameHeader); only those are looked at.
dvs::Result<FrameHeader> decode_header(dvs::BytesView bytes);
dvs::Result<LinkHello> decode_hello(dvs::BytesView payload);

std::array<std::byte, sizeof(LinkHello)> encode_hello(const LinkHello& hello);

// A frame as it lies in the receive buffer.
struct Frame {
  FrameHeader header;
  dvs::BytesView payload;
};

// Cuts a stream of bytes into frames. It owns the receive buffer and never holds more than one
// frame of the largest size; payloads are views into it. Use: space, read into it, commit, then
// next until there is none. After an error the stream cannot be read further.
class FrameReader {
 public:
  FrameReader();

  // Where the next bytes go; never empty when `next` has returned none. Ends all views given out.
  std::span<std::byte> space();
  // So many bytes were put there.
  void commit(std::size_t bytes);
  // The next complete frame, valid until `space`; none: more bytes are needed.
  dvs::Result<std::optional<Frame>> next();

 private:
  std::size_t frame_bytes() const { return sizeof(FrameHeader) + header_->payload_bytes; }
  void move_to_front();

  std::unique_ptr<std::byte[]> buffer_;
  std::size_t begin_ = 0;  // of the frame that is being read
  std::size_t end_ = 0;
  std::optional<FrameHeader> header_;  // of that frame, once it is there and good
};

}  // namespace dvk::wire

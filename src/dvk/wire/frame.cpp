// Decoding of link frames. Nothing read here is believed before it was checked.
#include "dvk/wire/frame.hpp"

#include <algorithm>
#include <string>

#include "base/assert.hpp"

namespace dvk::wire {

using dvs::Errc;
using dvs::fail;
using dvs::Result;

namespace {

// One frame of the largest size and the header of the next.
constexpr std::size_t capacity = sizeof(FrameHeader) + max_frame_payload + sizeof(FrameHeader);
// Small frames are read so many bytes at a time: many in one call, and still within the cache.
constexpr std::size_t read_bytes = 64 * 1024;
constexpr std::size_t large_payload_bytes = 32 * 1024;

std::uint8_t flags_allowed(FrameType type) {
  switch (type) {
    case FrameType::hello: return frame_flag::answer;
    case FrameType::data: return frame_flag::compressed | frame_flag::replay_wanted;
    case FrameType::ack:
    case FrameType::ping: return frame_flag::replay_wanted;
  }
  return 0;
}

Result<void> check_payload_size(const FrameHeader& header) {
  const std::size_t size = header.payload_bytes;
  switch (header.type) {
    case FrameType::hello:
      if (size == sizeof(LinkHello)) return {};
      break;
    case FrameType::data: {
      const bool is_compressed = (header.flags & frame_flag::compressed) != 0;
      if (size <= max_frame_payload && (!is_compressed || size > sizeof(CompressedPrefix)))
        return {};
      break;
    }
    case FrameType::ack:
    case FrameType::ping:
      if (size == 0) return {};
      break;
  }
  return fail(Errc::protocol_violation,
              "a link frame of type " + std::to_string(static_cast<unsigned>(header.type)) +
                  " announces a payload of " + std::to_string(size) + " bytes");
}

}  // namespace

Result<FrameHeader> decode_header(dvs::BytesView bytes) {
  DVS_ASSERT(bytes.size() >= sizeof(FrameHeader));
  FrameHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != frame_version) {
    return fail(Errc::version_mismatch,
                "the peer speaks version " + std::to_string(header.version) +
                    " of the link protocol, this node version " + std::to_string(frame_version) +
                    "; run the same release of dvs on both");
  }
  if (header.type < FrameType::hello || header.type > FrameType::ping) {
    return fail(Errc::protocol_violation,
                "unknown link frame type " + std::to_string(static_cast<unsigned>(header.type)));
  }
  if ((header.flags & ~flags_allowed(header.type)) != 0) {
    return fail(Errc::protocol_violation,
                "unknown flags " + std::to_string(header.flags) + " on a link frame");
  }
  if ((header.sequence != 0) != (header.type == FrameType::data)) {
    return fail(Errc::protocol_violation,
                "a link frame has number " + std::to_string(header.sequence));
  }
  DVS_CHECK(check_payload_size(header));
  return header;
}

Result<LinkHello> decode_hello(dvs::BytesView payload) {
  LinkHello hello;
  if (payload.size() != sizeof hello) {
    return fail(Errc::protocol_violation,
                "a hello of " + std::to_string(payload.size()) + " bytes");
  }
  std::memcpy(&hello, payload.data(), sizeof hello);
  if (hello.magic != hello_magic) return fail(Errc::protocol_violation, "not a link hello");
  if (hello.boot == 0 || hello.node == 0) {
    return fail(Errc::protocol_violation, "a hello without boot or node number");
  }
  return hello;
}

std::array<std::byte, sizeof(LinkHello)> encode_hello(const LinkHello& hello) {
  return std::bit_cast<std::array<std::byte, sizeof(LinkHello)>>(hello);
}

// Not initialised: pages that no frame reaches are never touched.
FrameReader::FrameReader() : buffer_(std::make_unique_for_overwrite<std::byte[]>(capacity)) {}

void FrameReader::move_to_front() {
  if (begin_ == 0) return;
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
}

std::span<std::byte> FrameReader::space() {
  // A large frame is read up to its end and the next header, so that what then has to move to the
  // front of the buffer is no more than a header.
  const std::size_t wanted = header_ ? frame_bytes() : sizeof(FrameHeader);
  if (begin_ == end_ || begin_ + wanted > capacity) move_to_front();
  const bool is_large = header_ && header_->payload_bytes >= large_payload_bytes;
  const std::size_t limit =
      std::min(capacity, is_large ? begin_ + wanted + sizeof(FrameHeader) : end_ + read_bytes);
  return {buffer_.get() + end_, limit - end_};
}

void FrameReader::commit(std::size_t bytes) {
  DVS_ASSERT(bytes <= capacity - end_);
  end_ += bytes;
}

Result<std::optional<Frame>> FrameReader::next() {
  const dvs::BytesView held{buffer_.get() + begin_, end_ - begin_};
  if (!header_) {
    if (held.size() < sizeof(FrameHeader)) return std::nullopt;
    DVS_TRY(header_, decode_header(held));
  }
  if (held.size() < frame_bytes()) return std::nullopt;
  const Frame frame{*header_, held.subspan(sizeof(FrameHeader), header_->payload_bytes)};
  begin_ += frame_bytes();
  header_.reset();
  return frame;
}

}  // namespace dvk::wire

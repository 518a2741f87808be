// See frame_writer.hpp.
#include "dvk/link/frame_writer.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace dvk::link {

namespace {

constexpr std::size_t staging_bytes = 64 * 1024;
constexpr std::size_t batch_bytes = 512 * 1024;
// Up to this size a copy is cheaper than one more piece for the kernel to follow.
constexpr std::size_t staged_payload_max = 4 * 1024;
constexpr std::size_t staged_frame_max = sizeof(wire::FrameHeader) + staged_payload_max;

}  // namespace

FrameWriter::FrameWriter(BufferPool& pool)
    : pool_(pool), staging_(std::make_unique_for_overwrite<std::byte[]>(staging_bytes)) {}

void FrameWriter::stage(dvs::BytesView bytes) {
  if (bytes.empty()) return;
  std::byte* target = staging_.get() + staged_;
  std::memcpy(target, bytes.data(), bytes.size());
  staged_ += bytes.size();
  if (count_ > 0) {
    iovec& last = pieces_[count_ - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == target) {
      last.iov_len += bytes.size();
      return;
    }
  }
  pieces_[count_++] = {target, bytes.size()};
}

void FrameWriter::refer(dvs::BytesView bytes) {
  pieces_[count_++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

void FrameWriter::fill(core::LinkCore& core, dvs::TimePoint now) {
  DVS_ASSERT(is_empty());
  first_ = count_ = staged_ = 0;
  std::size_t bytes = 0;
  // A frame makes two pieces at most.
  while (count_ + 2 <= pieces_max && staged_ + staged_frame_max <= staging_bytes &&
         bytes < batch_bytes) {
    const auto frame = core.next_frame(now);
    if (!frame) break;
    stage({reinterpret_cast<const std::byte*>(&frame->header), sizeof frame->header});
    if (frame->payload.size() <= staged_payload_max) {
      stage(frame->payload);
    } else {
      refer(frame->payload);
    }
    bytes += sizeof frame->header + frame->payload.size();
  }
}

void FrameWriter::advance(std::size_t bytes) {
  while (bytes > 0) {
    DVS_ASSERT(!is_empty());
    iovec& piece = pieces_[first_];
    const std::size_t taken = std::min(bytes, piece.iov_len);
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + taken;
    piece.iov_len -= taken;
    bytes -= taken;
    if (piece.iov_len == 0) ++first_;
  }
  if (is_empty()) {
    for (dvs::Bytes& payload : kept_) pool_.give(std::move(payload));
    kept_.clear();
  }
}

void FrameWriter::keep(dvs::Bytes payload) {
  if (is_empty()) {
    pool_.give(std::move(payload));
  } else {
    kept_.push_back(std::move(payload));
  }
}

}  // namespace dvk::link

// Frames on their way into a connection: gathered into as few pieces as possible, and kept until
// they have been written.
//
// Small frames are copied together, large payloads are written from where they lie. While a batch
// is under way the payloads it refers to must stay: whoever releases one passes it to `keep`.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "dvk/core/link_core.hpp"
#include "dvk/link/buffer_pool.hpp"

namespace dvk::link {

class FrameWriter {
 public:
  explicit FrameWriter(BufferPool& pool);

  // Takes frames from the core until it has none or the batch is full. Only when is_empty.
  void fill(core::LinkCore& core, dvs::TimePoint now);
  bool is_empty() const { return first_ == count_; }
  std::span<const iovec> pieces() const { return {pieces_.data() + first_, count_ - first_}; }
  // So many bytes of the pieces have been taken.
  void advance(std::size_t bytes);

  void keep(dvs::Bytes payload);

 private:
  void stage(dvs::BytesView bytes);
  void refer(dvs::BytesView bytes);

  static constexpr std::size_t pieces_max = 128;

  BufferPool& pool_;
  std::unique_ptr<std::byte[]> staging_;
  std::size_t staged_ = 0;
  std::array<iovec, pieces_max> pieces_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::vector<dvs::Bytes> kept_;
};

}  // namespace dvk::link

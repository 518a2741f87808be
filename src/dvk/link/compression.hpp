// Optional zstd compression of single payloads. The decoder bounds what it makes by what was
// announced, and that by max_frame_payload.
#pragma once

#include <memory>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/link/buffer_pool.hpp"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace dvk::link {

constexpr std::size_t compressed_bytes_min = 512;

class Compressor {
 public:
  Compressor();
  ~Compressor();

  // Replaces the payload by its compressed form (CompressedPrefix and a zstd frame) if that is
  // smaller by an eighth at least. False: left as it was.
  bool compress(dvs::Bytes& payload, BufferPool& pool);
  // The original of such a payload, valid until the next call. Errors: protocol_violation.
  dvs::Result<dvs::BytesView> expand(dvs::BytesView payload);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, Free> compressing_;
  std::unique_ptr<ZSTD_DCtx_s, Free> expanding_;
  dvs::Bytes expanded_;
};

}  // namespace dvk::link

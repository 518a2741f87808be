// See compression.hpp.
#include "dvk/link/compression.hpp"

#include <zstd.h>

#include <string>
#include <utility>

#include "base/assert.hpp"
#include "dvk/wire/frame.hpp"

namespace dvk::link {

using dvs::Errc;
using dvs::fail;
using wire::CompressedPrefix;

namespace {
constexpr int compression_level = 1;  // the fastest: a link is rarely slower than more would take
}

void Compressor::Free::operator()(ZSTD_CCtx_s* context) const {
  ZSTD_freeCCtx(context);
}
void Compressor::Free::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

Compressor::Compressor() : compressing_(ZSTD_createCCtx()), expanding_(ZSTD_createDCtx()) {
  DVS_ASSERT(compressing_ && expanding_);
}
Compressor::~Compressor() = default;

bool Compressor::compress(dvs::Bytes& payload, BufferPool& pool) {
  if (payload.size() < compressed_bytes_min) return false;
  const std::size_t worth_bytes = payload.size() - payload.size() / 8;
  dvs::Bytes packed = pool.take(worth_bytes);
  const CompressedPrefix prefix{static_cast<std::uint32_t>(payload.size())};
  std::memcpy(packed.data(), &prefix, sizeof prefix);
  // Fails when the result does not fit into what is worth it.
  const std::size_t size = ZSTD_compressCCtx(compressing_.get(), packed.data() + sizeof prefix,
                                             packed.size() - sizeof prefix, payload.data(),
                                             payload.size(), compression_level);
  if (ZSTD_isError(size)) {
    pool.give(std::move(packed));
    return false;
  }
  packed.resize(sizeof prefix + size);
  std::swap(payload, packed);
  pool.give(std::move(packed));
  return true;
}

dvs::Result<dvs::BytesView> Compressor::expand(dvs::BytesView payload) {
  CompressedPrefix prefix;
  if (payload.size() < sizeof prefix) {
    return fail(Errc::protocol_violation, "a compressed payload without a size");
  }
  std::memcpy(&prefix, payload.data(), sizeof prefix);
  if (prefix.original_bytes > wire::max_frame_payload) {
    return fail(Errc::protocol_violation, "a compressed payload announces " +
                                              std::to_string(prefix.original_bytes) + " bytes");
  }
  if (expanded_.empty()) expanded_.resize(wire::max_frame_payload);
  const dvs::BytesView packed = payload.subspan(sizeof prefix);
  const std::size_t size = ZSTD_decompressDCtx(expanding_.get(), expanded_.data(),
                                               prefix.original_bytes, packed.data(), packed.size());
  if (ZSTD_isError(size) || size != prefix.original_bytes) {
    return fail(Errc::protocol_violation, "a compressed payload cannot be expanded");
  }
  return dvs::BytesView(expanded_).first(size);
}

}  // namespace dvk::link

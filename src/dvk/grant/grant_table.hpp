// The grants an endpoint has given, in memory that only its process can write and that its daemon,
// and peers of the same trust domain, read before they touch the process's memory.
//
// Granting and revoking are plain stores: no message to anyone. Revoking does not wait for a copy
// that is in the middle of a piece; Endpoint::revoke asks the daemon for a barrier behind it.
#pragma once

#include <cstdint>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "runtime/memory.hpp"

namespace dvk::grant {

using dvs::Address;
using dvs::Errc;
using dvs::Result;

enum class Access : std::uint32_t { read = 1, write = 2, read_write = 3 };

constexpr std::size_t grants_max = 1023;  // per endpoint, at any one time

struct Slot;
struct Page;

// The owner's side. One thread at a time.
class GrantTable {
 public:
  static Result<GrantTable> create();

  int page_fd() const noexcept { return memory_.fd.get(); }
  // Lets `to` (or every endpoint of the container, if it is no address) reach [address, address +
  // bytes). Returns the grant's number, never 0 and never given again. Errors: queue_full
  // (grants_max reached), invalid_argument (range wraps around).
  Result<std::uint64_t> give(std::uint64_t address, std::uint64_t bytes, Access access,
                             const Address& to);
  // Errors: grant_denied (no such grant), grant_revoked (already).
  Result<void> revoke(std::uint64_t grant);

 private:
  explicit GrantTable(dvs::runtime::PublishedMemory memory) noexcept;

  dvs::runtime::PublishedMemory memory_;
  Page* page_;
  std::uint32_t next_slot_ = 0;
};

// Anyone else's side. The owner can write anything at any time: what is read is checked, and at
// worst gives access to the owner's own memory.
class GrantView {
 public:
  // Errors: invalid_argument (not a grant table), system.
  static Result<GrantView> attach(int page_fd);

  // Whether `who` may do `access` on `bytes` bytes at `offset` of the grant; the address if so.
  // Errors: grant_denied (never given, given to another, other direction, out of range),
  // grant_revoked.
  Result<std::uint64_t> check(std::uint64_t grant, const Address& who, std::uint64_t offset,
                              std::uint64_t bytes, Access access) const;

 private:
  explicit GrantView(dvs::runtime::Mapping mapping) noexcept : mapping_(std::move(mapping)) {}

  dvs::runtime::Mapping mapping_;
};

}  // namespace dvk::grant

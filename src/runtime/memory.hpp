// Shared memory between processes that do not trust each other.
//
// A peer that could shorten the file behind a mapping could kill its user with SIGBUS. So every
// piece of shared memory is a memfd whose size is sealed, and a descriptor that came from outside
// is mapped only after its seals, its size and its file system have been checked.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <dvs/result.hpp>

#include "runtime/fd.hpp"

namespace dvs::runtime {

enum class Access { read_only, read_write };

// A mapping of shared memory. Unmapped when it goes; the descriptor may be closed before.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Maps all of `fd`, which must be sealed shared memory of exactly `bytes`.
  // Errors: invalid_argument (other size, not sealed, not shared memory), system.
  static Result<Mapping> map(int fd, std::size_t bytes, Access access);

  // Maps `fd` read-write, and its bytes from `plain_bytes` to the end once more right behind, so
  // that what runs over the end of that part continues at its beginning. `plain_bytes` must be a
  // multiple of the page size. size() is plain_bytes + 2 * (bytes - plain_bytes).
  static Result<Mapping> map_mirrored(int fd, std::size_t bytes, std::size_t plain_bytes);

  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::span<std::byte> bytes() const noexcept { return {data_, size_}; }
  explicit operator bool() const noexcept { return data_ != nullptr; }

 private:
  Mapping(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// New shared memory of a fixed size, filled with zeros. `name` shows in /proc/PID/maps only.
Result<Fd> create_shared_memory(const std::string& name, std::size_t bytes);

// Shared memory that only its creator can write: whoever else gets the descriptor can map it
// read-only. `mapping` is the creator's own view, read-write.
struct PublishedMemory {
  Fd fd;
  Mapping mapping;
};
Result<PublishedMemory> create_published_memory(const std::string& name, std::size_t bytes);

// The size of sealed shared memory. Errors: invalid_argument when `fd` is anything else.
Result<std::size_t> shared_memory_size(int fd);

}  // namespace dvs::runtime

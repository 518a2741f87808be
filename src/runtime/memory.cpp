#include "runtime/memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <utility>

#include "base/assert.hpp"

namespace dvs::runtime {
namespace {

constexpr int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;

Result<Fd> create_sized(const std::string& name, std::size_t bytes) {
  if (bytes == 0) return fail(Errc::invalid_argument, "shared memory of no bytes");
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_os("memfd_create " + name);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return fail_os("ftruncate " + name);
  return fd;
}

Result<void> seal(const Fd& fd, int seals) {
  if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return fail_os("fcntl F_ADD_SEALS");
  return {};
}

Result<void> check_size(int fd, std::size_t bytes) {
  DVS_TRY(const std::size_t actual, shared_memory_size(fd));
  if (actual != bytes) return fail(Errc::invalid_argument, "shared memory of an unexpected size");
  return {};
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<Mapping> Mapping::map(int fd, std::size_t bytes, Access access) {
  DVS_CHECK(check_size(fd, bytes));
  const int protection = access == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  void* data = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return fail_os("mmap shared memory");
  return Mapping(static_cast<std::byte*>(data), bytes);
}

Result<Mapping> Mapping::map_mirrored(int fd, std::size_t bytes, std::size_t plain_bytes) {
  DVS_ASSERT(plain_bytes < bytes);
  DVS_CHECK(check_size(fd, bytes));
  const std::size_t mirrored_bytes = bytes - plain_bytes;
  const std::size_t size = bytes + mirrored_bytes;
  // Reserves the whole range first: what follows only replaces parts of our own reservation.
  void* reserved = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return fail_os("mmap reservation");
  Mapping mapping(static_cast<std::byte*>(reserved), size);
  constexpr int protection = PROT_READ | PROT_WRITE;
  if (::mmap(mapping.data_, bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
      ::mmap(mapping.data_ + bytes, mirrored_bytes, protection, MAP_SHARED | MAP_FIXED, fd,
             static_cast<off_t>(plain_bytes)) == MAP_FAILED) {
    return fail_os("mmap mirrored shared memory");
  }
  return mapping;
}

Result<Fd> create_shared_memory(const std::string& name, std::size_t bytes) {
  DVS_TRY(Fd fd, create_sized(name, bytes));
  DVS_CHECK(seal(fd, size_seals | F_SEAL_SEAL));
  return fd;
}

Result<PublishedMemory> create_published_memory(const std::string& name, std::size_t bytes) {
  DVS_TRY(Fd fd, create_sized(name, bytes));
  DVS_CHECK(seal(fd, size_seals));
  // Our own writable mapping comes before the seal that forbids any further one.
  DVS_TRY(Mapping mapping, Mapping::map(fd.get(), bytes, Access::read_write));
  DVS_CHECK(seal(fd, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL));
  return PublishedMemory{std::move(fd), std::move(mapping)};
}

Result<std::size_t> shared_memory_size(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail_os("fstat shared memory");
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & size_seals) != size_seals) {
    return fail(Errc::invalid_argument, "not shared memory with a sealed size");
  }
  // Huge pages can be sealed too, but touching them may fail (SIGBUS) when the pool is exhausted.
  struct statfs file_system {};
  if (::fstatfs(fd, &file_system) != 0) return fail_os("fstatfs shared memory");
  if (file_system.f_type != TMPFS_MAGIC) {
    return fail(Errc::invalid_argument, "shared memory of another kind than memfd");
  }
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace dvs::runtime

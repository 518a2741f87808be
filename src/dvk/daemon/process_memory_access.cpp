// See process_memory_access.hpp.
#include "dvk/daemon/process_memory_access.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace dvk::daemon {

using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::Result;
using dvs::runtime::Fd;
using dvs::runtime::MemoryToRead;
using dvs::runtime::MemoryToWrite;

namespace {

// Opens the address space and makes sure that it is the one of a process that is `uid`'s through
// and through. The files in /proc/PID (not the directory) belong to the user only while the process
// is dumpable, which it ceases to be when it gains privileges; the descriptor stays with the
// address space that was there at the open, so looking afterwards is in time.
Result<Fd> open_address_space(int pidfd, pid_t pid, uid_t uid) {
  const std::string path = fmt::format("/proc/{}/mem", pid);
  Fd memory(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!memory && errno == ENOENT) return fail(Errc::peer_died, "process has ended");
  if (!memory) return fail_os("open " + path);
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail_os("stat " + path);
  DVS_TRY(const bool is_alive, dvs::runtime::is_alive(pidfd));
  if (!is_alive) return fail(Errc::peer_died, "process has ended");
  if (status.st_uid != uid) {
    return fail(Errc::not_permitted,
                fmt::format("process {} is not dumpable, or runs as another user now", pid));
  }
  return memory;
}

// pread or pwrite until all is done.
template <class Transfer, class Byte>
Result<void> transfer_all(Transfer transfer, int fd, std::uint64_t address, std::span<Byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t moved = transfer(fd, bytes.data(), bytes.size(), static_cast<off_t>(address));
    if (moved < 0 && errno == EINTR) continue;
    if (moved == 0) return fail(Errc::peer_died, "the address space is gone");
    if (moved < 0) return fail(Errc::bad_address, "/proc/PID/mem");
    address += static_cast<std::uint64_t>(moved);
    bytes = bytes.subspan(static_cast<std::size_t>(moved));
  }
  return {};
}

}  // namespace

Result<ProcessMemory> ProcessMemory::open(int pidfd, uid_t uid) {
  DVS_TRY(const pid_t pid, dvs::runtime::pid_of(pidfd));
  if (pid < 0) return fail(Errc::peer_died, "process has ended");
  if (pid == 0) {
    return fail(Errc::not_permitted, "the process is in a pid namespace that dvsd cannot see into");
  }
  if (uid == ::geteuid()) return ProcessMemory(pidfd, pid, Fd());
  DVS_TRY(Fd memory, open_address_space(pidfd, pid, uid));
  return ProcessMemory(pidfd, pid, std::move(memory));
}

// By pid: the process that answered is the right one if that one is still alive.
Result<void> ProcessMemory::confirm(Result<void> result) const {
  DVS_TRY(const bool is_alive, dvs::runtime::is_alive(pidfd_));
  if (!is_alive) return fail(Errc::peer_died, "process has ended");
  return result;
}

Result<void> ProcessMemory::read(std::span<const MemoryToRead> pieces) const {
  if (!memory_) return confirm(dvs::runtime::read_process_memory(pid_, pieces));
  for (const auto& [address, into] : pieces) {
    DVS_CHECK(transfer_all(::pread64, memory_.get(), address, into));
  }
  return {};
}

Result<void> ProcessMemory::write(std::span<const MemoryToWrite> pieces) const {
  if (!memory_) return confirm(dvs::runtime::write_process_memory(pid_, pieces));
  for (const auto& [address, from] : pieces) {
    DVS_CHECK(transfer_all(::pwrite64, memory_.get(), address, from));
  }
  return {};
}

Result<std::uint64_t> check_access(const grant::GrantView& grants, const dvs::Address& owner,
                                   const dvs::Address& orderer, const wire::CopySide& side,
                                   std::uint64_t position, std::size_t bytes,
                                   grant::Access access) {
  if (side.endpoint != owner) return fail(Errc::grant_denied, "another endpoint's memory");
  const std::uint64_t offset = side.offset + position;
  if (offset < side.offset) return fail(Errc::bad_address, "offset wraps around");
  if (side.grant != 0) return grants.check(side.grant, orderer, offset, bytes, access);
  if (owner != orderer) return fail(Errc::grant_denied, "memory of another endpoint needs a grant");
  // Beyond what any process has; also keeps a hostile address from meaning another one.
  constexpr std::uint64_t address_end = std::uint64_t{1} << 56;
  if (offset > address_end || bytes > address_end - offset) {
    return fail(Errc::bad_address, "address out of range");
  }
  return offset;
}

}  // namespace dvk::daemon

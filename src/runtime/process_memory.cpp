#include "runtime/process_memory.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>

#include "runtime/fd.hpp"

namespace dvs::runtime {
namespace {

// One call moves at most this much: the kernel cuts longer ones at its own limit anyway
// (MAX_RW_COUNT, a little under 2 GiB).
constexpr std::size_t piece_bytes_max = std::size_t{1} << 30;

std::unexpected<Error> transfer_error(const char* what) {
  switch (errno) {
    case EFAULT: return fail(Errc::bad_address, what);
    case EPERM: return fail(Errc::not_permitted, what);
    case ESRCH: return fail(Errc::peer_died, what);
    default: return fail_os(what);
  }
}

// A transfer may stop short at the first page that is not there; the next call then says why.
template <class Transfer>
Result<void> transfer_all(Transfer transfer, pid_t pid, std::uint64_t address, std::byte* data,
                          std::size_t size, const char* what) {
  while (size > 0) {
    const std::size_t piece = std::min(size, piece_bytes_max);
    const iovec own{data, piece};
    const iovec other{reinterpret_cast<void*>(address), piece};
    const ssize_t moved = transfer(pid, &own, 1, &other, 1, 0);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return transfer_error(what);
    if (moved == 0) return fail(Errc::bad_address, what);
    data += moved;
    address += static_cast<std::uint64_t>(moved);
    size -= static_cast<std::size_t>(moved);
  }
  return {};
}

// The two sides of up to so many pieces, for one call.
struct Batch {
  static constexpr std::size_t pieces_max = 64;
  void add(std::uint64_t address, const std::byte* data, std::size_t size) {
    own[count] = {const_cast<std::byte*>(data), size};  // process_vm_writev only reads it
    other[count] = {reinterpret_cast<void*>(address), size};
    bytes += size;
    ++count;
  }
  std::array<iovec, pieces_max> own, other;
  std::size_t count = 0;
  std::size_t bytes = 0;
};

// In as few calls as it takes. `Piece`: MemoryToRead or MemoryToWrite.
template <class Transfer, class Piece>
Result<void> transfer_pieces(Transfer transfer, pid_t pid, std::span<const Piece> pieces,
                             const char* what) {
  while (!pieces.empty()) {
    Batch batch;
    for (const auto& [address, data] : pieces.first(std::min(pieces.size(), Batch::pieces_max))) {
      batch.add(address, data.data(), data.size());
    }
    pieces = pieces.subspan(batch.count);
    if (batch.bytes == 0) continue;
    ssize_t moved;
    do {
      moved = transfer(pid, batch.own.data(), batch.count, batch.other.data(), batch.count, 0);
    } while (moved < 0 && errno == EINTR);
    if (moved < 0) return transfer_error(what);
    // It stops short at the first page that is not there.
    if (static_cast<std::size_t>(moved) < batch.bytes) return fail(Errc::bad_address, what);
  }
  return {};
}

Result<std::string> read_fdinfo(int fd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(fd);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_os("open " + path);
  // A pidfd's information is a handful of short lines.
  std::string text(1024, '\0');
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got < 0) return fail_os("read " + path);
  text.resize(static_cast<std::size_t>(got));
  return text;
}

}  // namespace

Result<void> read_process_memory(pid_t pid, std::uint64_t address, std::span<std::byte> to) {
  return transfer_all(::process_vm_readv, pid, address, to.data(), to.size(), "process_vm_readv");
}

Result<void> write_process_memory(pid_t pid, std::uint64_t address, BytesView from) {
  return transfer_all(::process_vm_writev, pid, address, const_cast<std::byte*>(from.data()),
                      from.size(), "process_vm_writev");
}

Result<void> read_process_memory(pid_t pid, std::span<const MemoryToRead> pieces) {
  return transfer_pieces(::process_vm_readv, pid, pieces, "process_vm_readv");
}

Result<void> write_process_memory(pid_t pid, std::span<const MemoryToWrite> pieces) {
  return transfer_pieces(::process_vm_writev, pid, pieces, "process_vm_writev");
}

Result<pid_t> pid_of(int pidfd) {
  DVS_TRY(const std::string text, read_fdinfo(pidfd));
  constexpr std::string_view key = "\nPid:\t";
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return fail(Errc::invalid_argument, "not a pidfd");
  const char* begin = text.data() + at + key.size();
  pid_t pid = 0;
  if (std::from_chars(begin, text.data() + text.size(), pid).ec != std::errc{}) {
    return fail(Errc::invalid_argument, "not a pidfd");
  }
  return pid;
}

Result<bool> is_alive(int pidfd) {
  // poll would pass over a negative descriptor in silence.
  if (pidfd < 0) return fail(Errc::invalid_argument, "not a descriptor");
  pollfd item{pidfd, POLLIN, 0};
  int count;
  do {
    count = ::poll(&item, 1, 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return fail_os("poll pidfd");
  if ((item.revents & POLLNVAL) != 0) return fail(Errc::invalid_argument, "not a descriptor");
  return count == 0;
}

}  // namespace dvs::runtime

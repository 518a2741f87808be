// The memory of one attached process, and who may reach it.
//
// The daemon may be more powerful than the process, and a process can replace itself by a program
// of another user (exec of a set-user-id program) while its connection and its grants stay. So
// access is bound to the address space that attached: for a process of the daemon's own user by
// pid, confirmed by pidfd, which gains it nothing it could not do itself; for any other through a
// descriptor of /proc/PID/mem, which the kernel ties to the address space it was opened on, checked
// to be that of a process of the user who attached. The kernel does not look at page protections
// there: what a grant lets be written is written even where the owner itself could only read
// (private pages; shared ones stay as they are).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/grant/grant_table.hpp"
#include "dvk/wire/node_message.hpp"
#include "runtime/fd.hpp"
#include "runtime/process_memory.hpp"

namespace dvk::daemon {

class ProcessMemory {
 public:
  // `pidfd` must outlive this; `uid` is who attached. Errors: peer_died, not_permitted (its memory
  // cannot be reached safely: not dumpable, or of another user meanwhile), system.
  static dvs::Result<ProcessMemory> open(int pidfd, uid_t uid);

  // Errors, of any of the pieces: bad_address, peer_died, not_permitted (the daemon lacks the right
  // to trace), system.
  dvs::Result<void> read(std::span<const dvs::runtime::MemoryToRead> pieces) const;
  dvs::Result<void> write(std::span<const dvs::runtime::MemoryToWrite> pieces) const;
  dvs::Result<void> read(std::uint64_t address, std::span<std::byte> into) const {
    const dvs::runtime::MemoryToRead piece{address, into};
    return read({&piece, 1});
  }
  dvs::Result<void> write(std::uint64_t address, dvs::BytesView from) const {
    const dvs::runtime::MemoryToWrite piece{address, from};
    return write({&piece, 1});
  }

 private:
  ProcessMemory(int pidfd, pid_t pid, dvs::runtime::Fd memory) noexcept
      : pidfd_(pidfd), pid_(pid), memory_(std::move(memory)) {}
  dvs::Result<void> confirm(dvs::Result<void> result) const;

  int pidfd_;
  pid_t pid_;
  dvs::runtime::Fd memory_;  // none: by pid
};

// What `orderer` may reach of `owner`: checks the grant, or, for grant 0, that it is its own
// memory; gives the address of side.offset + position. Errors: grant_denied, grant_revoked,
// bad_address.
dvs::Result<std::uint64_t> check_access(const grant::GrantView& grants, const dvs::Address& owner,
                                        const dvs::Address& orderer, const wire::CopySide& side,
                                        std::uint64_t position, std::size_t bytes,
                                        grant::Access access);

}  // namespace dvk::daemon

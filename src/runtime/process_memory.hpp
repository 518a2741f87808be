// The memory of another process, copied straight between the two address spaces.
//
// A pid means another process once its owner has died and been reaped. Whoever needs to be sure
// takes the pid from a pidfd (pid_of) and asks is_alive of that pidfd after the copy: if it is
// alive then, the pid meant it all along.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include <dvs/result.hpp>

#include "base/bytes.hpp"

namespace dvs::runtime {

// Fills `to` from `address` of process `pid`, by process_vm_readv; as much of it as has been
// written when an error occurs is unspecified. Does not block beyond the page faults of both sides.
// Errors: bad_address (not mapped so on either side), not_permitted (no right to trace the
// process), peer_died (no such process), system.
Result<void> read_process_memory(pid_t pid, std::uint64_t address, std::span<std::byte> to);
// The same the other way, by process_vm_writev.
Result<void> write_process_memory(pid_t pid, std::uint64_t address, BytesView from);

// Several at once, which spares most of the cost of small ones. An error may be that of any of
// them; the ones before it have been moved.
struct MemoryToRead {
  std::uint64_t address = 0;
  std::span<std::byte> into;
};
struct MemoryToWrite {
  std::uint64_t address = 0;
  BytesView from;
};
Result<void> read_process_memory(pid_t pid, std::span<const MemoryToRead> pieces);
Result<void> write_process_memory(pid_t pid, std::span<const MemoryToWrite> pieces);

// The pid, in this process's pid namespace, of the process `pidfd` refers to; -1 when it has been
// reaped, 0 when it has no number here. Needs /proc. Errors: invalid_argument (no pidfd), system.
Result<pid_t> pid_of(int pidfd);
// Whether the process has not ended yet. Errors: invalid_argument (no pidfd), system.
Result<bool> is_alive(int pidfd);

}  // namespace dvs::runtime

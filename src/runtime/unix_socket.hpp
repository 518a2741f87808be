// Unix sockets that keep packet boundaries (SOCK_SEQPACKET) and carry descriptors.
//
// All descriptors made here are close-on-exec; sockets block unless made non-blocking by the caller
// (set_blocking, or an event loop). A call that would block on a non-blocking socket, or was told
// not to wait, ends with would_block.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "runtime/fd.hpp"

namespace dvs::runtime {

// Descriptors that one packet may carry.
constexpr std::size_t packet_descriptors_max = 16;

// Listens at `path` with the file permissions `mode`. A socket file left by an earlier process is
// replaced. Errors: invalid_argument (path too long), system.
Result<Fd> listen_unix(const std::string& path, mode_t mode);
// The next connection. Errors: would_block, system.
Result<Fd> accept_unix(int listener);
// Errors: invalid_argument (path too long), system (os_errno as connect(2) gives it).
Result<Fd> connect_unix(const std::string& path);
Result<std::pair<Fd, Fd>> unix_socket_pair();
Result<void> set_blocking(int fd, bool blocking);

enum class Wait { no, yes };

// Sends one packet, whole or not at all; `fds` stay the caller's. `bytes` must not be empty.
// Errors: invalid_argument (empty, too many descriptors), message_too_large, would_block,
// peer_died, system. Raises no SIGPIPE.
Result<void> send_packet(int socket, BytesView bytes, std::span<const int> fds = {},
                         Wait wait = Wait::yes);

struct Packet {
  std::size_t bytes = 0;  // filled in of the buffer; 0: the other side has closed
  std::vector<Fd> fds;
};
// Receives one packet into `buffer`.
// Errors: would_block, message_too_large (longer than the buffer; the packet is lost),
// protocol_violation (more descriptors than packet_descriptors_max, all of them closed), peer_died
// (connection reset), system.
Result<Packet> receive_packet(int socket, std::span<std::byte> buffer, Wait wait = Wait::yes);

// Who the process at the other end was when it connected.
struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
Result<PeerCredentials> peer_credentials(int socket);

// A pidfd of the process at the other end. Taken from the socket where the kernel can (6.5), so
// that it means that very process; otherwise opened by number, which is right only as long as the
// process lives. Errors: peer_died, unsupported, system.
Result<Fd> peer_pidfd(int socket);

}  // namespace dvs::runtime

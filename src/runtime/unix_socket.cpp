#include "runtime/unix_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

// Since Linux 6.5; absent from older kernel headers.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace dvs::runtime {
namespace {

constexpr int backlog = 128;

struct UnixAddress {
  sockaddr_un address{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

Result<UnixAddress> make_address(const std::string& path) {
  UnixAddress result;
  if (path.empty() || path.size() >= sizeof result.address.sun_path) {
    return fail(Errc::invalid_argument, "socket path empty or too long: " + path);
  }
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path, path.c_str(), path.size() + 1);
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return result;
}

Result<Fd> make_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail_os("socket");
  return fd;
}

// Room for the descriptors of one packet, aligned as the kernel's macros need it.
struct ControlBuffer {
  alignas(cmsghdr) char bytes[CMSG_SPACE(sizeof(int) * packet_descriptors_max)] = {};
};

std::unexpected<Error> packet_error(const char* what) {
  switch (errno) {
    case EAGAIN: return fail(Errc::would_block, what);
    case EPIPE:
    case ECONNRESET: return fail(Errc::peer_died, what);
    case EMSGSIZE: return fail(Errc::message_too_large, what);
    default: return fail_os(what);
  }
}

// Takes ownership of every descriptor the kernel has put into our table with this message.
std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> fds;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
       item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Result<Fd> listen_unix(const std::string& path, mode_t mode) {
  DVS_TRY(const UnixAddress address, make_address(path));
  DVS_TRY(Fd fd, make_socket());
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
  if (::bind(fd.get(), address.get(), address.length) != 0) return fail_os("bind " + path);
  // Nobody can connect before listen, so the permissions are right from the first moment.
  if (::chmod(path.c_str(), mode) != 0) return fail_os("chmod " + path);
  if (::listen(fd.get(), backlog) != 0) return fail_os("listen " + path);
  return fd;
}

Result<Fd> accept_unix(int listener) {
  int fd;
  do {
    fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (fd < 0 && errno == EAGAIN) return fail(Errc::would_block, "accept");
  if (fd < 0) return fail_os("accept");
  return Fd(fd);
}

Result<Fd> connect_unix(const std::string& path) {
  DVS_TRY(const UnixAddress address, make_address(path));
  DVS_TRY(Fd fd, make_socket());
  // An interrupted connect of a Unix socket has not begun, so it may simply be repeated.
  int result;
  do {
    result = ::connect(fd.get(), address.get(), address.length);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return fail_os("connect " + path);
  return fd;
}

Result<std::pair<Fd, Fd>> unix_socket_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
    return fail_os("socketpair");
  return std::pair(Fd(fds[0]), Fd(fds[1]));
}

Result<void> set_blocking(int fd, bool blocking) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail_os("fcntl F_GETFL");
  const int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  if (wanted != flags && ::fcntl(fd, F_SETFL, wanted) != 0) return fail_os("fcntl F_SETFL");
  return {};
}

Result<void> send_packet(int socket, BytesView bytes, std::span<const int> fds, Wait wait) {
  // An empty packet would look like the end of the connection to the receiver.
  if (bytes.empty()) return fail(Errc::invalid_argument, "empty packet");
  if (fds.size() > packet_descriptors_max) {
    return fail(Errc::invalid_argument, "too many descriptors for one packet");
  }
  iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  ControlBuffer control;
  if (!fds.empty()) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(item), fds.data(), fds.size_bytes());
  }
  const int flags = MSG_NOSIGNAL | (wait == Wait::no ? MSG_DONTWAIT : 0);
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, flags);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return packet_error("send packet");
  return {};
}

Result<Packet> receive_packet(int socket, std::span<std::byte> buffer, Wait wait) {
  iovec vector{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  ControlBuffer control;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const int flags = MSG_CMSG_CLOEXEC | (wait == Wait::no ? MSG_DONTWAIT : 0);
  ssize_t got;
  do {
    got = ::recvmsg(socket, &message, flags);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return packet_error("receive packet");
  // Taken before anything is refused, so that no descriptor of a refused packet stays open.
  Packet packet{static_cast<std::size_t>(got), take_descriptors(message)};
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return fail(Errc::protocol_violation, "packet with too many descriptors");
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return fail(Errc::message_too_large, "packet longer than the buffer");
  }
  return packet;
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return fail_os("getsockopt SO_PEERCRED");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Result<Fd> peer_pidfd(int socket) {
  int pidfd = -1;
  socklen_t length = sizeof pidfd;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) return Fd(pidfd);
  if (errno == ESRCH || errno == EINVAL) return fail(Errc::peer_died, "peer of the socket");
  if (errno != ENOPROTOOPT) return fail_os("getsockopt SO_PEERPIDFD");
  DVS_TRY(const PeerCredentials credentials, peer_credentials(socket));
  Fd opened(static_cast<int>(::syscall(SYS_pidfd_open, credentials.pid, 0)));
  if (opened) return opened;
  if (errno == ESRCH) return fail(Errc::peer_died, "peer of the socket");
  if (errno == ENOSYS) return fail(Errc::unsupported, "pidfd_open");
  return fail_os("pidfd_open");
}

}  // namespace dvs::runtime

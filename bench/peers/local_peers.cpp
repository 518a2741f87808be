// What local messages and copies are compared with: pipes, Unix sockets, process_vm_readv.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <memory>

#include "peers/peers.hpp"
#include "peers/transfer.hpp"
#include "runtime/fd.hpp"
#include "runtime/process_memory.hpp"

namespace bench {
namespace {

using dvs::Bytes;
using dvs::fail_os;
using dvs::runtime::Fd;

// One direction, or both if the two descriptors are one socket: bodies share it until they are
// forked.
struct Wire {
  Fd read;
  Fd write;
};
using SharedWire = std::shared_ptr<Wire>;

Result<SharedWire> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_os("pipe2");
  return std::make_shared<Wire>(Fd(ends[0]), Fd(ends[1]));
}

Result<SharedWire> make_socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_os("socketpair");
  return std::make_shared<Wire>(Fd(ends[0]), Fd(ends[1]));
}

Result<void> echo(int in, int out, std::size_t bytes) {
  Bytes buffer(bytes);
  for (;;) {
    DVS_CHECK(read_exactly(in, buffer));
    DVS_CHECK(write_exactly(out, buffer));
  }
}

Result<Samples> call(int out, int in, const RoundTrips& what) {
  Bytes buffer(what.bytes);
  return time_calls(what, [&]() -> Result<void> {
    DVS_CHECK(write_exactly(out, buffer));
    return read_exactly(in, buffer);
  });
}

// A stream from the server to the client: the client measures where the bytes arrive.
Result<Samples> stream_over(Result<SharedWire> (*make_wire)(), const PairOptions& pair,
                            const Stream& what) {
  DVS_TRY(const auto samples, run_pairs(pair, [&]() -> Result<PairBodies> {
            DVS_TRY(const SharedWire wire, make_wire());
            return PairBodies{.serve = [wire, what](const auto& ready) -> Result<void> {
                                const Bytes buffer(what.bytes);
                                ready(0);
                                for (;;) DVS_CHECK(write_exactly(wire->write.get(), buffer));
                              },
                              .measure =
                                  [wire, what](std::uint64_t) {
                                    Bytes buffer(what.bytes);
                                    return time_stream(what, 1.0, [&] {
                                      return read_exactly(wire->read.get(), buffer);
                                    });
                                  }};
          }));
  return summed(samples);
}

}  // namespace

Result<Samples> pipe_round_trips(const PairOptions& pair, const RoundTrips& what) {
  DVS_TRY(const auto samples, run_pairs(pair, [&]() -> Result<PairBodies> {
            DVS_TRY(const SharedWire forth, make_pipe());
            DVS_TRY(const SharedWire back, make_pipe());
            return PairBodies{.serve = [=](const auto& ready) -> Result<void> {
                                ready(0);
                                return echo(forth->read.get(), back->write.get(), what.bytes);
                              },
                              .measure =
                                  [=](std::uint64_t) {
                                    return call(forth->write.get(), back->read.get(), what);
                                  }};
          }));
  return joined(samples);
}

Result<Samples> unix_socket_round_trips(const PairOptions& pair, const RoundTrips& what) {
  DVS_TRY(const auto samples, run_pairs(pair, [&]() -> Result<PairBodies> {
            DVS_TRY(const SharedWire wire, make_socket_pair());
            return PairBodies{.serve = [=](const auto& ready) -> Result<void> {
                                ready(0);
                                return echo(wire->read.get(), wire->read.get(), what.bytes);
                              },
                              .measure =
                                  [=](std::uint64_t) {
                                    return call(wire->write.get(), wire->write.get(), what);
                                  }};
          }));
  return joined(samples);
}

Result<Samples> pipe_stream(const PairOptions& pair, const Stream& what) {
  return stream_over(make_pipe, pair, what);
}

Result<Samples> unix_socket_stream(const PairOptions& pair, const Stream& what) {
  return stream_over(make_socket_pair, pair, what);
}

Result<Samples> process_memory_copies(const PairOptions& pair, std::size_t bytes, int copies) {
  DVS_TRY(const auto samples, run_pairs(pair, [&]() -> Result<PairBodies> {
            // Made before the fork, so that both know the address; the server's copy is its own as
            // soon as it has written it.
            const auto memory = std::make_shared<Bytes>(bytes);
            return PairBodies{.serve = [memory](const auto& ready) -> Result<void> {
                                ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
                                std::fill(memory->begin(), memory->end(), std::byte{7});
                                ready(static_cast<std::uint64_t>(::getpid()));
                                for (;;) ::pause();
                              },
                              .measure =
                                  [memory, bytes, copies](std::uint64_t server) {
                                    Bytes to(bytes);
                                    const RoundTrips what{.bytes = bytes, .calls = copies};
                                    return time_calls(what, [&] {
                                      return dvs::runtime::read_process_memory(
                                          static_cast<pid_t>(server),
                                          reinterpret_cast<std::uint64_t>(memory->data()), to);
                                    });
                                  }};
          }));
  return joined(samples);
}

}  // namespace bench

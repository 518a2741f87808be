// What all peers share: whole transfers over descriptors, and the loops that take the time.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <thread>

#include "base/bytes.hpp"
#include "peers/peers.hpp"

namespace bench {

using Clock = std::chrono::steady_clock;

inline Result<void> read_exactly(int fd, std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t done = ::read(fd, to.data(), to.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return dvs::fail_os("read");
    if (done == 0) return dvs::fail(dvs::Errc::peer_died, "read: the other side has closed");
    to = to.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

inline Result<void> write_exactly(int fd, dvs::BytesView from) {
  while (!from.empty()) {
    const ssize_t done = ::write(fd, from.data(), from.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return dvs::fail_os("write");
    from = from.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

// Microseconds that `call`, a function without arguments returning Result<void>, takes each time.
template <class Call>
Result<Samples> time_calls(const RoundTrips& what, Call call) {
  const int warm_up = what.calls / 10;
  Samples samples;
  samples.reserve(static_cast<std::size_t>(what.calls));
  for (int i = 0; i < warm_up + what.calls; ++i) {
    if (what.pause.count() > 0) std::this_thread::sleep_for(what.pause);
    const auto start = Clock::now();
    DVS_CHECK(call());
    const std::chrono::duration<double, std::micro> taken = Clock::now() - start;
    if (i >= warm_up) samples.push_back(taken.count());
  }
  return samples;
}

// The rate of each tenth of the records, times `scale`. `take` receives one record.
template <class Take>
Result<Samples> time_stream(const Stream& what, double scale, Take take) {
  constexpr std::uint64_t parts = 10;
  const std::uint64_t records_a_part = std::max<std::uint64_t>(what.records / parts, 1);
  Samples samples;
  for (std::uint64_t part = 0; part < parts; ++part) {
    const auto start = Clock::now();
    for (std::uint64_t i = 0; i < records_a_part; ++i) DVS_CHECK(take());
    const std::chrono::duration<double> taken = Clock::now() - start;
    samples.push_back(scale * static_cast<double>(records_a_part) / taken.count());
  }
  return samples;
}

}  // namespace bench

#include "dvk_pairs.hpp"

#include <time.h>

#include <deque>
#include <numeric>

#include <dvk/endpoint.hpp>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

void pause(std::chrono::microseconds time) {
  if (time.count() == 0) return;
  timespec wait{0, std::chrono::nanoseconds(time).count()};
  nanosleep(&wait, nullptr);
}

std::string server_name(std::uint64_t number) {
  return "bench." + std::to_string(number);
}

// Each pass has servers of its own.
std::uint64_t next_number = 1;

Result<dvk::Endpoint> open(const std::string& socket, const std::string& name = {}) {
  return dvk::Endpoint::open({.socket = socket, .name = name});
}

struct Connected {
  dvk::Endpoint endpoint;
  dvk::Address server;
};
Result<Connected> connect(const std::string& socket, std::uint64_t number) {
  DVS_TRY(auto endpoint, open(socket));
  DVS_TRY(const dvk::Address server, endpoint.lookup(server_name(number)));
  return Connected{std::move(endpoint), server};
}

// Answers every request with its payload; takes messages and forgets them.
Result<void> serve_echo(const std::string& socket, std::uint64_t number,
                        const std::function<void(std::uint64_t)>& ready) {
  DVS_TRY(auto endpoint, open(socket, server_name(number)));
  ready(number);
  while (true) {
    DVS_TRY(const dvk::Incoming incoming, endpoint.receive());
    if (incoming.kind == dvk::Incoming::Kind::request) {
      DVS_CHECK(endpoint.reply(incoming, incoming.payload));
    }
  }
}

// Grants its memory to all; the grant's number is the answer to any request.
Result<void> serve_memory(const std::string& socket, std::uint64_t number, std::size_t bytes,
                          const std::function<void(std::uint64_t)>& ready) {
  DVS_TRY(auto endpoint, open(socket, server_name(number)));
  std::vector<std::byte> memory(bytes, std::byte{7});
  DVS_TRY(const dvk::GrantId grant, endpoint.grant(memory, dvk::Access::read_write));
  ready(number);
  while (true) {
    DVS_TRY(const dvk::Request request, endpoint.receive_request());
    const std::string text = std::to_string(dvs::raw(grant));
    DVS_CHECK(endpoint.reply(request, dvk::as_bytes(text)));
  }
}

Result<dvk::Remote> remote_memory(Connected& client) {
  DVS_TRY(const dvk::Bytes answer, client.endpoint.call(client.server, {}));
  return dvk::Remote{client.server, dvk::GrantId{std::stoull(std::string(dvk::as_text(answer)))}};
}

}  // namespace

Result<Samples> dvk_calls(const PairOptions& pair, const Sockets& sockets, const RoundTrips& what) {
  const auto make = [&]() -> Result<PairBodies> {
    const std::uint64_t number = next_number++;
    return PairBodies{[=](const auto& ready) { return serve_echo(sockets.server, number, ready); },
                      [=](std::uint64_t server) -> Result<Samples> {
                        DVS_TRY(Connected client, connect(sockets.client, server));
                        const dvk::Bytes payload(what.bytes);
                        Samples samples;
                        for (int i = -what.calls / 10; i < what.calls; ++i) {
                          pause(what.pause);
                          const auto start = Clock::now();
                          DVS_CHECK(client.endpoint.call(client.server, payload));
                          if (i >= 0) samples.push_back(microseconds(Clock::now() - start));
                        }
                        return samples;
                      }};
  };
  DVS_TRY(const auto samples, run_pairs(pair, make));
  return joined(samples);
}

Result<Samples> dvk_stream(const PairOptions& pair, const Sockets& sockets, const Stream& what) {
  const auto make = [&]() -> Result<PairBodies> {
    const std::uint64_t number = next_number++;
    return PairBodies{[=](const auto& ready) { return serve_echo(sockets.server, number, ready); },
                      [=](std::uint64_t server) -> Result<Samples> {
                        DVS_TRY(Connected client, connect(sockets.client, server));
                        const dvk::Bytes payload(what.bytes);
                        Samples rates;
                        for (int part = 0; part < 10; ++part) {
                          const std::uint64_t records = what.records / 10;
                          const auto start = Clock::now();
                          for (std::uint64_t i = 0; i < records; ++i) {
                            DVS_CHECK(client.endpoint.send(client.server, payload));
                          }
                          // The server takes what came before it answers: the part ends where the
                          // bytes arrive.
                          DVS_CHECK(client.endpoint.call(client.server, payload));
                          rates.push_back(static_cast<double>(records) * 1e6 /
                                          microseconds(Clock::now() - start));
                        }
                        return rates;
                      }};
  };
  DVS_TRY(const auto samples, run_pairs(pair, make));
  return summed(samples);
}

Result<Samples> dvk_copies(const PairOptions& pair, const Sockets& sockets, std::size_t bytes,
                           int copies) {
  const auto make = [&]() -> Result<PairBodies> {
    const std::uint64_t number = next_number++;
    return PairBodies{
        [=](const auto& ready) { return serve_memory(sockets.server, number, bytes, ready); },
        [=](std::uint64_t server) -> Result<Samples> {
          DVS_TRY(Connected client, connect(sockets.client, server));
          DVS_TRY(const dvk::Remote source, remote_memory(client));
          std::vector<std::byte> target(bytes);
          Samples samples;
          for (int i = -1 - copies / 10; i < copies; ++i) {
            const auto start = Clock::now();
            DVS_CHECK(client.endpoint.copy_from(source, target));
            if (i >= 0) samples.push_back(microseconds(Clock::now() - start));
          }
          if (target.back() != std::byte{7})
            return dvs::fail(dvs::Errc::bad_address, "wrong bytes");
          return samples;
        }};
  };
  DVS_TRY(const auto samples, run_pairs(pair, make));
  return joined(samples);
}

Result<Samples> dvk_copy_stream(const PairOptions& pair, const Sockets& sockets, std::size_t bytes,
                                int copies, int in_flight) {
  const auto make = [&]() -> Result<PairBodies> {
    const std::uint64_t number = next_number++;
    return PairBodies{
        [=](const auto& ready) { return serve_memory(sockets.server, number, bytes, ready); },
        [=](std::uint64_t server) -> Result<Samples> {
          DVS_TRY(Connected client, connect(sockets.client, server));
          DVS_TRY(const dvk::Remote source, remote_memory(client));
          std::vector<std::byte> target(bytes * static_cast<std::size_t>(in_flight), std::byte{1});
          std::deque<dvk::CopyId> under_way;
          Samples rates;
          auto start = Clock::now();
          // Long beside what is in flight, which ends in bursts.
          const int part = copies / std::clamp(copies / (8 * in_flight), 1, 10);
          for (int i = 0; i < copies + in_flight; ++i) {
            if (i >= in_flight) {
              DVS_CHECK(client.endpoint.finish_copy(under_way.front()));
              under_way.pop_front();
              if ((i - in_flight + 1) % part == 0) {
                const double mib = static_cast<double>(bytes) * part / (1024.0 * 1024.0);
                const auto now = Clock::now();
                rates.push_back(mib * 1e6 / microseconds(now - std::exchange(start, now)));
              }
            }
            if (i >= copies) continue;
            const std::size_t slot = static_cast<std::size_t>(i % in_flight) * bytes;
            DVS_TRY(const dvk::CopyId copy, client.endpoint.start_copy_from(
                                                source, std::span(target).subspan(slot, bytes)));
            under_way.push_back(copy);
          }
          if (target.back() != std::byte{7})
            return dvs::fail(dvs::Errc::bad_address, "wrong bytes");
          return rates;
        }};
  };
  DVS_TRY(const auto samples, run_pairs(pair, make));
  return summed(samples);
}

}  // namespace bench

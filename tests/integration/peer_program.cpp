// The process behind Peer. Its roles:
//
//   obey NAME         answers requests (below) under that name
//   echo NAME         answers every request by its own payload
//   flood NAME BYTES  sends numbered messages of that size to NAME for ever
//   call NAME BYTES   calls NAME with payloads of that size for ever
//   adopt NAME        takes over the endpoint that is moved here, then echoes
//   backup NAME       is the backup of NAME; promoted, answers every request by "promoted"
//
// What `obey` understands; numbers are decimal, an ADDRESS is three of them (container, id,
// incarnation; 0 0 0 for all), ACCESS is 1 read, 2 write, 3 both. The answer is "ok", a number, or
// an error's name.
//   allocate BYTES SEED                           memory filled with pattern SEED; frees what was
//   before check SEED FROM BYTES                         "ok" if the memory there has the pattern
//   grant FROM BYTES ACCESS ADDRESS               the grant's number
//   grant_nothing BYTES ACCESS ADDRESS            the same, of addresses where no memory is
//   revoke GRANT
//   copy_from ADDRESS GRANT OFFSET FROM BYTES     into the memory at FROM
//   copy_to ADDRESS GRANT OFFSET FROM BYTES
//   copy ADDRESS GRANT OFFSET ADDRESS GRANT OFFSET BYTES
//   move_to NODE                                  answered first; then it moves with its memory, or
//   goes on lookup NAME | send_to NAME | call NAME TEXT   "ok" (call: the reply), or the error
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>
#include <string>
#include <string_view>

#include <dvk/endpoint.hpp>

#include "integration/pattern.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Result;

constexpr auto limit = std::chrono::seconds(60);

int give_up(const dvk::Error& error) {
  std::fprintf(stderr, "%s\n", to_string(error).c_str());
  return 1;
}

// --- obey ----------------------------------------------------------------------------------------

class Obedient {
 public:
  explicit Obedient(Endpoint endpoint) : endpoint_(std::move(endpoint)) {}

  Result<void> serve() {
    while (true) {
      DVS_TRY(const auto request, endpoint_.receive_request());
      std::istringstream words{std::string(request.text())};
      if (request.text().starts_with("move_to ")) {
        DVS_CHECK(move(request));
        continue;
      }
      auto done = obey(words);
      const std::string answer = done ? *done : std::string(name_of(done.error().code));
      DVS_CHECK(endpoint_.reply(request, dvk::as_bytes(answer)));
    }
  }

 private:
  static std::uint64_t number(std::istream& words) {
    std::uint64_t value = 0;
    words >> value;
    return value;
  }
  static dvk::Address address(std::istream& words) {
    dvk::Address result;
    result.container = dvs::ContainerId{static_cast<std::uint32_t>(number(words))};
    result.id = dvs::EndpointId{number(words)};
    result.incarnation = dvs::Incarnation{number(words)};
    return result;
  }
  static dvk::Remote remote(std::istream& words) {
    dvk::Remote result;
    result.endpoint = address(words);
    result.grant = dvk::GrantId{number(words)};
    result.offset = number(words);
    return result;
  }
  std::span<std::byte> part(std::istream& words) {
    const std::uint64_t from = number(words);
    return std::span(memory_).subspan(from, number(words));
  }

  Result<std::string> obey(std::istream& words) {
    std::string verb;
    words >> verb;
    if (verb == "allocate") return allocate(words);
    if (verb == "check") return check(words);
    if (verb == "grant" || verb == "grant_nothing") return grant(verb == "grant", words);
    if (verb == "revoke") return finish(endpoint_.revoke(dvk::GrantId{number(words)}));
    if (verb == "copy_from" || verb == "copy_to" || verb == "copy") return copy(verb, words);
    return talk(verb, words);
  }
  Result<void> move(const dvk::Request& request) {
    const auto node = std::stoul(std::string(request.text().substr(request.text().find(' '))));
    DVS_CHECK(endpoint_.reply(request, dvk::as_bytes("ok")));
    auto moved = endpoint_.move_to(dvk::NodeId{static_cast<std::uint16_t>(node)}, memory_, limit);
    if (!moved) std::fprintf(stderr, "%s\n", to_string(moved.error()).c_str());
    return {};  // after a success the next call ends this process's service
  }
  static Result<std::string> finish(const Result<void>& done) {
    if (!done) return std::unexpected(done.error());
    return "ok";
  }

  Result<std::string> allocate(std::istream& words) {
    const std::uint64_t bytes = number(words);
    memory_ = make_pattern(bytes, number(words));
    return "ok";
  }
  Result<std::string> check(std::istream& words) {
    const std::uint64_t seed = number(words);
    return has_pattern(part(words), seed) ? "ok" : "differs";
  }
  Result<std::string> grant(bool is_mapped, std::istream& words) {
    std::span<std::byte> memory;
    if (is_mapped) {
      memory = part(words);
    } else {
      const std::uint64_t bytes = number(words);
      // Beyond what the kernel gives without being asked for it by address.
      memory = {reinterpret_cast<std::byte*>(std::uint64_t{1} << 48), bytes};
    }
    const auto access = static_cast<dvk::Access>(number(words));
    DVS_TRY(const auto given, endpoint_.grant(memory, access, address(words)));
    return std::to_string(dvs::raw(given));
  }
  Result<std::string> copy(const std::string& verb, std::istream& words) {
    const dvk::Remote first = remote(words);
    if (verb == "copy_from") return finish(endpoint_.copy_from(first, part(words), limit));
    if (verb == "copy_to") return finish(endpoint_.copy_to(part(words), first, limit));
    const dvk::Remote second = remote(words);
    return finish(endpoint_.copy(first, second, number(words), limit));
  }
  Result<std::string> talk(const std::string& verb, std::istream& words) {
    std::string name;
    std::string text;
    words >> name >> text;
    DVS_TRY(const auto peer, endpoint_.lookup(name));
    if (verb == "lookup") return "ok";
    if (verb == "send_to") return finish(endpoint_.send(peer, dvk::as_bytes(text), limit));
    DVS_TRY(const auto reply, endpoint_.call(peer, dvk::as_bytes(text), limit));
    return std::string(dvk::as_text(reply));
  }

  Endpoint endpoint_;
  dvk::Bytes memory_;
};

// --- The other roles -----------------------------------------------------------------------------

Result<void> echo(Endpoint& endpoint) {
  while (true) {
    DVS_TRY(const auto request, endpoint.receive_request());
    DVS_CHECK(endpoint.reply(request, request.payload));
  }
}

// Message n consists of pattern n, so that a torn one shows.
Result<void> flood(Endpoint& endpoint, const std::string& name, std::size_t bytes) {
  DVS_TRY(const auto to, endpoint.lookup(name));
  for (std::uint64_t number = 1;; ++number) {
    dvk::Bytes payload = make_pattern(bytes, number);
    std::memcpy(payload.data(), &number, sizeof number);
    DVS_CHECK(endpoint.send(to, payload));
  }
}

Result<void> call(Endpoint& endpoint, const std::string& name, std::size_t bytes) {
  DVS_TRY(const auto to, endpoint.lookup(name));
  for (std::uint64_t number = 1;; ++number) {
    DVS_CHECK(endpoint.call(to, make_pattern(bytes, number)));
  }
}

Result<void> stand_in(Endpoint& endpoint) {
  bool is_promoted = false;
  while (true) {
    DVS_TRY(const auto incoming, endpoint.receive());
    is_promoted = is_promoted || incoming.kind == dvk::Incoming::Kind::promoted;
    if (incoming.kind != dvk::Incoming::Kind::request) continue;
    DVS_CHECK(endpoint.reply(incoming, dvk::as_bytes(is_promoted ? "promoted" : "not yet")));
  }
}

Result<void> play(std::string_view role, const std::string& name, std::size_t bytes) {
  if (role == "adopt") {
    DVS_TRY(auto adopted, Endpoint::adopt({.name = name, .deadline = limit}));
    return echo(adopted.endpoint);
  }
  const bool has_name = role != "flood" && role != "call";
  DVS_TRY(auto endpoint,
          Endpoint::open({.name = has_name ? name : "", .is_backup = role == "backup"}));
  if (role == "obey") return Obedient(std::move(endpoint)).serve();
  if (role == "echo") return echo(endpoint);
  if (role == "backup") return stand_in(endpoint);
  return role == "flood" ? flood(endpoint, name, bytes) : call(endpoint, name, bytes);
}

}  // namespace
}  // namespace integration

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::size_t bytes = argc > 3 ? std::stoull(argv[3]) : 8;
  const auto played = integration::play(argv[1], argv[2], bytes);
  return played ? 0 : integration::give_up(played.error());
}

// A file copied from one endpoint to another under grants, ordered by a third that touches no byte
// of it.
//
// The source grants reading of the file's bytes, the target grants writing of as many; both grants
// are given to the one who orders. Between nodes the bytes go straight from daemon to daemon.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <dvk/endpoint.hpp>

namespace {

// Requests and replies. Both sides are built from this file, so plain structs will do.
struct Offer {
  std::uint64_t bytes = 0;
  dvk::GrantId grant{};
};
template <class T>
dvk::BytesView pack(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
T unpack(dvk::BytesView bytes) {
  T value{};
  if (bytes.size() == sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

int give_up(const char* what, const dvk::Error& error) {
  std::fprintf(stderr, "file_copy: %s: %s\n", what, to_string(error).c_str());
  return 1;
}

// Lets one client read the file, until it says that it is done.
dvk::Result<void> offer(dvk::Endpoint& endpoint, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(file), {});
  if (!file) return dvs::fail_os("read " + path);
  DVS_TRY(const auto hello, endpoint.receive_request());
  DVS_TRY(const auto grant, endpoint.grant(dvk::as_bytes(content), hello.from));
  DVS_CHECK(endpoint.reply(hello, pack(Offer{content.size(), grant})));
  DVS_TRY(const auto done, endpoint.receive_request());
  DVS_CHECK(endpoint.reply(done, {}));
  return endpoint.flush(done.from, std::chrono::seconds(5));
}

// Takes as many bytes as the client says, and stores them once it says that they are there.
dvk::Result<void> accept(dvk::Endpoint& endpoint, const std::string& path) {
  DVS_TRY(const auto hello, endpoint.receive_request());
  dvk::Bytes content(unpack<std::uint64_t>(hello.payload));
  DVS_TRY(const auto grant, endpoint.grant(content, dvk::Access::write, hello.from));
  DVS_CHECK(endpoint.reply(hello, pack(Offer{content.size(), grant})));
  DVS_TRY(const auto done, endpoint.receive_request());
  DVS_CHECK(endpoint.revoke(grant));  // from here on nobody but us changes it
  std::ofstream file(path, std::ios::binary);
  file.write(dvk::as_text(content).data(), static_cast<std::streamsize>(content.size()));
  if (!file.flush()) return dvs::fail_os("write " + path);
  DVS_CHECK(endpoint.reply(done, {}));
  return endpoint.flush(done.from, std::chrono::seconds(5));
}

dvk::Result<void> copy(dvk::Endpoint& endpoint, const std::string& from, const std::string& to) {
  const dvk::Deadline soon = std::chrono::seconds(60);
  DVS_TRY(const auto source, endpoint.lookup(from));
  DVS_TRY(const auto target, endpoint.lookup(to));
  DVS_TRY(const auto offered, endpoint.call(source, {}, soon));
  const auto readable = unpack<Offer>(offered);
  DVS_TRY(const auto accepted, endpoint.call(target, pack(readable.bytes), soon));
  const auto writable = unpack<Offer>(accepted);
  DVS_CHECK(endpoint.copy({source, readable.grant, 0}, {target, writable.grant, 0}, readable.bytes,
                          soon));
  DVS_CHECK(endpoint.call(target, {}, soon));
  DVS_CHECK(endpoint.call(source, {}, soon));
  std::printf("copied %llu bytes\n", static_cast<unsigned long long>(readable.bytes));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc == 4 ? argv[1] : "";
  if (mode != "offer" && mode != "accept" && mode != "copy") {
    std::fputs(
        "usage: file_copy offer NAME FILE | file_copy accept NAME FILE | file_copy copy FROM TO\n"
        "Exit codes: 0 done, 1 failed, 2 wrong usage.\n",
        stderr);
    return 2;
  }
  auto endpoint = dvk::Endpoint::open({.name = mode == "copy" ? "" : argv[2]});
  if (!endpoint) return give_up("open", endpoint.error());
  if (mode != "copy") std::printf("ready\n"), std::fflush(stdout);
  const auto done = mode == "offer"    ? offer(*endpoint, argv[3])
                    : mode == "accept" ? accept(*endpoint, argv[3])
                                       : copy(*endpoint, argv[2], argv[3]);
  return done ? 0 : give_up(argv[1], done.error());
}

// See control_server.hpp.
#include "dvk/daemon/control_server.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "runtime/unix_socket.hpp"

namespace dvk::daemon {

using dvs::Errc;
using dvs::fail;
using dvs::Result;
using dvs::runtime::Fd;
using dvs::runtime::Wait;

namespace {

constexpr std::size_t command_bytes_max = 256;
constexpr std::size_t answer_bytes_max = 256 * 1024;

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(const std::string& path,
                                                             ring::Waiter& waiter,
                                                             Handler handler) {
  DVS_TRY(Fd listener, dvs::runtime::listen_unix(path, 0600));
  DVS_CHECK(dvs::runtime::set_blocking(listener.get(), false));
  DVS_CHECK(waiter.add(listener.get(), EPOLLIN, token_bit));
  return std::unique_ptr<ControlServer>(
      new ControlServer(path, std::move(listener), waiter, std::move(handler)));
}

ControlServer::ControlServer(std::string path, Fd listener, ring::Waiter& waiter, Handler handler)
    : path_(std::move(path)),
      listener_(std::move(listener)),
      waiter_(waiter),
      handler_(std::move(handler)) {}

ControlServer::~ControlServer() {
  for (const auto& [id, socket] : clients_) waiter_.remove(socket.get());
  waiter_.remove(listener_.get());
  ::unlink(path_.c_str());
}

void ControlServer::on_event(const ring::Waiter::Event& event) {
  const std::uint64_t id = event.token & ~token_bit;
  if (id == 0) return accept();
  const auto client = clients_.find(id);
  if (client == clients_.end() || serve(client->second.get())) return;
  waiter_.remove(client->second.get());
  clients_.erase(client);
}

void ControlServer::accept() {
  auto socket = dvs::runtime::accept_unix(listener_.get());
  if (!socket || clients_.size() >= clients_max) return;
  const std::uint64_t id = next_client_++;
  if (!dvs::runtime::set_blocking(socket->get(), false)) return;
  if (!waiter_.add(socket->get(), EPOLLIN, token_bit | id)) return;
  clients_.emplace(id, *std::move(socket));
}

// False: the client is done with.
bool ControlServer::serve(int socket) {
  std::array<std::byte, command_bytes_max> buffer;
  const auto packet = dvs::runtime::receive_packet(socket, buffer, Wait::no);
  if (!packet) return packet.error() == Errc::would_block;
  if (packet->bytes == 0) return false;
  std::string_view command = dvs::as_text(dvs::BytesView(buffer).first(packet->bytes));
  while (!command.empty() && (command.back() == '\n' || command.back() == ' ')) {
    command.remove_suffix(1);
  }
  const std::string answer = handler_(command) + "\n";
  return dvs::runtime::send_packet(socket, dvs::as_bytes(answer), {}, Wait::no).has_value();
}

Result<std::string> ask_daemon(const std::string& path, std::string_view command) {
  auto socket = dvs::runtime::connect_unix(path);
  if (!socket) {
    return fail(Errc::unreachable,
                fmt::format("no dvsd answers at {} ({}); is it running, and is this "
                            "its run directory?",
                            path, dvs::to_string(socket.error())));
  }
  DVS_CHECK(dvs::runtime::send_packet(socket->get(), dvs::as_bytes(command)));
  dvs::Bytes buffer(answer_bytes_max);
  DVS_TRY(const auto packet, dvs::runtime::receive_packet(socket->get(), buffer));
  return std::string(dvs::as_text(dvs::BytesView(buffer).first(packet.bytes)));
}

std::string json_text(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace dvk::daemon

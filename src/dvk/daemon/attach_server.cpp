// See attach_server.hpp.
#include "dvk/daemon/attach_server.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "dvk/daemon/log.hpp"
#include "runtime/memory.hpp"

namespace dvk::daemon {

using dvs::BytesView;
using dvs::fail;
using dvs::raw;
using dvs::TimePoint;
using dvs::runtime::Fd;

namespace {

constexpr std::uint64_t listener_bit = std::uint64_t{1} << 61;

// The largest control message of a process is a Hello or a query with a name.
constexpr std::size_t control_bytes_max = 8 * 1024;
constexpr int control_messages_per_turn = 16;
constexpr int accepts_per_turn = 16;
constexpr int packets_per_turn = 64;
constexpr std::size_t packet_bytes_per_turn = 512 * 1024;
// The state of an endpoint that moves; the core has the same limit.
constexpr std::size_t state_bytes_max = 64 * 1024 * 1024;

// Connections beyond those of endpoints.
constexpr std::size_t connections_spare = 64;

constexpr auto hello_timeout = std::chrono::seconds(5);
constexpr auto refused_timeout = std::chrono::seconds(1);
constexpr auto accept_pause = std::chrono::milliseconds(100);

std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

// Moved state as sealed memory for the adopting process.
Result<Fd> publish_state(BytesView state) {
  const std::size_t bytes = whole_pages(state.size());
  DVS_TRY(Fd fd, dvs::runtime::create_shared_memory("dvk-state", bytes));
  DVS_TRY(auto mapping,
          dvs::runtime::Mapping::map(fd.get(), bytes, dvs::runtime::Access::read_write));
  std::memcpy(mapping.data(), state.data(), state.size());
  return fd;
}

}  // namespace

// --- Listening and accepting
// -------------------------------------------------------------------------

AttachServer::AttachServer(const Config& config, ring::Waiter& waiter, AttachUpper& upper)
    : config_(config), waiter_(waiter), upper_(upper), buffer_(control_bytes_max) {}

Result<std::unique_ptr<AttachServer>> AttachServer::create(const Config& config,
                                                           ring::Waiter& waiter,
                                                           AttachUpper& upper) {
  std::unique_ptr<AttachServer> server(new AttachServer(config, waiter, upper));
  DVS_CHECK(server->listen());
  return server;
}

Result<void> AttachServer::listen() {
  for (const ContainerConfig& container : config_.containers) {
    DVS_TRY(Fd socket, dvs::runtime::listen_unix(container.socket.string(), container.mode));
    DVS_CHECK(dvs::runtime::set_blocking(socket.get(), false));
    DVS_CHECK(waiter_.add(socket.get(), EPOLLIN, token_bit | listener_bit | listeners_.size()));
    listeners_.push_back(Listener{.container = &container, .socket = std::move(socket)});
  }
  return {};
}

AttachServer::~AttachServer() {
  for (auto& [handle, process] : processes_) {
    process->release_rings(waiter_);
    waiter_.remove(process->socket());
  }
  for (Listener& listener : listeners_) {
    if (!listener.socket) continue;
    waiter_.remove(listener.socket.get());
    ::unlink(listener.container->socket.c_str());
  }
}

void AttachServer::on_event(const ring::Waiter::Event& event, TimePoint now) {
  const std::uint64_t token = event.token & ~token_bit;
  if ((token & listener_bit) != 0) return accept(listeners_[token & ~listener_bit], now);
  AttachedProcess* process = find(Handle{token});
  if (process == nullptr || process->is_doomed) return;
  const bool is_over = process->state == AttachedProcess::State::refused &&
                       (event.events & (EPOLLHUP | EPOLLERR)) != 0;
  if (is_over) return doom(*process, {Errc::peer_died, 0, "refused"});
  if ((event.events & EPOLLOUT) != 0) flush_control(*process);
  if ((event.events & ~EPOLLOUT) != 0 && !process->is_doomed) read(*process, now);
}

void AttachServer::accept(Listener& listener, TimePoint now) {
  for (int i = 0; i < accepts_per_turn && listener.socket; ++i) {
    auto socket = dvs::runtime::accept_unix(listener.socket.get());
    if (!socket && socket.error() == Errc::would_block) return;
    // Mostly: out of descriptors. Trying again at once would be a busy loop.
    if (!socket) {
      spdlog::warn("event=accept_failed container={} error={}", listener.container->name,
                   log_text(socket.error()));
      return pause(listener, now);
    }
    const auto result = take_connection(listener, *std::move(socket), now);
    if (!result) {
      spdlog::info("event=attach_refused container={} error={}", listener.container->name,
                   log_text(result.error()));
    }
  }
}

void AttachServer::pause(Listener& listener, TimePoint now) {
  listener.resume_at = now + accept_pause;
  set_deadline(listener.resume_at);
  const auto index = static_cast<std::size_t>(&listener - listeners_.data());
  (void)waiter_.change(listener.socket.get(), 0, token_bit | listener_bit | index);
}

Result<void> AttachServer::take_connection(Listener& listener, Fd socket, TimePoint now) {
  const ContainerConfig& container = *listener.container;
  // Those that are too many are let in for long enough to be told so.
  if (processes_.size() >= config_.endpoints_max + connections_spare ||
      listener.connections >= container.endpoints_max + connections_spare) {
    return fail(Errc::queue_full, "too many connections");
  }
  DVS_CHECK(dvs::runtime::set_blocking(socket.get(), false));
  DVS_TRY(const auto credentials, dvs::runtime::peer_credentials(socket.get()));
  DVS_TRY(Fd pidfd, dvs::runtime::peer_pidfd(socket.get()));
  const Handle handle{next_handle_++};
  DVS_CHECK(waiter_.add(socket.get(), EPOLLIN, token_bit | static_cast<std::uint64_t>(handle)));
  auto process = std::make_unique<AttachedProcess>(handle, container.id, std::move(socket),
                                                   credentials, std::move(pidfd), now);
  process->close_at = now + hello_timeout;
  set_deadline(process->close_at);
  processes_.emplace(handle, std::move(process));
  ++listener.connections;
  return {};
}

// --- Control messages from processes
// -----------------------------------------------------------------

void AttachServer::read(AttachedProcess& process, TimePoint now) {
  for (int i = 0; i < control_messages_per_turn && !process.is_doomed; ++i) {
    if (process.state == AttachedProcess::State::refused) break;
    if (!process.control_rate.take(now)) {
      process.resume_at = process.control_rate.next_at(now);
      set_deadline(process.resume_at);
      return watch(process);
    }
    auto packet = dvs::runtime::receive_packet(process.socket(), buffer_, dvs::runtime::Wait::no);
    if (!packet && packet.error() == Errc::would_block) return;
    if (!packet) return doom(process, packet.error());
    if (packet->bytes == 0) {
      // An orderly end: what it had sent before still counts.
      std::size_t left = config_.ring_bytes;
      while (left > 0) {
        const std::size_t taken = take_packets(process, left);
        if (taken == 0) break;
        left -= std::min(left, taken);
      }
      return doom(process, {Errc::peer_died, 0, "the process closed the connection"});
    }
    const auto result = handle(process, *packet, BytesView(buffer_).first(packet->bytes));
    if (!result) refuse(process, result.error().code, result.error().detail);
  }
}

Result<void> AttachServer::handle(AttachedProcess& process, dvs::runtime::Packet& packet,
                                  BytesView bytes) {
  DVS_TRY(const auto message, wire::decode_variant<wire::ToDaemon>(bytes));
  if (process.state == AttachedProcess::State::greeting) {
    return greet(process, message, std::move(packet.fds));
  }
  if (std::holds_alternative<wire::MoveOut>(message))
    return take_move(process, message, packet.fds);
  if (!packet.fds.empty()) {
    return fail(Errc::protocol_violation, "descriptors beside a message that has none");
  }
  upper_.on_message(process, message, {});
  return {};
}

Result<void> AttachServer::greet(AttachedProcess& process, const wire::ToDaemon& message,
                                 std::vector<Fd> fds) {
  const auto* hello = std::get_if<wire::Hello>(&message);
  if (hello == nullptr) return fail(Errc::protocol_violation, "the first message must be hello");
  if (hello->version == wire::attach_version) {  // otherwise the core says what is wrong
    DVS_CHECK(process.take_descriptors(std::move(fds)));
  }
  DVS_CHECK(count_in(process));
  process.state = AttachedProcess::State::waiting;
  process.close_at = dvs::never;
  upper_.on_hello(process, *hello);
  return {};
}

Result<void> AttachServer::count_in(AttachedProcess& process) {
  Listener& listener = listener_of(process);
  const ContainerConfig& container = *listener.container;
  if (listener.endpoints >= container.endpoints_max) {
    return fail(Errc::queue_full, fmt::format("container {} has its {} endpoints on this node",
                                              container.name, container.endpoints_max));
  }
  if (endpoints_ >= config_.endpoints_max) {
    return fail(Errc::queue_full,
                fmt::format("this node has its {} endpoints", config_.endpoints_max));
  }
  ++listener.endpoints;
  ++endpoints_;
  process.is_counted = true;
  return {};
}

Result<void> AttachServer::take_move(AttachedProcess& process, const wire::ToDaemon& message,
                                     const std::vector<Fd>& fds) {
  const std::uint64_t bytes = std::get<wire::MoveOut>(message).state_bytes;
  if (fds.size() != 1 || bytes == 0 || bytes > state_bytes_max) {
    return fail(
        Errc::protocol_violation,
        fmt::format("a move needs one descriptor and a state of 1 to {} bytes", state_bytes_max));
  }
  DVS_TRY(const auto mapping, dvs::runtime::Mapping::map(fds[0].get(), whole_pages(bytes),
                                                         dvs::runtime::Access::read_only));
  upper_.on_message(process, message, mapping.bytes().first(bytes));
  return {};
}

// --- Packets from processes
// --------------------------------------------------------------------------

bool AttachServer::has_packets() const {
  return std::ranges::any_of(with_rings_, [](const AttachedProcess* process) {
    return !process->is_doomed && (process->is_ready() || process->can_push_results());
  });
}

bool AttachServer::take_packets() {
  bool has_taken = false;
  // By index: a Welcome from within adds to the list.
  for (std::size_t i = 0; i < with_rings_.size(); ++i) {
    AttachedProcess& process = *with_rings_[i];
    if (process.is_doomed) continue;
    if (process.has_waiting_results()) {
      const auto pushed = process.push_waiting_results();
      if (!pushed) {
        doom(process, pushed.error());
        continue;
      }
      if (*pushed) {
        mark_dirty(process);
        has_taken = true;
      }
    }
    if (process.is_ready()) has_taken |= take_packets(process, packet_bytes_per_turn) != 0;
  }
  return has_taken;
}

// The records lie in memory that the process can still write: decode_packet copies the header
// before it looks at it, the payload is only ever copied on, and what the core itself reads is
// copied first.
std::size_t AttachServer::take_packets(AttachedProcess& process, std::size_t bytes_max) {
  std::size_t bytes = 0;
  for (int i = 0; i < packets_per_turn && bytes < bytes_max && process.is_ready(); ++i) {
    const auto record = process.consumer().peek();
    if (!record) {
      doom(process, record.error());
      return 0;
    }
    if (!*record) break;
    auto packet = wire::decode_packet(**record);
    if (!packet) {
      doom(process, packet.error());
      return 0;
    }
    if (packet->header.kind == wire::PacketKind::copy_request) {
      order_copy_.assign(packet->payload.begin(), packet->payload.end());
      packet->payload = order_copy_;
    }
    bytes += (*record)->size();
    upper_.on_packet(process, *packet);
    if (process.is_doomed) break;
    if (process.consumer().pop()) mark_dirty(process);
  }
  return bytes;
}

// --- Towards processes
// -------------------------------------------------------------------------------

AttachedProcess* AttachServer::find(Handle handle) {
  const auto found = processes_.find(handle);
  return found == processes_.end() ? nullptr : found->second.get();
}

void AttachServer::send(AttachedProcess& process, const wire::ToProcess& message, BytesView state) {
  std::vector<SharedFd> fds;
  if (const auto* welcome = std::get_if<wire::Welcome>(&message)) {
    auto rings = process.make_rings(waiter_, config_.ring_bytes);
    if (rings && !state.empty()) {
      auto memory = publish_state(state);
      if (memory) rings->push_back(share(*std::move(memory)));
      if (!memory) rings = std::unexpected(memory.error());
    }
    if (!rings) {
      spdlog::error("event=attach_failed handle={} error={}", raw(process.handle()),
                    log_text(rings.error()));
      return refuse(process, Errc::system, "no rings: " + dvs::to_string(rings.error()));
    }
    fds = *std::move(rings);
    if (std::ranges::count(with_rings_, &process) == 0) with_rings_.push_back(&process);
    process.set_address(welcome->address);
    process.state = AttachedProcess::State::attached;
    spdlog::debug("event=attached handle={} pid={} uid={} address={}", raw(process.handle()),
                  process.pid(), process.uid(), dvs::to_string(welcome->address));
  } else if (const auto* promoted = std::get_if<wire::Promoted>(&message)) {
    process.set_address(promoted->address);
  }
  send(process, message, std::move(fds));
  if (const auto* refused = std::get_if<wire::Refused>(&message)) {
    spdlog::info("event=attach_refused handle={} pid={} uid={} error={} detail={}",
                 raw(process.handle()), process.pid(), process.uid(), dvs::name_of(refused->error),
                 log_text(refused->detail));
    process.state = AttachedProcess::State::refused;
    process.close_at = std::chrono::steady_clock::now() + refused_timeout;
    set_deadline(process.close_at);
    watch(process);
  }
}

void AttachServer::send(AttachedProcess& process, const wire::ToProcess& message,
                        std::vector<SharedFd> fds) {
  if (process.is_doomed || process.state == AttachedProcess::State::refused) return;
  const bool was_empty = process.queue.is_empty();
  const auto queued = process.queue.push(message, std::move(fds));
  if (!queued) return doom(process, queued.error());
  if (was_empty) chatty_.push_back(&process);
}

void AttachServer::refuse(AttachedProcess& process, Errc error, const std::string& detail) {
  send(process, wire::Refused{error, detail}, BytesView{});
}

void AttachServer::mark_dirty(AttachedProcess& process) {
  if (std::exchange(process.is_dirty, true)) return;
  dirty_.push_back(&process);
}

void AttachServer::flush() {
  for (AttachedProcess* process : dirty_) {
    process->is_dirty = false;
    process->publish();
  }
  dirty_.clear();
  const auto chatty = std::exchange(chatty_, {});
  for (AttachedProcess* process : chatty) flush_control(*process);
}

void AttachServer::flush_control(AttachedProcess& process) {
  if (process.is_doomed) return;
  const auto is_done = process.queue.flush(process.socket());
  if (!is_done) return doom(process, is_done.error());
  if (*is_done && process.state == AttachedProcess::State::refused) {
    return doom(process, {Errc::protocol_violation, 0, "refused"});
  }
  if (process.is_watching_writable == *is_done) {
    process.is_watching_writable = !*is_done;
    watch(process);
  }
}

void AttachServer::watch(AttachedProcess& process) {
  const bool is_reading =
      process.resume_at == dvs::never && process.state != AttachedProcess::State::refused;
  const std::uint32_t events =
      (is_reading ? EPOLLIN : 0U) | (process.is_watching_writable ? EPOLLOUT : 0U);
  const auto result = waiter_.change(process.socket(), events,
                                     token_bit | static_cast<std::uint64_t>(process.handle()));
  if (!result) doom(process, result.error());
}

bool AttachServer::request_room() {
  bool is_full_everywhere = true;
  for (AttachedProcess* process : with_rings_) {
    if (!process->is_doomed && process->has_waiting_results()) {
      is_full_everywhere &= process->request_room();
    }
  }
  return is_full_everywhere;
}

// --- Clock and ends
// ----------------------------------------------------------------------------------

void AttachServer::on_tick(TimePoint now) {
  if (deadline_ > now) return;
  deadline_ = dvs::never;
  for (Listener& listener : listeners_) {
    set_deadline(listener.resume_at > now ? listener.resume_at : dvs::never);
    if (listener.resume_at > now || !listener.socket) continue;
    listener.resume_at = dvs::never;
    const auto index = static_cast<std::size_t>(&listener - listeners_.data());
    (void)waiter_.change(listener.socket.get(), EPOLLIN, token_bit | listener_bit | index);
  }
  for (auto& [handle, process] : processes_) {
    if (process->is_doomed) continue;
    if (process->resume_at <= now) {
      process->resume_at = dvs::never;
      watch(*process);
    }
    if (process->close_at <= now) {
      const bool is_silent = process->state == AttachedProcess::State::greeting;
      doom(*process, {Errc::deadline, 0, is_silent ? "no hello came" : "refused"});
    }
    set_deadline(std::min(process->close_at, process->resume_at));
  }
}

void AttachServer::doom(AttachedProcess& process, const dvs::Error& why) {
  if (std::exchange(process.is_doomed, true)) return;
  doomed_.push_back(process.handle());
  spdlog::debug("event=detached handle={} pid={} address={} reason={}", raw(process.handle()),
                process.pid(), dvs::to_string(process.address()), log_text(why));
}

void AttachServer::reap() {
  while (!doomed_.empty()) {
    const Handle handle = doomed_.back();
    doomed_.pop_back();
    if (AttachedProcess* process = find(handle)) close(*process);
  }
}

AttachServer::Listener& AttachServer::listener_of(const AttachedProcess& process) {
  return *std::ranges::find_if(listeners_, [&](const Listener& listener) {
    return listener.container->id == process.container();
  });
}

void AttachServer::close(AttachedProcess& process) {
  if (process.state != AttachedProcess::State::greeting) upper_.on_closed(process);
  process.release_rings(waiter_);
  waiter_.remove(process.socket());
  std::erase(dirty_, &process);
  std::erase(chatty_, &process);
  std::erase(with_rings_, &process);
  Listener& listener = listener_of(process);
  --listener.connections;
  if (process.is_counted) {
    --listener.endpoints;
    --endpoints_;
  }
  // What lies unread at the close would make the kernel take back the refusal (ECONNRESET).
  if (process.state == AttachedProcess::State::refused) {
    for (int i = 0; i < control_messages_per_turn; ++i) {
      if (!dvs::runtime::receive_packet(process.socket(), buffer_, dvs::runtime::Wait::no)) break;
    }
  }
  processes_.erase(process.handle());
}

void AttachServer::for_each(const std::function<void(AttachedProcess&)>& each) {
  for (auto& [handle, process] : processes_) each(*process);
}

void AttachServer::close_all() {
  for (Listener& listener : listeners_) {
    if (!listener.socket) continue;
    waiter_.remove(listener.socket.get());
    listener.socket.close();
    ::unlink(listener.container->socket.c_str());
  }
  for (auto& [handle, process] : processes_) {
    doom(*process, {Errc::detached, 0, "dvsd is stopping"});
  }
  reap();
}

}  // namespace dvk::daemon

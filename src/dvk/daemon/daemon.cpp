// See daemon.hpp.
#include "dvk/daemon/daemon.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/assert.hpp"
#include "dvk/daemon/log.hpp"
#include "dvk/daemon/systemd_notice.hpp"

namespace dvk::daemon {

using dvs::BytesView;
using dvs::fail;
using dvs::fail_os;

namespace {

using Clock = std::chrono::steady_clock;

// As long as two processes on one core need to hand each other the ball; see ring/waiter.cpp.
constexpr auto give_way_time_max = std::chrono::microseconds(50);
constexpr auto give_way_turn_max = std::chrono::milliseconds(1);
// asio measures waits itself; this keeps a wait from being overflowed into the past.
constexpr auto sleep_time_max = std::chrono::seconds(3600);
// The link's own descriptors have their turn at least this often, however busy the rings are.
constexpr std::uint64_t turns_per_descriptors = 16;
// So long the last words to other nodes may take.
constexpr auto farewell_time = std::chrono::milliseconds(50);

node::Policy make_policy(const Config& config) {
  std::map<ContainerId, node::Policy::ContainerRules> rules;
  for (const ContainerConfig& container : config.containers) rules[container.id] = container.rules;
  return node::Policy(std::move(rules));
}

// Every endpoint costs some descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

// --- Beginning
// ---------------------------------------------------------------------------------------

Result<std::unique_ptr<Daemon>> Daemon::create(Config config) {
  raise_descriptor_limit();
  DVS_TRY(const ClusterId cluster, cluster_id_of(config));
  DVS_TRY(DirectoryLock state_lock, DirectoryLock::acquire(config.state_dir));
  DVS_TRY(DirectoryLock run_lock, DirectoryLock::acquire(config.run_dir));
  DVS_TRY(const bool has_version, check_state_version(config.state_dir));
  DVS_TRY(SerialStore serials, SerialStore::open(config.state_dir, !has_version));
  if (!has_version) DVS_CHECK(write_state_version(config.state_dir));
  DVS_TRY(ring::Waiter waiter, ring::Waiter::create());
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config), std::move(state_lock),
                                            std::move(run_lock), std::move(serials),
                                            std::move(waiter)));
  DVS_CHECK(daemon->open(cluster));
  return daemon;
}

Daemon::Daemon(Config config, DirectoryLock state_lock, DirectoryLock run_lock, SerialStore serials,
               ring::Waiter waiter)
    : config_(std::move(config)),
      state_lock_(std::move(state_lock)),
      run_lock_(std::move(run_lock)),
      serials_(std::move(serials)),
      waiter_(std::move(waiter)),
      waiter_watch_(io_),
      signals_(io_),
      output_(config_.node, serials_),
      core_(config_.node, output_, make_policy(config_)),
      view_source_(std::make_unique<StaticView>(config_)) {}

Result<void> Daemon::open(const ClusterId& cluster) {
  DVS_TRY(boot_, serials_.give());
  dvs::runtime::Fd watched(::fcntl(waiter_.epoll_fd(), F_DUPFD_CLOEXEC, 0));
  if (!watched) return fail_os("duplicating the epoll descriptor");
  boost::system::error_code error;
  waiter_watch_.assign(watched.get(), error);
  if (error) return fail_os("watching the epoll descriptor", error.value());
  watched.release();
  for (const int signal : {SIGTERM, SIGINT}) {
    signals_.add(signal, error);
    if (error) return fail_os("catching signals", error.value());
  }
  // Neither a lost terminal nor a closed pipe ends a daemon.
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  signals_.async_wait([this](const boost::system::error_code& failed, int signal) {
    if (failed) return;
    spdlog::info("event=signal number={}", signal);
    is_stopping_ = true;
  });
  if (config_.has_links()) {
    DVS_TRY(links_, NodeLinks::create(io_, config_, cluster, boot_, *this));
  }
  DVS_TRY(attach_, AttachServer::create(config_, waiter_, *this));
  DVS_TRY(control_,
          ControlServer::create((config_.run_dir / "control.sock").string(), waiter_,
                                [this](std::string_view command) { return answer(command); }));
  output_.connect(attach_.get(), links_.get());
  return {};
}

Daemon::~Daemon() = default;

Result<void> Daemon::extend(std::unique_ptr<Extension> extension) {
  DVS_CHECK(extension->start(io_, *this));
  extensions_.push_back(std::move(extension));
  return {};
}

// --- The loop
// ----------------------------------------------------------------------------------------

Result<void> Daemon::run() {
  now_ = Clock::now();
  watch_waiter();
  DVS_CHECK(view_source_->start(*this, io_, links_.get()));
  if (links_) links_->start();
  spdlog::info("event=ready node={} boot={} link_port={} containers={} run_dir={}",
               dvs::raw(config_.node), boot_, link_port(), config_.containers.size(),
               config_.run_dir.string());
  notify_systemd("READY=1");
  while (!is_stopping_) {
    DVS_TRY(const bool has_done, turn());
    if (has_done || is_stopping_ || give_way()) continue;
    sleep();
  }
  return stop();
}

Result<bool> Daemon::turn() {
  now_ = Clock::now();
  ++turns_;
  bool has_done = io_.poll() != 0;
  if (is_waiter_ready_ || turns_ % turns_per_descriptors == 0) {
    DVS_TRY(const bool has_served, serve_descriptors());
    has_done |= has_served;
  }
  has_done |= attach_->take_packets();
  if (core_.next_deadline() <= now_) {
    with_core([&] { core_.on_tick(now_); });
  }
  attach_->on_tick(now_);
  with_core([&] { has_work_ = core_.work(); });
  has_done |= has_work_;
  settle();
  attach_->flush();
  settle();
  if (links_ && links_->flush()) has_done = true;
  return has_done;
}

// What was found while the core was busy.
void Daemon::settle() {
  attach_->reap();
  if (links_) links_->settle();
}

Result<bool> Daemon::serve_descriptors() {
  DVS_TRY(const bool has_events, waiter_.look());
  if (is_waiter_ready_) watch_waiter();
  if (!has_events) return false;
  // A copy: what is done below may look again.
  const std::vector<ring::Waiter::Event> events(waiter_.events().begin(), waiter_.events().end());
  for (const ring::Waiter::Event& event : events) {
    if ((event.token & AttachServer::token_bit) != 0) {
      attach_->on_event(event, now_);
    } else {
      control_->on_event(event);
    }
  }
  return true;
}

// asio says once that the waiter's epoll set has something; then it is asked again.
void Daemon::watch_waiter() {
  is_waiter_ready_ = false;
  waiter_watch_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this](const boost::system::error_code&) { is_waiter_ready_ = true; });
}

// Lets a peer on the same core run and answer; mostly cheaper than being woken. True: there is
// something to do.
bool Daemon::give_way() {
  using Verdict = ring::PhaseHabit::Verdict;
  if (!giving_way_.wants()) return false;
  const TimePoint start = Clock::now();
  TimePoint now = start;
  do {
    ::sched_yield();
    const bool is_ready = has_packets() || io_.poll() != 0;
    const TimePoint before = std::exchange(now, Clock::now());
    if (now - before > give_way_turn_max) {
      // Another thread used up its time slice: sleeping would have cost less.
      giving_way_.record(Verdict::costly);
      return is_ready;
    }
    if (is_ready) {
      giving_way_.record(Verdict::success);
      return true;
    }
  } while (now - start < give_way_time_max);
  giving_way_.record(Verdict::failure);
  return false;
}

void Daemon::sleep() {
  const TimePoint start = Clock::now();
  const TimePoint deadline = std::min({core_.next_deadline(), attach_->next_deadline(),
                                       start + TimePoint::duration(sleep_time_max)});
  waiter_.begin_sleep();
  if (attach_->request_room() && !has_packets()) {
    ++sleeps_;
    io_.run_one_until(deadline);
  }
  waiter_.end_sleep();
  if (Clock::now() - start < 2 * give_way_time_max) giving_way_.note_short_wait();
}

// --- Ending
// ------------------------------------------------------------------------------------------

Result<void> Daemon::stop() {
  spdlog::info("event=stopping endpoints={}", attach_->size());
  notify_systemd("STOPPING=1");
  now_ = Clock::now();
  control_.reset();
  for (const auto& extension : extensions_) extension->stop(io_);
  extensions_.clear();
  attach_->close_all();
  view_source_->stop(io_);
  if (links_) {
    links_->flush();
    // Peers should hear that the endpoints ended, but a peer that does not listen holds up nobody.
    const TimePoint end = Clock::now() + farewell_time;
    while (io_.run_one_until(end) != 0) {
    }
    links_->stop(io_);
  }
  boost::system::error_code ignored;
  signals_.cancel(ignored);
  waiter_watch_.close(ignored);
  io_.poll();
  const auto closed = serials_.close();
  if (!closed) spdlog::error("event=serials_not_closed error={}", log_text(closed.error()));
  spdlog::info("event=stopped");
  if (is_declared_lost_) {
    return fail(Errc::peer_died,
                "the cluster could not hear this node and declared it lost; what ran here has "
                "ended, and it comes back when dvsd is started again");
  }
  return {};
}

// --- The core
// ----------------------------------------------------------------------------------------

template <class Call>
void Daemon::with_core(Call call) {
  DVS_ASSERT(!is_in_core_);
  is_in_core_ = true;
  call();
  // A node there is no way to is down as far as the core is concerned. What it then sends to say so
  // may fail in the same way, once.
  std::set<NodeId> told;
  for (auto nodes = output_.take_unreachable(); !nodes.empty();
       nodes = output_.take_unreachable()) {
    std::erase_if(nodes, [&](const NodeId node) { return !told.insert(node).second; });
    for (const NodeId node : nodes) core_.on_link_down(node, now_);
  }
  is_in_core_ = false;
}

void Daemon::on_hello(AttachedProcess& process, const wire::Hello& hello) {
  with_core(
      [&] { core_.on_hello(process.handle(), process.container(), process.uid(), hello, now_); });
  tell_processes_changed();
}

void Daemon::on_message(AttachedProcess& process, const wire::ToDaemon& message, BytesView state) {
  with_core([&] { core_.on_process_message(process.handle(), message, state, now_); });
}

void Daemon::on_packet(AttachedProcess& process, const wire::Packet& packet) {
  with_core(
      [&] { core_.on_process_packet(process.handle(), packet.header, packet.payload, now_); });
}

void Daemon::on_closed(AttachedProcess& process) {
  with_core([&] { core_.on_process_closed(process.handle(), now_); });
  tell_processes_changed();
}

void Daemon::on_node_message(NodeId from, BytesView message) {
  Result<void> result;
  with_core([&] { result = core_.on_node_message(from, message, now_); });
  if (!result) {
    spdlog::warn("event=bad_node_message node={} error={}", dvs::raw(from),
                 log_text(result.error()));
  }
}

void Daemon::on_link_up(NodeId node, bool has_restarted) {
  with_core([&] { core_.on_link_up(node, has_restarted, now_); });
}

void Daemon::on_link_down(NodeId node) {
  with_core([&] { core_.on_link_down(node, now_); });
}

void Daemon::on_bulk_room(NodeId node) {
  with_core([&] { core_.on_bulk_room(node, now_); });
  has_work_ = true;
}

void Daemon::on_link_state(const LinkChange& change) {
  for (const auto& extension : extensions_) extension->on_link_state(change);
}

void Daemon::tell_processes_changed() {
  for (const auto& extension : extensions_) extension->on_processes_changed();
}

void Daemon::on_view(const node::View& view) {
  spdlog::info("event=view number={} members={}", view.number, number_list(view.members));
  view_ = view;
  with_core([&] { core_.install_view(view, now_); });
  for (const auto& extension : extensions_) extension->on_view(view);
}

void Daemon::on_node_lost(NodeId node) {
  spdlog::warn("event=node_lost node={}", dvs::raw(node));
  with_core([&] { core_.on_node_lost(node, now_); });
  for (const auto& extension : extensions_) extension->on_node_lost(node);
}

void Daemon::on_frozen(bool is_frozen) {
  spdlog::warn("event={}", is_frozen ? "frozen" : "thawed");
  with_core([&] { core_.set_frozen(is_frozen, now_); });
  for (const auto& extension : extensions_) extension->on_frozen(is_frozen);
}

void Daemon::on_own_loss() {
  is_declared_lost_ = true;
  is_stopping_ = true;
}

// --- Control
// -----------------------------------------------------------------------------------------

std::string Daemon::answer(std::string_view command) {
  if (command == "status") return status_json();
  if (command == "stop") {
    is_stopping_ = true;
    return R"({"ok":true})";
  }
  constexpr std::string_view cut = "cut ";
  if (command.starts_with(cut)) {
    std::uint16_t number = 0;
    const char* end = command.data() + command.size();
    const auto [stop, error] = std::from_chars(command.data() + cut.size(), end, number);
    if (error == std::errc{} && stop == end) {
      const bool was_connected = this->cut(NodeId{number});
      return fmt::format(R"({{"ok":true,"was_connected":{}}})", was_connected);
    }
  }
  return fmt::format(
      R"({{"ok":false,"error":{}}})",
      json_text(fmt::format("unknown command \"{}\"; known: status, cut N, stop", command)));
}

DaemonStatus Daemon::status() const {
  return {.node = config_.node,
          .boot = boot_,
          .link_port = link_port(),
          .connections = attach_->size(),
          .endpoints = core_.endpoint_count(),
          .dropped_packets = output_.dropped_packets(),
          .turns = turns_,
          .sleeps = sleeps_,
          .view = view_,
          .links = links_ ? links_->status() : std::vector<LinkStatus>{}};
}

std::string Daemon::status_json() const {
  return fmt::format(
      R"({{"ok":true,"node":{},"boot":{},"link_port":{},"connections":{},"endpoints":{},)"
      R"("dropped_packets":{},"turns":{},"sleeps":{},"view":{{"number":{},"members":[{}]}},)"
      R"("membership":{},"links":{}}})",
      dvs::raw(config_.node), boot_, link_port(), attach_->size(), core_.endpoint_count(),
      output_.dropped_packets(), turns_, sleeps_, view_.number, number_list(view_.members),
      view_source_->status_json(), links_ ? links_->status_json() : "[]");
}

}  // namespace dvk::daemon

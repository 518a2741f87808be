// See link_set.hpp.
#include "dvk/link/link_set.hpp"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fmt/format.h>

#include "base/assert.hpp"
#include "dvk/link/tcp_transport.hpp"

namespace dvk::link {

namespace asio = boost::asio;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Error;
using dvs::fail;
using dvs::NodeId;
using dvs::raw;
using dvs::Result;
using dvs::TimePoint;
using dvs::runtime::Fd;

namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);
constexpr dvs::Duration redial_after_min = std::chrono::milliseconds(20);
constexpr dvs::Duration redial_after_max = std::chrono::seconds(1);
// Connections that have not said who they are; more are closed at once.
constexpr std::size_t incoming_max = 64;
// Deadlines closer together than this are served together.
constexpr dvs::Duration clock_step = std::chrono::milliseconds(1);

TimePoint clock_now() {
  return std::chrono::steady_clock::now();
}

std::uint64_t random_number() {
  std::uint64_t number = 0;
  DVS_ASSERT(::getrandom(&number, sizeof number, 0) == sizeof number);
  return number;
}

std::string node_text(NodeId node) {
  return fmt::format("node {}", raw(node));
}

// Reads until the first frame is there. It stays in the reader.
asio::awaitable<Result<wire::Frame>> first_frame(Connection& connection,
                                                 wire::FrameReader& reader) {
  const TimePoint deadline = clock_now() + handshake_time;
  for (;;) {
    auto frame = reader.next();
    if (!frame) co_return std::unexpected(std::move(frame).error());
    if (*frame) co_return **frame;
    const IoResult result = connection.read_some(reader.space());
    if (result.status == IoStatus::failed) co_return std::unexpected(connection.failure());
    if (result.status == IoStatus::done) {
      reader.commit(result.bytes);
    } else if (auto waited = co_await connection.wait_readable(deadline); !waited) {
      co_return std::unexpected(std::move(waited).error());
    }
  }
}

Result<void> check(const LinkSetConfig& config) {
  if (config.self == dvs::no_node || config.boot == 0) {
    return fail(Errc::invalid_argument, "links need a node number and a boot number, both not 0");
  }
  if (config.retained_bytes_max < 2 * wire::max_frame_payload) {
    return fail(Errc::invalid_argument,
                fmt::format("retained_bytes_max must be at least {}", 2 * wire::max_frame_payload));
  }
  return {};
}

Result<std::optional<TlsContext>> load_credentials(const LinkSetConfig& config) {
  if (config.insecure_plaintext) return std::nullopt;
  DVS_TRY(TlsContext context, TlsContext::load(config.certificate));
  if (context.cluster() != config.cluster) {
    return fail(Errc::wrong_cluster,
                fmt::format("{} is the authority of cluster {}, but this node is to join {}",
                            config.certificate.authority.string(), to_text(context.cluster()),
                            to_text(config.cluster)));
  }
  return std::optional<TlsContext>(std::move(context));
}

}  // namespace

// --- Beginning and end ---

Result<std::unique_ptr<LinkSet>> LinkSet::create(asio::io_context& io, LinkSetConfig config,
                                                 LinkSetUpper& upper) {
  DVS_CHECK(check(config));
  DVS_TRY(auto credentials, load_credentials(config));
  auto transport = std::make_unique<TcpTransport>(io, std::move(credentials));
  DVS_TRY(const std::uint16_t port, transport->listen(config.listen_host, config.listen_port));
  const auto peers = config.peers;
  std::unique_ptr<LinkSet> set(
      new LinkSet(io, std::move(config), upper, std::move(transport), port));
  for (const PeerAddress& peer : peers) DVS_CHECK(set->add_peer(peer));
  return set;
}

LinkSet::LinkSet(asio::io_context& io, LinkSetConfig config, LinkSetUpper& upper,
                 std::unique_ptr<Transport> transport, std::uint16_t port)
    : config_(std::move(config)),
      upper_(upper),
      transport_(std::move(transport)),
      port_(port),
      clock_(io),
      scope_(io) {
  config_.timings.retransmit_after = dvs::Duration::max();
}

LinkSet::~LinkSet() = default;

void LinkSet::start() {
  DVS_ASSERT(!is_started_);
  is_started_ = true;
  for (auto& [id, peer] : peers_) start_dialling(peer);
  scope_.spawn(accept_forever());
  armed_for_ = clock_now();
  clock_.expires_at(armed_for_);
  scope_.spawn(run_clock());
}

asio::awaitable<void> LinkSet::stop() {
  is_stopping_ = true;
  for (auto& [id, peer] : peers_) {
    for (auto& lane : peer.lanes) lane->close(false);
  }
  co_await scope_.stop();
}

// --- Peers ---

Result<void> LinkSet::add_peer(const PeerAddress& address) {
  if (address.id == dvs::no_node || address.id == config_.self) {
    return fail(Errc::invalid_argument, node_text(address.id) + " cannot be a peer");
  }
  const auto [it, is_new] = peers_.try_emplace(address.id);
  Peer& peer = it->second;
  peer.address = address;
  if (!is_new) return {};
  LaneOwner& owner = *this;
  for (const Lane lane : all_lanes) {
    core::LinkCoreConfig core;
    core.cluster = config_.cluster;
    core.self = config_.self;
    core.peer = address.id;
    core.lane = static_cast<std::uint8_t>(lane);
    core.boot = config_.boot;
    core.nonce_seed = random_number();
    core.retained_bytes_max = config_.retained_bytes_max;
    core.timings = config_.timings;
    peer.lanes[core.lane] = std::make_unique<LaneDriver>(owner, core, lane);
  }
  if (is_started_) start_dialling(peer);
  return {};
}

LaneDriver* LinkSet::find(NodeId id, Lane lane) const {
  const auto it = peers_.find(id);
  return it == peers_.end() ? nullptr : it->second.lanes[static_cast<std::size_t>(lane)].get();
}

Result<void> LinkSet::send(NodeId to, Lane lane, Bytes payload) {
  LaneDriver* driver = find(to, lane);
  if (driver == nullptr) return fail(Errc::unreachable, "no link to " + node_text(to));
  return driver->send(std::move(payload));
}

bool LinkSet::has_room(NodeId to, Lane lane) const {
  const LaneDriver* driver = find(to, lane);
  return driver != nullptr && driver->core().has_room();
}

void LinkSet::flush(NodeId to) {
  for (const Lane lane : all_lanes) {
    if (LaneDriver* driver = find(to, lane); driver != nullptr && driver->is_dirty) driver->flush();
  }
}

core::LinkState LinkSet::state(NodeId peer, Lane lane) const {
  const LaneDriver* driver = find(peer, lane);
  return driver == nullptr ? core::LinkState::down : driver->core().state();
}

const core::LinkStatistics* LinkSet::statistics(NodeId peer, Lane lane) const {
  const LaneDriver* driver = find(peer, lane);
  return driver == nullptr ? nullptr : &driver->core().statistics();
}

std::uint64_t LinkSet::peer_boot(NodeId peer) const {
  const LaneDriver* driver = find(peer, Lane::message);
  return driver == nullptr ? 0 : driver->core().peer_boot();
}

bool LinkSet::cut(NodeId peer) {
  bool was_connected = false;
  for (const Lane lane : all_lanes) {
    if (LaneDriver* driver = find(peer, lane)) was_connected |= driver->close(true);
  }
  return was_connected;
}

void LinkSet::dial_express(NodeId to, const ExpressToken& token, ThenSocket then) {
  const auto it = peers_.find(to);
  if (it != peers_.end()) scope_.spawn(connect_express(it->second.address, token, std::move(then)));
}

asio::awaitable<void> LinkSet::connect_express(PeerAddress to, ExpressToken token,
                                               ThenSocket then) {
  auto socket = co_await transport_->connect_express(to, token);
  if (socket && !is_stopping_) then(*std::move(socket));
}

// --- What the lanes report ---

void LinkSet::on_lane_message(LaneDriver& lane, BytesView payload) {
  upper_.on_message(lane.peer(), lane.lane(), payload);
}

void LinkSet::on_lane_event(LaneDriver& lane, const core::LinkEvent& event) {
  if (event.kind == core::LinkEvent::Kind::new_session) lane.last_failure.clear();
  if (!is_stopping_) upper_.on_event(lane.peer(), lane.lane(), event);
}

void LinkSet::report(LaneDriver& lane, const Error& error) {
  // A peer that is switched off fails every second in the same way.
  std::string text = dvs::to_string(error);
  if (is_stopping_ || text == lane.last_failure) return;
  lane.last_failure = std::move(text);
  upper_.on_connection_failed(lane.peer(), error);
}

void LinkSet::on_lane_dirty(LaneDriver& lane) {
  if (lane.is_dirty) return;
  lane.is_dirty = true;
  dirty_.push_back(&lane);
  if (batches_ > 0 || is_flush_posted_) return;
  is_flush_posted_ = true;
  scope_.post([this] {
    is_flush_posted_ = false;
    flush_dirty();
  });
}

void LinkSet::end_batch() {
  if (!is_stopping_) upper_.on_batch_end();
  flush_dirty();
  --batches_;
}

void LinkSet::flush_dirty() {
  // By index: a lane that breaks while it is flushed makes itself or others dirty again.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    LaneDriver& lane = *dirty_[i];
    lane.is_dirty = false;
    lane.flush();
    arm(lane.core().next_deadline());
  }
  dirty_.clear();
}

// --- Clock ---

void LinkSet::arm(TimePoint deadline) {
  if (deadline >= armed_for_) return;
  armed_for_ = deadline;
  clock_.expires_at(deadline);
}

asio::awaitable<void> LinkSet::run_clock() {
  while (!is_stopping_) {
    // Ends early when `arm` sets an earlier time.
    co_await clock_.async_wait(as_result);
    const TimePoint now = clock_now();
    if (now < armed_for_ || is_stopping_) continue;
    ++batches_;
    for (auto& [id, peer] : peers_) {
      for (auto& lane : peer.lanes) lane->tick(now);
    }
    flush_dirty();
    --batches_;
    TimePoint next = dvs::never;
    for (auto& [id, peer] : peers_) {
      for (auto& lane : peer.lanes) next = std::min(next, lane->core().next_deadline());
    }
    armed_for_ = std::max(next, now + clock_step);
    clock_.expires_at(armed_for_);
  }
}

// --- Dialling: the node with the lower number does ---

void LinkSet::start_dialling(Peer& peer) {
  if (peer.address.id < config_.self) return;
  for (auto& lane : peer.lanes) scope_.spawn(dial_forever(*lane));
}

asio::awaitable<void> LinkSet::dial_forever(LaneDriver& lane) {
  asio::steady_timer pause(co_await asio::this_coro::executor);
  dvs::Duration redial_after = redial_after_min;
  while (!is_stopping_) {
    const std::uint64_t connections = lane.core().statistics().connections;
    const auto result = co_await dial_once(lane);
    if (is_stopping_) break;
    if (!result) report(lane, result.error());
    const bool was_up = lane.core().statistics().connections > connections;
    redial_after = was_up ? redial_after_min : std::min(redial_after * 2, redial_after_max);
    pause.expires_after(redial_after);
    co_await pause.async_wait(as_result);
  }
}

asio::awaitable<Result<void>> LinkSet::dial_once(LaneDriver& lane) {
  const NodeId id = lane.peer();
  auto connection = co_await transport_->connect(peers_.at(id).address);
  if (!connection) co_return std::unexpected(std::move(connection).error());
  const NodeId proven = (*connection)->peer_node();
  if (proven != id && proven != dvs::no_node) {
    co_return fail(Errc::certificate_rejected,
                   fmt::format("{} was dialled as {}, but its certificate names {}; correct the "
                               "address, or issue it the right certificate",
                               (*connection)->peer_text(), node_text(id), node_text(proven)));
  }
  co_return co_await lane.serve(std::move(*connection), std::make_unique<wire::FrameReader>(),
                                std::nullopt);
}

// --- Accepting ---

asio::awaitable<void> LinkSet::accept_forever() {
  while (!is_stopping_) {
    auto socket = co_await transport_->accept();
    if (!socket) {
      if (!is_stopping_) upper_.on_connection_failed(dvs::no_node, socket.error());
      co_return;
    }
    if (incoming_ < incoming_max) scope_.spawn(take_incoming(std::move(*socket)));
  }
}

// Counts a connection as unidentified for as long as it lives.
class LinkSet::IncomingSlot {
 public:
  explicit IncomingSlot(std::size_t& count) : count_(&count) { ++*count_; }
  ~IncomingSlot() { free(); }
  IncomingSlot(const IncomingSlot&) = delete;
  IncomingSlot& operator=(const IncomingSlot&) = delete;
  void free() {
    if (count_ != nullptr) --*std::exchange(count_, nullptr);
  }

 private:
  std::size_t* count_;
};

asio::awaitable<void> LinkSet::take_incoming(Fd socket) {
  IncomingSlot slot(incoming_);
  auto incoming = co_await transport_->receive(std::move(socket));
  if (is_stopping_) co_return;
  if (!incoming) {
    upper_.on_connection_failed(dvs::no_node, incoming.error());
  } else if (auto* express = std::get_if<ExpressConnection>(&*incoming)) {
    upper_.on_express(std::move(express->socket), express->token);
  } else {
    co_await take_connection(std::get<std::unique_ptr<Connection>>(std::move(*incoming)), slot);
  }
}

asio::awaitable<void> LinkSet::take_connection(std::unique_ptr<Connection> connection,
                                               IncomingSlot& slot) {
  auto reader = std::make_unique<wire::FrameReader>();
  const auto frame = co_await first_frame(*connection, *reader);
  if (is_stopping_) co_return;
  if (!frame) {
    upper_.on_connection_failed(connection->peer_node(), frame.error());
    co_return;
  }
  NodeId claimed = dvs::no_node;
  const auto lane = lane_for(*connection, *frame, claimed);
  if (!lane) {
    upper_.on_connection_failed(claimed, lane.error());
    co_return;
  }
  slot.free();
  const auto served = co_await (*lane)->serve(std::move(connection), std::move(reader), *frame);
  if (!served) report(**lane, served.error());
}

Result<LaneDriver*> LinkSet::lane_for(const Connection& connection, const wire::Frame& frame,
                                      NodeId& claimed) {
  if (frame.header.type != wire::FrameType::hello) {
    return fail(Errc::protocol_violation, connection.peer_text() + " did not begin with a hello");
  }
  DVS_TRY(const wire::LinkHello hello, wire::decode_hello(frame.payload));
  claimed = NodeId{hello.node};
  if (hello.cluster != config_.cluster) {
    return fail(Errc::wrong_cluster,
                fmt::format("{} belongs to cluster {}, this node to {}", connection.peer_text(),
                            to_text(hello.cluster), to_text(config_.cluster)));
  }
  const NodeId proven = connection.peer_node();
  if (proven != claimed && proven != dvs::no_node) {
    return fail(
        Errc::certificate_rejected,
        fmt::format("{} says it is {}, but its certificate names {}; issue it a certificate "
                    "of its own",
                    connection.peer_text(), node_text(claimed), node_text(proven)));
  }
  if (claimed > config_.self || hello.lane >= lane_count) {
    return fail(Errc::protocol_violation,
                fmt::format("{} dialled lane {} of {}, which it must not", node_text(claimed),
                            hello.lane, node_text(config_.self)));
  }
  LaneDriver* lane = find(claimed, Lane{hello.lane});
  if (lane == nullptr) {
    return fail(Errc::certificate_rejected,
                node_text(claimed) + " is not among the peers of this node; add it to them");
  }
  return lane;
}

}  // namespace dvk::link

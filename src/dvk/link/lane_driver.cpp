// See lane_driver.hpp.
#include "dvk/link/lane_driver.hpp"

#include <chrono>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace dvk::link {

namespace asio = boost::asio;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Error;
using dvs::Result;
using dvs::TimePoint;

namespace {

// After so much the other connections get their turn.
constexpr std::size_t read_turn_bytes = 512 * 1024;
constexpr std::size_t write_turn_bytes = 1024 * 1024;

TimePoint clock_now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

LaneDriver::LaneDriver(LaneOwner& owner, core::LinkCoreConfig config, Lane lane)
    : owner_(owner), peer_(config.peer), lane_(lane), core_(config, *this, clock_now()) {}

// --- The layer above ---

Result<void> LaneDriver::send(Bytes payload) {
  std::uint8_t flags = 0;
  Compressor* compressor = owner_.compressor();
  // What will be refused anyway is not worth the work.
  const bool is_sendable = payload.size() <= wire::max_frame_payload && core_.has_room();
  if (compressor != nullptr && is_sendable && compressor->compress(payload, owner_.pool())) {
    flags = wire::frame_flag::compressed;
  }
  auto result = core_.send(std::move(payload), flags);
  if (result) owner_.on_lane_dirty(*this);
  return result;
}

void LaneDriver::on_message(BytesView payload) {
  owner_.on_lane_message(*this, payload);
}

void LaneDriver::on_event(const core::LinkEvent& event) {
  owner_.on_lane_event(*this, event);
}

void LaneDriver::on_released(Bytes payload) {
  if (attached_) {
    attached_->writer.keep(std::move(payload));
  } else {
    owner_.pool().give(std::move(payload));
  }
}

// --- Connection ---

void LaneDriver::attach(const std::shared_ptr<Attached>& attached) {
  if (attached_) {
    attached_->connection->close();
    detach();
  }
  attached_ = attached;
  core_.on_connected(clock_now());
}

void LaneDriver::detach() {
  attached_.reset();
  core_.on_disconnected();
}

void LaneDriver::end(Error cause) {
  if (!attached_) return;
  attached_->end_cause = std::move(cause);
  attached_->connection->close();
  detach();
}

bool LaneDriver::close(bool is_abrupt) {
  if (!attached_) return false;
  attached_->connection->close(is_abrupt);
  detach();
  return true;
}

asio::awaitable<Result<void>> LaneDriver::serve(std::unique_ptr<Connection> connection,
                                                std::unique_ptr<wire::FrameReader> reader,
                                                std::optional<wire::Frame> first) {
  const auto attached =
      std::make_shared<Attached>(std::move(connection), std::move(reader), owner_.pool());
  attach(attached);
  if (first) {
    if (auto taken = take(*first, clock_now()); !taken) end(std::move(taken).error());
  }
  co_await read_until_end(attached);
  if (attached->end_cause) co_return std::unexpected(std::move(*attached->end_cause));
  co_return Result<void>{};
}

// --- Reading ---

asio::awaitable<void> LaneDriver::read_until_end(const std::shared_ptr<Attached>& attached) {
  while (attached == attached_) {
    owner_.begin_batch();
    auto progress = read_batch(*attached);
    if (!progress && attached == attached_) end(std::move(progress).error());
    owner_.on_lane_dirty(*this);
    owner_.end_batch();
    if (attached != attached_) break;
    if (*progress == Progress::more) {
      co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
      continue;
    }
    auto waited = co_await attached->connection->wait_readable();
    if (!waited && attached == attached_) end(std::move(waited).error());
  }
}

Result<LaneDriver::Progress> LaneDriver::read_batch(Attached& attached) {
  const TimePoint now = clock_now();
  DVS_CHECK(take_frames(attached, now));  // those that came along with the first
  for (std::size_t bytes = 0; &attached == attached_.get();) {
    if (bytes >= read_turn_bytes) return Progress::more;
    const IoResult result = attached.connection->read_some(attached.reader->space());
    if (result.status == IoStatus::failed) return std::unexpected(attached.connection->failure());
    if (result.status == IoStatus::would_block) break;
    bytes += result.bytes;
    attached.reader->commit(result.bytes);
    core_.on_activity(now);
    DVS_CHECK(take_frames(attached, now));
  }
  return Progress::drained;
}

Result<void> LaneDriver::take_frames(Attached& attached, TimePoint now) {
  // The layer above may close the connection from within.
  while (&attached == attached_.get()) {
    DVS_TRY(const auto frame, attached.reader->next());
    if (!frame) break;
    DVS_CHECK(take(*frame, now));
  }
  return {};
}

Result<void> LaneDriver::take(const wire::Frame& frame, TimePoint now) {
  if ((frame.header.flags & wire::frame_flag::compressed) == 0 ||
      frame.header.type != wire::FrameType::data) {
    return core_.on_frame(now, frame.header, frame.payload);
  }
  DVS_TRY(const BytesView payload, owner_.expander().expand(frame.payload));
  return core_.on_frame(now, frame.header, payload);
}

// --- Writing ---

bool LaneDriver::write_out(Attached& attached) {
  for (std::size_t bytes = 0; bytes < write_turn_bytes;) {
    if (attached.writer.is_empty()) attached.writer.fill(core_, clock_now());
    const bool has_pieces = !attached.writer.is_empty();
    const IoResult result = attached.connection->write_some(attached.writer.pieces());
    attached.writer.advance(result.bytes);
    bytes += result.bytes;
    if (result.status == IoStatus::failed) {
      end(attached.connection->failure());
      return true;
    }
    if (result.status == IoStatus::would_block) return false;
    if (!has_pieces) return true;
  }
  return false;
}

void LaneDriver::flush() {
  if (!attached_ || attached_->is_blocked) return;
  const auto attached = attached_;
  if (write_out(*attached)) return;
  attached->is_blocked = true;
  owner_.spawn(write_when_possible(attached));
}

asio::awaitable<void> LaneDriver::write_when_possible(std::shared_ptr<Attached> attached) {
  while (attached == attached_) {
    const auto waited = co_await attached->connection->wait_writable();
    if (!waited || attached != attached_) co_return;
    if (!write_out(*attached)) continue;
    attached->is_blocked = false;
    owner_.on_lane_dirty(*this);  // its deadlines have changed
    co_return;
  }
}

// --- Clock ---

void LaneDriver::tick(TimePoint now) {
  if (core_.next_deadline() > now) return;
  if (auto result = core_.on_tick(now); !result) end(std::move(result).error());
  owner_.on_lane_dirty(*this);
}

}  // namespace dvk::link

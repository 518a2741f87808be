// Drives one LinkCore: moves frames between it and the lane's connection of the moment.
//
// Reading happens in the coroutine that `serve` is, in batches, each followed by end_batch; writing
// at once where the socket has room, else by a coroutine that waits until it has.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/core/link_core.hpp"
#include "dvk/link/buffer_pool.hpp"
#include "dvk/link/compression.hpp"
#include "dvk/link/frame_writer.hpp"
#include "dvk/link/lane.hpp"
#include "dvk/link/transport.hpp"

namespace dvk::link {

class LaneDriver;

// What the lanes of a node share.
class LaneOwner {
 public:
  virtual void on_lane_message(LaneDriver& lane, dvs::BytesView payload) = 0;
  virtual void on_lane_event(LaneDriver& lane, const core::LinkEvent& event) = 0;
  // The lane has something to write, or another deadline.
  virtual void on_lane_dirty(LaneDriver& lane) = 0;
  // Around each batch of what came in.
  virtual void begin_batch() = 0;
  virtual void end_batch() = 0;
  virtual void spawn(boost::asio::awaitable<void> task) = 0;
  virtual BufferPool& pool() = 0;
  virtual Compressor* compressor() = 0;  // for sending; nullptr: not wanted
  virtual Compressor& expander() = 0;

 protected:
  ~LaneOwner() = default;
};

class LaneDriver final : private core::LinkUpper {
 public:
  LaneDriver(LaneOwner& owner, core::LinkCoreConfig config, Lane lane);

  dvs::NodeId peer() const { return peer_; }
  Lane lane() const { return lane_; }
  const core::LinkCore& core() const { return core_; }

  // As LinkCore::send. The owner is told that there is something to write.
  dvs::Result<void> send(dvs::Bytes payload);
  // Writes what there is, as far as the socket takes it.
  void flush();
  void tick(dvs::TimePoint now);

  // Uses the connection until it ends; one that is in use is closed. `first` is a frame that
  // `reader` has given out already. Error: why it ended, unless another took its place or the owner
  // closed it.
  boost::asio::awaitable<dvs::Result<void>> serve(std::unique_ptr<Connection> connection,
                                                  std::unique_ptr<wire::FrameReader> reader,
                                                  std::optional<wire::Frame> first);
  // Closes the connection, if there is one; otherwise false.
  bool close(bool is_abrupt);

  // Bookkeeping of the owner.
  bool is_dirty = false;
  std::string last_failure;

 private:
  // A connection in use. Coroutines share it, as it may be replaced while they wait.
  struct Attached {
    Attached(std::unique_ptr<Connection> c, std::unique_ptr<wire::FrameReader> r, BufferPool& pool)
        : connection(std::move(c)), reader(std::move(r)), writer(pool) {}
    std::unique_ptr<Connection> connection;
    std::unique_ptr<wire::FrameReader> reader;
    FrameWriter writer;
    bool is_blocked = false;  // a coroutine waits until it can be written to
    std::optional<dvs::Error> end_cause;
  };
  enum class Progress : std::uint8_t { drained, more };

  void on_message(dvs::BytesView payload) override;
  void on_event(const core::LinkEvent& event) override;
  void on_released(dvs::Bytes payload) override;

  void attach(const std::shared_ptr<Attached>& attached);
  void detach();
  // Ends the connection in use.
  void end(dvs::Error cause);
  boost::asio::awaitable<void> read_until_end(const std::shared_ptr<Attached>& attached);
  dvs::Result<Progress> read_batch(Attached& attached);
  dvs::Result<void> take_frames(Attached& attached, dvs::TimePoint now);
  dvs::Result<void> take(const wire::Frame& frame, dvs::TimePoint now);
  // True: nothing is left to write; false: it has to wait.
  bool write_out(Attached& attached);
  boost::asio::awaitable<void> write_when_possible(std::shared_ptr<Attached> attached);

  LaneOwner& owner_;
  dvs::NodeId peer_;
  Lane lane_;
  std::shared_ptr<Attached> attached_;
  core::LinkCore core_;
};

}  // namespace dvk::link

// See task_scope.hpp.
#include "dvk/link/task_scope.hpp"

#include <exception>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include "base/assert.hpp"

namespace dvk::link {

namespace asio = boost::asio;

namespace {

// Asio unwinds a cancelled coroutine by this exception; any other is a defect and goes on.
void rethrow_unless_cancelled(const std::exception_ptr& exception) {
  if (!exception) return;
  try {
    std::rethrow_exception(exception);
  } catch (const boost::system::system_error& error) {
    if (error.code() != asio::error::operation_aborted) throw;
  }
}

}  // namespace

TaskScope::TaskScope(asio::io_context& io) : io_(io), all_done_(io) {}

TaskScope::~TaskScope() {
  DVS_ASSERT(running_ == 0);
}

void TaskScope::spawn(asio::awaitable<void> task) {
  if (is_stopping_) return;
  tasks_.remove_if([](const Task& done) { return done.is_done; });
  Task& entry = tasks_.emplace_back();
  ++running_;
  asio::co_spawn(io_, std::move(task),
                 asio::bind_cancellation_slot(entry.signal.slot(),
                                              [this, &entry](const std::exception_ptr& exception) {
                                                entry.is_done = true;
                                                finish_one();
                                                rethrow_unless_cancelled(exception);
                                              }));
}

void TaskScope::post(std::function<void()> function) {
  if (is_stopping_) return;
  ++running_;
  asio::post(io_, [this, function = std::move(function)] {
    if (!is_stopping_) function();
    finish_one();
  });
}

void TaskScope::finish_one() {
  if (--running_ == 0) all_done_.cancel();
}

asio::awaitable<void> TaskScope::stop() {
  is_stopping_ = true;
  for (Task& task : tasks_) {
    if (!task.is_done) task.signal.emit(asio::cancellation_type::terminal);
  }
  while (running_ > 0) {
    all_done_.expires_at(asio::steady_timer::time_point::max());
    co_await all_done_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

bool run_to_end(asio::io_context& io, asio::awaitable<void> task,
                std::chrono::steady_clock::duration patience) {
  bool has_ended = false;
  // Not detached in effect: the loops below do not end before it has.
  asio::co_spawn(io, std::move(task), [&](const std::exception_ptr&) { has_ended = true; });
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!has_ended && io.run_one_until(deadline) != 0) {
  }
  const bool is_in_time = has_ended;
  while (!has_ended && io.run_one() != 0) {
  }
  return is_in_time;
}

}  // namespace dvk::link

// The coroutines and posted functions of one owner, none of them detached: stop cancels them all
// and completes when the last has ended.
//
// For one io_context that one thread runs.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

namespace dvk::link {

class TaskScope {
 public:
  explicit TaskScope(boost::asio::io_context& io);
  // Nothing may be running.
  ~TaskScope();
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  // Runs the coroutine from the loop. When the scope is stopping it is dropped without having run.
  void spawn(boost::asio::awaitable<void> task);
  // Calls the function from the loop, after what is ready now; not at all when stopping by then.
  void post(std::function<void()> function);
  // Cancels what runs and waits until it has ended. Not to be awaited by a task of the same scope.
  boost::asio::awaitable<void> stop();

  bool is_stopping() const { return is_stopping_; }

 private:
  struct Task {
    boost::asio::cancellation_signal signal;
    bool is_done = false;
  };

  void finish_one();

  boost::asio::io_context& io_;
  boost::asio::steady_timer all_done_;
  std::list<Task> tasks_;  // those that are done go when the next one comes
  std::size_t running_ = 0;
  bool is_stopping_ = false;
};

// Runs the loop until the coroutine has ended, as one does at the end of everything. False: it took
// longer than `patience`, and was waited for all the same.
bool run_to_end(boost::asio::io_context& io, boost::asio::awaitable<void> task,
                std::chrono::steady_clock::duration patience);

}  // namespace dvk::link

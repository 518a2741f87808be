// Threads that put load on a cluster while the test's main thread disturbs it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace integration {

class LoadThreads {
 public:
  // An exception in a thread fails the test and asks the others to end.
  void start(const std::string& what, std::function<void()> body) {
    threads_.emplace_back([this, what, body = std::move(body)] {
      try {
        body();
      } catch (const std::exception& exception) {
        ADD_FAILURE() << what << ": " << exception.what();
        has_failed_ = true;
        is_stopping_ = true;
      }
    });
  }
  void stop() { is_stopping_ = true; }
  bool is_stopping() const { return is_stopping_; }
  bool has_failed() const { return has_failed_; }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  ~LoadThreads() {
    stop();
    join();
  }

 private:
  std::atomic<bool> is_stopping_ = false;
  std::atomic<bool> has_failed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace integration

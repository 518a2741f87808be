// An eventfd: lets one thread or process wake another that waits for descriptors.
#pragma once

#include <dvs/result.hpp>

#include "runtime/fd.hpp"

namespace dvs::runtime {

// Between parties that trust each other: whoever holds the descriptor can empty it, fill it up and
// change its flags.
class Event {
 public:
  static Result<Event> create();

  // Makes the descriptor readable. Never blocks; safe in signal handlers.
  void signal() const noexcept;
  // Makes it unreadable again. True if it had been signalled. Never blocks.
  bool drain() const noexcept;

  int fd() const noexcept { return fd_.get(); }

 private:
  explicit Event(Fd fd) noexcept : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace dvs::runtime

#include "runtime/event.hpp"

#include <poll.h>

#include <gtest/gtest.h>

namespace dvs::runtime {
namespace {

bool is_readable(int fd) {
  pollfd item{fd, POLLIN, 0};
  return ::poll(&item, 1, 0) == 1;
}

TEST(Event, SignalsCoalesceUntilDrained) {
  auto event = Event::create();
  ASSERT_TRUE(event);
  EXPECT_FALSE(is_readable(event->fd()));
  EXPECT_FALSE(event->drain());
  event->signal();
  event->signal();
  EXPECT_TRUE(is_readable(event->fd()));
  EXPECT_TRUE(event->drain());
  EXPECT_FALSE(event->drain());
  EXPECT_FALSE(is_readable(event->fd()));
}

}  // namespace
}  // namespace dvs::runtime

// What systemd wants to hear from a service (sd_notify), said by hand.
#pragma once

#include <string_view>

namespace dvk::daemon {

// Sends `state` ("READY=1") to the socket named by NOTIFY_SOCKET, if it is set. Does not block; a
// failure matters to nobody but the service manager, and is logged.
void notify_systemd(std::string_view state);

}  // namespace dvk::daemon

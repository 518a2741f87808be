// The life of a peer's daemon, told from the sessions of its lanes.
//
// The lanes have sessions of their own, but the peer has one life. The message lane alone says when
// a new one begins: nothing that matters comes on the bulk lane before. What the old life may still
// have under way on the bulk lane has to be cut off, so that nothing it said is heard after its
// death.
#pragma once

#include <cstdint>

#include "dvk/core/link_core.hpp"

namespace dvk::core {

class PeerLife {
 public:
  // What a new session means for the layers above, in this order.
  struct News {
    bool must_cut_bulk = false;
    bool is_up = false;          // the link is to be told as up: what was under way may be lost
    bool has_restarted = false;  // with is_up: by another life of the peer
  };

  News on_message_session(SessionCause cause) {
    if (cause != SessionCause::peer_restarted) return {.is_up = true};
    ++message_restarts_;
    return {
        .must_cut_bulk = bulk_restarts_ < message_restarts_, .is_up = true, .has_restarted = true};
  }

  News on_bulk_session(SessionCause cause) {
    if (cause == SessionCause::first) return {};
    if (cause == SessionCause::given_up) return {.is_up = true};
    // What went into the lane since the message lane told of the restart is lost with the old
    // session.
    return {.is_up = ++bulk_restarts_ <= message_restarts_};
  }

 private:
  // Of the peer, as each lane has met them.
  std::uint64_t message_restarts_ = 0, bulk_restarts_ = 0;
};

}  // namespace dvk::core

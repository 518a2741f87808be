// The one error catalogue of the code base.
//
// A code exists only if a caller can act on it. Every code has a class that says how:
//   refused          nothing happened; the same call will be refused again
//   retry            nothing happened; the same call may succeed later
//   outcome_unknown  the other side may or may not have acted
//   fatal            the object the call was made on is of no further use
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <dvs/export.hpp>

namespace dvs {

enum class Errc : std::uint16_t {
  // refused
  invalid_argument = 1,   // an argument is outside its documented range
  message_too_large = 2,  // more than max_message_bytes
  unknown_endpoint = 3,   // no such endpoint or name, or that incarnation never lived
  name_in_use = 4,        // a live endpoint holds the name
  not_permitted = 5,      // the privilege rules forbid it
  grant_denied = 6,       // no such grant, wrong grantee, wrong direction or out of range
  grant_revoked = 7,      // the grant existed and has been revoked
  bad_address = 8,        // memory named by a copy is not mapped as the copy needs it
  unsupported = 9,        // this host or build lacks what the call needs
  conflict = 10,          // the revision, view, boot or epoch it rests on is not the present one
  not_found = 11,         // no such key, node or authority
  limit_reached = 12,     // a bound of the cluster's state would be passed
  compacted = 13,         // events from then on are not kept any more
  // retry
  would_block = 20,  // nothing to receive, or no room to send, right now
  queue_full = 21,   // the bounded queue towards the peer is full
  not_ready = 22,    // the endpoint is frozen for a move, or the directory is rebuilding
  not_leader = 23,   // another node leads the group; the text says which
  // outcome unknown
  peer_died = 40,        // the peer's incarnation ended before it answered
  unreachable = 41,      // the path to the peer was lost before it answered
  cancelled = 42,        // the caller cancelled
  deadline = 43,         // the caller's deadline passed
  session_expired = 44,  // too long ago to tell whether the command was applied
  // fatal
  detached = 60,            // the daemon that hosts the endpoint is gone
  moved = 61,               // the endpoint lives on another node now
  protocol_violation = 62,  // the other side sent what the protocol forbids
  version_mismatch = 63,    // the other side speaks another protocol version
  wrong_cluster = 64,       // the other side's certificate belongs to another cluster
  certificate_expired = 65,
  certificate_rejected = 66,
  system = 67,  // an operating system call failed: see os_errno
};

enum class ErrorClass : std::uint8_t { refused, retry, outcome_unknown, fatal };

DVS_EXPORT ErrorClass class_of(Errc code) noexcept;
// The code's name as written above, e.g. "peer_died".
DVS_EXPORT std::string_view name_of(Errc code) noexcept;
DVS_EXPORT std::string_view name_of(ErrorClass error_class) noexcept;

// What happened, to what. `os_errno` is 0 unless an operating system call failed.
struct Error {
  Errc code;
  int os_errno = 0;
  std::string detail{};

  friend bool operator==(const Error& error, Errc wanted) { return error.code == wanted; }
};

// "peer_died (outcome unknown): endpoint 1.7 ended", for people.
DVS_EXPORT std::string to_string(const Error& error);

}  // namespace dvs

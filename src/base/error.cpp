// Names, classes and texts of the errors.
#include <dvs/error.hpp>
#include <dvs/ids.hpp>

#include <cstring>

#include <fmt/format.h>

namespace dvs {

ErrorClass class_of(Errc code) noexcept {
  const auto number = static_cast<unsigned>(code);
  if (number < 20) return ErrorClass::refused;
  if (number < 40) return ErrorClass::retry;
  if (number < 60) return ErrorClass::outcome_unknown;
  return ErrorClass::fatal;
}

std::string_view name_of(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::message_too_large: return "message_too_large";
    case Errc::unknown_endpoint: return "unknown_endpoint";
    case Errc::name_in_use: return "name_in_use";
    case Errc::not_permitted: return "not_permitted";
    case Errc::grant_denied: return "grant_denied";
    case Errc::grant_revoked: return "grant_revoked";
    case Errc::bad_address: return "bad_address";
    case Errc::unsupported: return "unsupported";
    case Errc::conflict: return "conflict";
    case Errc::not_found: return "not_found";
    case Errc::limit_reached: return "limit_reached";
    case Errc::compacted: return "compacted";
    case Errc::would_block: return "would_block";
    case Errc::queue_full: return "queue_full";
    case Errc::not_ready: return "not_ready";
    case Errc::not_leader: return "not_leader";
    case Errc::peer_died: return "peer_died";
    case Errc::unreachable: return "unreachable";
    case Errc::cancelled: return "cancelled";
    case Errc::deadline: return "deadline";
    case Errc::session_expired: return "session_expired";
    case Errc::detached: return "detached";
    case Errc::moved: return "moved";
    case Errc::protocol_violation: return "protocol_violation";
    case Errc::version_mismatch: return "version_mismatch";
    case Errc::wrong_cluster: return "wrong_cluster";
    case Errc::certificate_expired: return "certificate_expired";
    case Errc::certificate_rejected: return "certificate_rejected";
    case Errc::system: return "system";
  }
  return "unknown";
}

std::string_view name_of(ErrorClass error_class) noexcept {
  switch (error_class) {
    case ErrorClass::refused: return "refused";
    case ErrorClass::retry: return "retry";
    case ErrorClass::outcome_unknown: return "outcome unknown";
    case ErrorClass::fatal: return "fatal";
  }
  return "unknown";
}

std::string to_string(const Error& error) {
  std::string text = fmt::format("{} ({})", name_of(error.code), name_of(class_of(error.code)));
  if (!error.detail.empty()) text += ": " + error.detail;
  if (error.os_errno != 0) text += fmt::format(": {}", std::strerror(error.os_errno));
  return text;
}

std::string to_string(const Address& address) {
  constexpr std::uint64_t serial_mask = (std::uint64_t{1} << serial_bits) - 1;
  return fmt::format("c{}:{}.{}#{}.{}", raw(address.container), raw(address.id) >> serial_bits,
                     raw(address.id) & serial_mask, raw(address.incarnation) >> serial_bits,
                     raw(address.incarnation) & serial_mask);
}

}  // namespace dvs

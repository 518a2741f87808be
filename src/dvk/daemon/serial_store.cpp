// See serial_store.hpp.
#include "dvk/daemon/serial_store.hpp"

#include <charconv>

#include <dvs/ids.hpp>

#include <fmt/format.h>

#include "dvk/daemon/state_directory.hpp"

namespace dvk::daemon {

using dvs::Errc;
using dvs::fail;
using dvs::Result;

namespace {

constexpr std::uint64_t serial_end = std::uint64_t{1} << dvs::serial_bits;

std::unexpected<dvs::Error> damaged(const std::filesystem::path& file) {
  return fail(Errc::protocol_violation,
              file.string() +
                  " is missing or damaged: it must hold one number. Without it numbers "
                  "could be given twice. Restore it from a backup, or begin with an empty "
                  "state directory and a node number that was never used");
}

}  // namespace

Result<SerialStore> SerialStore::open(const std::filesystem::path& directory, bool is_fresh) {
  const std::filesystem::path file = directory / "serials";
  const auto text = read_small_file(file);
  std::uint64_t next = 1;
  if (text) {
    const char* end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, next);
    if (error != std::errc{} || std::string_view(stop, end) != "\n" || next == 0) {
      return damaged(file);
    }
  } else if (text.error().os_errno != ENOENT) {
    return std::unexpected(text.error());
  } else if (!is_fresh) {
    return damaged(file);
  }
  SerialStore store(file, next);
  DVS_CHECK(store.reserve());
  return store;
}

Result<void> SerialStore::reserve() {
  const std::uint64_t end = next_ + range;
  if (end > serial_end)
    return fail(Errc::queue_full, "all serial numbers of this node are used up");
  DVS_CHECK(replace_file(file_, fmt::format("{}\n", end)));
  reserved_ = end;
  return {};
}

Result<std::uint64_t> SerialStore::give() {
  if (is_closed_) return fail(Errc::not_permitted, "the serial store is closed");
  if (reserved_ - next_ <= range / 2) {
    // A failure matters only when the range ends; until then every 1024th number tries again.
    const bool is_exhausted = next_ == reserved_;
    if (is_exhausted || next_ % 1024 == 0 || reserved_ - next_ == range / 2) {
      const auto result = reserve();
      if (!result && is_exhausted) return std::unexpected(result.error());
    }
  }
  return next_++;
}

Result<void> SerialStore::close() {
  is_closed_ = true;
  return replace_file(file_, fmt::format("{}\n", next_));
}

}  // namespace dvk::daemon

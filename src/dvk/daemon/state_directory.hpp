// A directory that one daemon at a time may use, and the version of what lies in it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <dvs/result.hpp>

#include "runtime/fd.hpp"

namespace dvk::daemon {

// Held as long as the object lives; the kernel gives it up when the process dies.
class DirectoryLock {
 public:
  // Creates the directory (mode 0755) if needed. Errors: not_permitted (another process holds it,
  // named by pid), system.
  static dvs::Result<DirectoryLock> acquire(const std::filesystem::path& directory);

 private:
  explicit DirectoryLock(dvs::runtime::Fd file) noexcept : file_(std::move(file)) {}

  dvs::runtime::Fd file_;
};

// Version of the state directory's contents that this program writes and understands.
constexpr unsigned state_version = 1;

// Reads the file `version`. False: there is none, so the directory is fresh.
// Errors: version_mismatch (written by a newer dvsd), protocol_violation (unreadable), system.
dvs::Result<bool> check_state_version(const std::filesystem::path& directory);
// To be called when all other files of a fresh directory are there. Blocks for disk writes.
// Errors: system.
dvs::Result<void> write_state_version(const std::filesystem::path& directory);

// Replaces a small file as a whole or not at all, also across a power failure. Blocks for disk
// writes.
dvs::Result<void> replace_file(const std::filesystem::path& path, std::string_view text);
// Errors: system (os_errno ENOENT: there is none).
dvs::Result<std::string> read_small_file(const std::filesystem::path& path);

}  // namespace dvk::daemon

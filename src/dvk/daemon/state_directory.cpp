// See state_directory.hpp.
#include "dvk/daemon/state_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <system_error>

#include <fmt/format.h>

namespace dvk::daemon {

using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::Result;
using dvs::runtime::Fd;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t small_file_bytes_max = 4096;

Result<void> write_all(const Fd& fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_os("write " + path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> sync_directory(const fs::path& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_os("open " + directory.string());
  if (::fsync(fd.get()) != 0) return fail_os("fsync " + directory.string());
  return {};
}

}  // namespace

Result<void> replace_file(const fs::path& path, std::string_view text) {
  const std::string fresh = path.string() + ".new";
  const Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return fail_os("open " + fresh);
  DVS_CHECK(write_all(fd, text, fresh));
  if (::fsync(fd.get()) != 0) return fail_os("fsync " + fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail_os("rename " + fresh);
  return sync_directory(path.parent_path());
}

Result<std::string> read_small_file(const fs::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_os("open " + path.string());
  std::string text(small_file_bytes_max, '\0');
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  if (got < 0) return fail_os("read " + path.string());
  text.resize(static_cast<std::size_t>(got));
  return text;
}

Result<DirectoryLock> DirectoryLock::acquire(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail_os("creating " + directory.string(), error.value());
  const fs::path path = directory / "lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return fail_os("open " + path.string());
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_os("flock " + path.string());
    const auto holder = read_small_file(path);
    return fail(
        Errc::not_permitted,
        fmt::format("{} is in use by the dvsd with pid {}; stop that one first, or give this "
                    "one a directory of its own",
                    directory.string(),
                    holder && !holder->empty() ? holder->substr(0, holder->find('\n'))
                                               : std::string("unknown")));
  }
  if (::ftruncate(fd.get(), 0) != 0) return fail_os("ftruncate " + path.string());
  DVS_CHECK(write_all(fd, fmt::format("{}\n", ::getpid()), path.string()));
  return DirectoryLock(std::move(fd));
}

Result<bool> check_state_version(const fs::path& directory) {
  const fs::path path = directory / "version";
  const auto text = read_small_file(path);
  if (!text && text.error().os_errno == ENOENT) return false;
  if (!text) return std::unexpected(text.error());
  unsigned version = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), version);
  if (error != std::errc{} || std::string_view(end, text->data() + text->size()) != "\n") {
    return fail(Errc::protocol_violation,
                path.string() +
                    ": holds no version number; this is no state directory of dvsd, or it "
                    "is damaged");
  }
  if (version > state_version) {
    return fail(Errc::version_mismatch,
                fmt::format("{} was written by a newer dvsd (version {}, this one knows up to {}); "
                            "install that version again, or begin with an empty state directory",
                            directory.string(), version, state_version));
  }
  return true;
}

Result<void> write_state_version(const fs::path& directory) {
  return replace_file(directory / "version", fmt::format("{}\n", state_version));
}

}  // namespace dvk::daemon

#include "cluster/engine/engine_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include <fmt/format.h>

namespace dvs::cluster {

namespace {

constexpr unsigned format_version = 1;

std::string text_of(const std::filesystem::path& path) {
  return path.string();
}

Result<void> sync_directory(const std::filesystem::path& path) {
  const runtime::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_os("sync directory " + text_of(path));
  return {};
}

// The file is there with all of the text, or as before.
Result<void> write_file(const std::filesystem::path& directory, const std::string& name,
                        const std::string& text) {
  const std::filesystem::path temporary = directory / (name + ".new");
  const runtime::Fd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!fd) return fail_os("write " + text_of(temporary));
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) {
    return fail_os("write " + text_of(temporary), written < 0 ? errno : ENOSPC);
  }
  if (::fsync(fd.get()) != 0) return fail_os("sync " + text_of(temporary));
  if (::rename(temporary.c_str(), (directory / name).c_str()) != 0) {
    return fail_os("rename " + text_of(temporary));
  }
  return sync_directory(directory);
}

Result<runtime::Fd> lock(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "lock";
  runtime::Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!fd) return fail_os("open " + text_of(file));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_os("lock " + text_of(file));
    return fail(Errc::name_in_use,
                text_of(directory) + " is in use by another engine: stop that one first");
  }
  return fd;
}

// What may be there before anything of libraft's is.
bool is_own(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  return name == "lock" || name == "beginning" || name == "beginning.new";
}

}  // namespace

Result<EngineDirectory> EngineDirectory::open(std::filesystem::path path, NodeId node) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail_os("make directory " + text_of(path), error.value());
  DVS_TRY(runtime::Fd held, lock(path));
  EngineDirectory directory(std::move(path), node, std::move(held));
  DVS_CHECK(directory.read_identity());
  if (directory.is_new_) DVS_CHECK(directory.begin());
  return directory;
}

Result<void> EngineDirectory::read_identity() {
  const std::filesystem::path file = path_ / "identity";
  const runtime::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno != ENOENT) return fail_os("open " + text_of(file));
    is_new_ = true;
    return {};
  }
  char text[64] = {};
  if (::read(fd.get(), text, sizeof text - 1) < 0) return fail_os("read " + text_of(file));
  unsigned version = 0;
  unsigned node = 0;
  const int fields = std::sscanf(text, "dvs-engine %u node %u", &version, &node);
  if (fields >= 1 && version > format_version) {
    return fail(Errc::version_mismatch,
                fmt::format("{} was written by a newer release (version {}, this one knows {})",
                            text_of(path_), version, format_version));
  }
  if (fields != 2 || version != format_version) {
    return fail(Errc::protocol_violation, text_of(file) + " is damaged");
  }
  if (node != raw(node_)) {
    return fail(Errc::invalid_argument, fmt::format("{} belongs to node {}, this is node {}",
                                                    text_of(path_), node, raw(node_)));
  }
  std::error_code error;  // of a first start that ended just after it had succeeded
  std::filesystem::remove(path_ / "beginning", error);
  return {};
}

Result<void> EngineDirectory::begin() {
  std::error_code error;
  const bool was_interrupted = std::filesystem::exists(path_ / "beginning", error);
  for (const auto& entry : std::filesystem::directory_iterator(path_, error)) {
    if (is_own(entry.path())) continue;
    if (!was_interrupted) {
      return fail(Errc::protocol_violation,
                  text_of(path_) +
                      " has files in it but no identity: it is damaged or not the "
                      "directory of an engine. Take an empty one");
    }
    std::filesystem::remove(entry.path(), error);
    if (error) break;
  }
  if (error) return fail_os("clear " + text_of(path_), error.value());
  return write_file(path_, "beginning", "");
}

Result<void> EngineDirectory::complete() {
  if (!is_new_) return {};
  DVS_CHECK(write_file(path_, "identity",
                       fmt::format("dvs-engine {} node {}\n", format_version, raw(node_))));
  is_new_ = false;
  std::error_code error;  // left behind it does no harm: the next start takes it away
  std::filesystem::remove(path_ / "beginning", error);
  return {};
}

}  // namespace dvs::cluster

// See record_store.hpp.
#include "local/record_store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace dvs::local {

namespace fs = std::filesystem;
using runtime::Fd;

namespace {

constexpr std::size_t record_bytes_max = std::size_t{256} * 1024;

Result<void> write_and_sync(const fs::path& path, std::string_view text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return fail_os("open " + path.string());
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno != EINTR) return fail_os("write " + path.string());
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
  if (::fsync(fd.get()) != 0) return fail_os("fsync " + path.string());
  return {};
}

// Whether the folder that was opened is still the one at that path.
bool is_same(const Fd& fd, const fs::path& path) {
  struct stat opened {
  }, present{};
  return ::fstat(fd.get(), &opened) == 0 && ::stat(path.c_str(), &present) == 0 &&
         opened.st_dev == present.st_dev && opened.st_ino == present.st_ino;
}

}  // namespace

fs::path RecordStore::default_folder() {
  if (const char* folder = std::getenv("DVS_LOCAL_DIR")) return folder;
  if (::geteuid() == 0) return "/var/lib/dvs/local";
  if (const char* state = std::getenv("XDG_STATE_HOME")) return fs::path(state) / "dvs/local";
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/tmp") / ".local/state/dvs/local";
}

Result<std::optional<Record>> RecordStore::read(const std::string& name) const {
  const fs::path file = file_of(name);
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return fail_os("open " + file.string());
  std::string text(record_bytes_max, '\0');
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  if (got < 0) return fail_os("read " + file.string());
  text.resize(static_cast<std::size_t>(got));
  auto record = parse_record(text);
  if (record) return *std::move(record);
  return fail(record.error().code, file.string() + ": " + record.error().detail);
}

std::vector<Record> RecordStore::list() const {
  std::vector<Record> records;
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() != ".json") continue;
    auto record = read(entry->path().stem().string());
    if (record && *record) records.push_back(**std::move(record));
  }
  return records;
}

Result<Fd> RecordStore::lock() const {
  while (true) {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) return fail_os("creating " + folder_.string(), error.value());
    Fd fd(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd && errno == ENOENT) continue;
    if (!fd) return fail_os("open " + folder_.string());
    if (::flock(fd.get(), LOCK_EX) != 0) return fail_os("flock " + folder_.string());
    // Who held it before may have removed the folder.
    if (is_same(fd, folder_)) return fd;
  }
}

Result<void> RecordStore::write(const Record& record) const {
  const fs::path file = file_of(record.plan.name);
  const fs::path fresh = file.string() + ".new";
  DVS_CHECK(write_and_sync(fresh, to_text(record)));
  if (::rename(fresh.c_str(), file.c_str()) != 0) return fail_os("rename " + fresh.string());
  const Fd folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail_os("fsync " + folder_.string());
  return {};
}

Result<void> RecordStore::remove(const std::string& name) const {
  const fs::path file = file_of(name);
  ::unlink((file.string() + ".new").c_str());
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) return fail_os("unlink " + file.string());
  // Refused while there is something in them, and then they are needed.
  if (::rmdir(folder_.c_str()) == 0) ::rmdir(folder_.parent_path().c_str());
  return {};
}

}  // namespace dvs::local

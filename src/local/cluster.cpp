// See cluster.hpp.
#include "local/cluster.hpp"

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "dvk/link/pki.hpp"
#include "local/network.hpp"
#include "local/process.hpp"
#include "runtime/fd.hpp"

namespace dvs::local {

namespace fs = std::filesystem;
using runtime::Fd;

namespace {

constexpr auto start_patience = std::chrono::seconds(20);
constexpr auto end_patience = std::chrono::milliseconds(3000);
constexpr auto poll_interval = std::chrono::milliseconds(5);
constexpr std::size_t last_words_bytes = 1000;
// In a cluster's directory: only what has it is ever removed.
constexpr const char* marker = "this-is-a-local-cluster-of-dvs";

Result<void> write_file(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail_os("writing " + path.string());
  return {};
}

Result<void> make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directory(path, error);
  if (error) return fail_os("creating " + path.string(), error.value());
  return {};
}

std::string last_words(const fs::path& log) {
  std::ifstream file(log, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.size() > last_words_bytes) text.erase(0, text.size() - last_words_bytes);
  return text.empty() ? "it said nothing" : "its last words:\n" + text;
}

bool answers(const std::string& socket_path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket &&
         ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

Result<void> await_answer(const Plan& plan, const ProcessIdentity& process, int node) {
  const auto deadline = std::chrono::steady_clock::now() + start_patience;
  while (!answers(api_socket(plan, node))) {
    const bool is_dead = state_of(process) == ProcessState::dead;
    if (is_dead || std::chrono::steady_clock::now() > deadline) {
      return fail(is_dead ? Errc::peer_died : Errc::deadline,
                  fmt::format("the dvsd of {} {}; {}", node_name(node),
                              is_dead ? "has ended" : "does not answer",
                              last_words(files_of(plan, node).log)));
    }
    std::this_thread::sleep_for(poll_interval);
  }
  return {};
}

}  // namespace

std::string api_socket(const Plan& plan, int node) {
  return (files_of(plan, node).run / "api.sock").string();
}

Result<void> start_daemon(const RecordStore& store, Record& record, int node) {
  const Plan& plan = record.plan;
  const NodeFiles files = files_of(plan, node);
  const Launch what = {
      .command = {record.daemon, "--config", files.configuration.string()},
      .log = files.log,
      .network = plan.has_network() ? namespace_path(namespace_name(plan, node)) : "",
      .cores = cores_of(plan, node, machine_cores())};
  DVS_TRY(const ProcessIdentity process, launch(what, [&](const ProcessIdentity& started) {
            record.daemon_of(node) = started;
            return store.write(record);
          }));
  return await_answer(plan, process, node);
}

// --- Up ------------------------------------------------------------------------------------------

namespace {

Result<void> check_possible(const RecordStore& store, const Plan& plan) {
  DVS_CHECK(check(plan));
  if (plan.has_network() && ::geteuid() != 0) {
    return fail(Errc::not_permitted,
                "several nodes need network namespaces, and those need root: use sudo, or take "
                "--local 1");
  }
  DVS_TRY(const auto known, store.read(plan.name));
  if (known) {
    return fail(
        Errc::name_in_use,
        fmt::format("the local cluster \"{}\" is there already, with {} nodes in {}; end it "
                    "with: dvs cluster down --cluster {}",
                    plan.name, known->plan.nodes, known->plan.directory.string(), plan.name));
  }
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(plan.directory, ignored))) {
    return fail(Errc::name_in_use,
                fmt::format("{} exists; a cluster's directory is made with it and removed with "
                            "it: name one that is not there yet with --dir",
                            plan.directory.string()));
  }
  if (plan.has_network()) DVS_CHECK(check_network(plan));
  return {};
}

Result<void> make_files(const Plan& plan) {
  DVS_CHECK(make_directory(plan.directory));
  DVS_CHECK(write_file(plan.directory / marker, plan.name + "\n"));
  if (plan.has_network()) {
    DVS_CHECK(dvk::link::create_authority(authority_directory(plan), plan.name));
  }
  for (int node = 1; node <= plan.nodes; ++node) {
    const NodeFiles files = files_of(plan, node);
    DVS_CHECK(make_directory(files.directory));
    DVS_CHECK(write_file(files.configuration, configuration_text(plan, node)));
    if (plan.has_network()) {
      DVS_CHECK(dvk::link::issue_node(files.certificate, authority_directory(plan),
                                      NodeId{static_cast<std::uint16_t>(node)}));
    }
  }
  return {};
}

Result<void> make(const RecordStore& store, Record& record, const Progress& progress) {
  const Plan& plan = record.plan;
  const auto go_on = [&](const std::string& what) -> Result<void> {
    if (progress(what)) return {};
    return fail(Errc::cancelled, "interrupted; what was made has been taken away");
  };
  DVS_CHECK(go_on(fmt::format("files and certificates in {}", plan.directory.string())));
  DVS_CHECK(make_files(plan));
  if (plan.has_network()) {
    DVS_CHECK(go_on(fmt::format("{} networks, joined by a bridge", plan.nodes)));
    DVS_CHECK(make_network(plan));
  }
  for (int node = 1; node <= plan.nodes; ++node) {
    DVS_CHECK(start_daemon(store, record, node));
    DVS_CHECK(go_on(fmt::format("{} is up, pid {}", node_name(node), record.daemon_of(node).pid)));
  }
  record.is_complete = true;
  return store.write(record);
}

Result<void> remove_all(const RecordStore& store, const Record& record);

// ip's folder goes with the last cluster, when the first one found none.
bool owns_namespace_folder(const RecordStore& store) {
  return !has_namespace_folder() ||
         std::ranges::any_of(store.list(), &Record::made_namespace_folder);
}

}  // namespace

Result<Record> bring_up(const RecordStore& store, const Plan& plan, const std::string& daemon,
                        const Progress& progress) {
  DVS_TRY(const Fd lock, store.lock());
  Result<void> result = check_possible(store, plan);
  Record record{.plan = plan,
                .boot_id = boot_id(),
                .daemon = daemon,
                .made_namespace_folder = plan.has_network() && owns_namespace_folder(store),
                .daemons = std::vector<ProcessIdentity>(static_cast<std::size_t>(plan.nodes))};
  if (!result) {
    // The folder may have been made for the lock alone.
    if (!store.read(plan.name).value_or(record)) (void)store.remove(plan.name);
    return std::unexpected(result.error());
  }
  DVS_CHECK(store.write(record));
  result = make(store, record, progress);
  if (result) return record;
  const auto removed = remove_all(store, record);
  if (!removed) progress("what was made could not be taken away: " + to_string(removed.error()));
  return std::unexpected(result.error());
}

// --- Down ----------------------------------------------------------------------------------------

namespace {

Result<void> end_daemons(const Record& record) {
  std::vector<Fd> processes;
  for (const ProcessIdentity& daemon : record.daemons) {
    auto process = open_process(daemon);
    if (process) processes.push_back(*std::move(process));
  }
  if (record.plan.has_network()) {
    // Also what others started on the nodes: it would keep their networks alive.
    for (int node = 1; node <= record.plan.nodes; ++node) {
      const std::string path = namespace_path(namespace_name(record.plan, node));
      std::ranges::move(processes_in(path), std::back_inserter(processes));
    }
  }
  return end_processes(processes, end_patience);
}

// Whatever is mounted inside the directory, innermost first.
void unmount_inside(const fs::path& directory) {
  const std::string inside = directory.string() + "/";
  std::ifstream mounts("/proc/self/mountinfo");
  std::vector<std::string> found;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string word;
    for (int field = 0; field < 5; ++field) words >> word;
    if (word.starts_with(inside)) found.push_back(word);
  }
  for (auto mount = found.rbegin(); mount != found.rend(); ++mount) {
    ::umount2(mount->c_str(), MNT_DETACH);
  }
}

Result<void> remove_files(const Plan& plan) {
  std::error_code error;
  if (fs::exists(plan.directory / marker, error)) {
    unmount_inside(plan.directory);
    // The marker goes last, so that an interrupted removal can be gone on with.
    for (fs::directory_iterator entry(plan.directory, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->path().filename() != marker) fs::remove_all(entry->path(), error);
    }
    if (!error) fs::remove_all(plan.directory, error);
  } else if (!error && fs::is_empty(plan.directory, error) && !error) {
    fs::remove(plan.directory, error);  // interrupted between the directory and its marker
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return fail_os("removing " + plan.directory.string(), error.value());
  }
  return {};
}

Result<void> remove_all(const RecordStore& store, const Record& record) {
  // What lives only in the kernel did not live through a restart of the machine; what has its name
  // now is someone else's.
  if (record.boot_id == boot_id()) {
    DVS_CHECK(end_daemons(record));
    if (record.plan.has_network()) DVS_CHECK(remove_network(record.plan));
    if (record.made_namespace_folder) remove_namespace_folder();
  }
  DVS_CHECK(remove_files(record.plan));
  return store.remove(record.plan.name);
}

}  // namespace

Result<bool> take_down(const RecordStore& store, const std::string& name,
                       const Progress& progress) {
  DVS_TRY(const Fd lock, store.lock());
  DVS_TRY(const auto record, store.read(name));
  if (!record) {
    DVS_CHECK(store.remove(name));
    return false;
  }
  progress(fmt::format("ending {} nodes of \"{}\"", record->plan.nodes, name));
  DVS_CHECK(remove_all(store, *record));
  return true;
}

}  // namespace dvs::local

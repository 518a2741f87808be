// What is written down of a local cluster before anything of it is made, so that whatever happens
// meanwhile, everything can be found and taken away. Pure; record_store.hpp keeps it on disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <dvs/result.hpp>

#include "local/plan.hpp"

namespace dvs::local {

// A process, known for certain: a pid alone may mean another one by now.
struct ProcessIdentity {
  std::int64_t pid = 0;          // 0: none was started
  std::uint64_t start_time = 0;  // in clock ticks since boot, /proc/PID/stat
};

struct Record {
  Plan plan;
  std::string boot_id;                   // of the machine: after a reboot nothing but files is left
  std::string daemon;                    // the program dvsd
  bool made_namespace_folder = false;    // /run/netns was not there before
  bool is_complete = false;              // `up` came to its end
  std::vector<ProcessIdentity> daemons;  // of node 1, 2 ...; as many as there are nodes

  ProcessIdentity& daemon_of(int node) { return daemons.at(static_cast<std::size_t>(node - 1)); }
  const ProcessIdentity& daemon_of(int node) const {
    return daemons.at(static_cast<std::size_t>(node - 1));
  }
};

// JSON, and back. Errors: version_mismatch (by a newer dvs), invalid_argument (anything else).
std::string to_text(const Record& record);
Result<Record> parse_record(std::string_view text);

}  // namespace dvs::local

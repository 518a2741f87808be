// The records of the local clusters of this user: one file each, in one folder, which one dvs at a
// time may change.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dvs/result.hpp>

#include "local/record.hpp"
#include "runtime/fd.hpp"

namespace dvs::local {

class RecordStore {
 public:
  // $DVS_LOCAL_DIR, or /var/lib/dvs/local for root, or that of the user's own state.
  static std::filesystem::path default_folder();

  explicit RecordStore(std::filesystem::path folder = default_folder())
      : folder_(std::move(folder)) {}

  // Where a cluster's own directory is unless told otherwise.
  std::filesystem::path directory_of(const std::string& name) const { return folder_ / name; }

  // Nothing: there is no such cluster. Errors: as parse_record, system; the detail names the file.
  Result<std::optional<Record>> read(const std::string& name) const;

  // All that can be read, in no particular order.
  std::vector<Record> list() const;

  // Makes the folder if needed. Waits while another process holds it. Errors: system.
  Result<runtime::Fd> lock() const;
  // Both with the lock held. Replaces the record as a whole, also across a power failure.
  Result<void> write(const Record& record) const;
  // Removes the record, and the folder with its parent where they are empty then.
  Result<void> remove(const std::string& name) const;

 private:
  std::filesystem::path file_of(const std::string& name) const {
    return folder_ / (name + ".json");
  }

  std::filesystem::path folder_;
};

}  // namespace dvs::local

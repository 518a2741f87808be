// Settings: keys with values and revisions. The desired state of everything else is kept in them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/state/event.hpp"
#include "cluster/state/limits.hpp"
#include "cluster/state/outcome.hpp"

namespace dvs::cluster {

struct Setting {
  std::string key;
  Bytes value;
  std::uint64_t revision = 0;
  void fields(auto&& field) { field(key, value, revision); }
  friend bool operator==(const Setting&, const Setting&) = default;
};
// Part of a range, ascending by key.
struct SettingPage {
  std::vector<Setting> settings;
  bool is_complete = true;  // false: ask again, after the last key
};

class Settings {
 public:
  explicit Settings(const Limits& limits) : bytes_max_(limits.settings_bytes) {}

  Outcome put(std::uint64_t index, const Put& command, std::vector<Change>& changes);
  Outcome erase(const Delete& command, std::vector<Change>& changes);
  Outcome transact(std::uint64_t index, const Transaction& command, std::vector<Change>& changes);

  // Null if there is none. Valid until the next command.
  const Bytes* find(std::string_view key) const;
  std::uint64_t revision_of(std::string_view key) const;  // 0: there is none
  // The settings whose key begins with `prefix` and is greater than `after`.
  SettingPage range(std::string_view prefix, std::string_view after,
                    std::size_t settings_max) const;
  std::size_t bytes() const { return bytes_; }
  std::size_t size() const { return settings_.size(); }

  std::vector<Setting> image() const;
  Result<void> restore(std::vector<Setting> image, std::uint64_t applied);

 private:
  struct Value {
    Bytes value;
    std::uint64_t revision = 0;
  };
  static std::size_t cost(std::string_view key, const Bytes& value) {
    return key.size() + value.size() + setting_overhead_bytes;
  }
  std::size_t cost_of(std::string_view key) const;
  void store(std::uint64_t index, const std::string& key, const Bytes& value,
             std::vector<Change>& changes);
  void remove(const std::string& key, std::vector<Change>& changes);

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::map<std::string, Value, std::less<>> settings_;
};

}  // namespace dvs::cluster

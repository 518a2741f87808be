#include "cluster/state/settings.hpp"

#include <optional>
#include <set>
#include <utility>

#include "cluster/state/path_name.hpp"

namespace dvs::cluster {
namespace {

bool is_bounded(std::string_view key, const Bytes& value) {
  return is_path_name(key) && value.size() <= value_bytes_max;
}

// The part of a transaction that is outside the bounds.
std::optional<std::uint32_t> misformed_part(const Transaction& command) {
  std::uint32_t part = 0;
  for (const Comparison& comparison : command.comparisons) {
    if (!is_path_name(comparison.key)) return part;
    ++part;
  }
  part = 0;
  std::set<std::string_view> keys;
  for (const Operation& operation : command.operations) {
    const bool is_sound = is_bounded(operation.key, operation.value) &&
                          (operation.is_put || operation.value.empty()) &&
                          keys.insert(operation.key).second;
    if (!is_sound) return part;
    ++part;
  }
  return std::nullopt;
}

}  // namespace

const Bytes* Settings::find(std::string_view key) const {
  const auto found = settings_.find(key);
  return found == settings_.end() ? nullptr : &found->second.value;
}

std::uint64_t Settings::revision_of(std::string_view key) const {
  const auto found = settings_.find(key);
  return found == settings_.end() ? 0 : found->second.revision;
}

std::size_t Settings::cost_of(std::string_view key) const {
  const Bytes* value = find(key);
  return value == nullptr ? 0 : cost(key, *value);
}

void Settings::store(std::uint64_t index, const std::string& key, const Bytes& value,
                     std::vector<Change>& changes) {
  bytes_ = bytes_ - cost_of(key) + cost(key, value);
  settings_[key] = Value{value, index};
  changes.emplace_back(SettingPut{key, value});
}

void Settings::remove(const std::string& key, std::vector<Change>& changes) {
  const auto found = settings_.find(key);
  if (found == settings_.end()) return;
  bytes_ -= cost(key, found->second.value);
  settings_.erase(found);
  changes.emplace_back(SettingDeleted{key});
}

Outcome Settings::put(std::uint64_t index, const Put& command, std::vector<Change>& changes) {
  if (!is_bounded(command.key, command.value)) return refuse(Errc::invalid_argument);
  const std::uint64_t present = revision_of(command.key);
  if (command.expected.is_set && command.expected.revision != present) {
    return refuse(Errc::conflict, present);
  }
  if (bytes_ - cost_of(command.key) + cost(command.key, command.value) > bytes_max_) {
    return refuse(Errc::limit_reached);
  }
  store(index, command.key, command.value, changes);
  return index;
}

Outcome Settings::erase(const Delete& command, std::vector<Change>& changes) {
  if (!is_path_name(command.key)) return refuse(Errc::invalid_argument);
  const std::uint64_t present = revision_of(command.key);
  if (command.expected.is_set && command.expected.revision != present) {
    return refuse(Errc::conflict, present);
  }
  remove(command.key, changes);
  return present;
}

Outcome Settings::transact(std::uint64_t index, const Transaction& command,
                           std::vector<Change>& changes) {
  if (command.comparisons.size() > transaction_parts_max ||
      command.operations.size() > transaction_parts_max) {
    return refuse(Errc::invalid_argument);
  }
  if (const auto part = misformed_part(command)) return refuse(Errc::invalid_argument, 0, *part);
  std::uint32_t part = 0;
  for (const Comparison& comparison : command.comparisons) {
    const std::uint64_t present = revision_of(comparison.key);
    if (comparison.revision != present) return refuse(Errc::conflict, present, part);
    ++part;
  }
  std::size_t bytes = bytes_;
  for (const Operation& operation : command.operations) {
    bytes -= cost_of(operation.key);
    if (operation.is_put) bytes += cost(operation.key, operation.value);
  }
  if (bytes > bytes_max_) return refuse(Errc::limit_reached);
  for (const Operation& operation : command.operations) {
    if (operation.is_put) {
      store(index, operation.key, operation.value, changes);
    } else {
      remove(operation.key, changes);
    }
  }
  return index;
}

SettingPage Settings::range(std::string_view prefix, std::string_view after,
                            std::size_t settings_max) const {
  SettingPage page;
  auto next = after < prefix ? settings_.lower_bound(prefix) : settings_.upper_bound(after);
  for (; next != settings_.end() && next->first.starts_with(prefix); ++next) {
    if (page.settings.size() >= settings_max) {
      page.is_complete = false;
      break;
    }
    page.settings.push_back({next->first, next->second.value, next->second.revision});
  }
  return page;
}

std::vector<Setting> Settings::image() const {
  std::vector<Setting> image;
  image.reserve(settings_.size());
  for (const auto& [key, value] : settings_) image.push_back({key, value.value, value.revision});
  return image;
}

Result<void> Settings::restore(std::vector<Setting> image, std::uint64_t applied) {
  for (Setting& setting : image) {
    const bool is_next = settings_.empty() || settings_.rbegin()->first < setting.key;
    const bool is_sound = is_next && is_bounded(setting.key, setting.value) &&
                          setting.revision >= 1 && setting.revision <= applied;
    if (!is_sound) return fail(Errc::protocol_violation, "a setting is not sound");
    bytes_ += cost(setting.key, setting.value);
    settings_.emplace_hint(settings_.end(), std::move(setting.key),
                           Value{std::move(setting.value), setting.revision});
  }
  if (bytes_ > bytes_max_) return fail(Errc::protocol_violation, "settings exceed their bound");
  return {};
}

}  // namespace dvs::cluster

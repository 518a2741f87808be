// See toml_reader.hpp.
#include "dvk/daemon/toml_reader.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace dvk::daemon {

void TomlProblem::add(const toml::node* where, const std::string& what) {
  if (error) return;
  std::string place = origin;
  if (where != nullptr && where->source().begin.line != 0) {
    place += fmt::format(":{}", where->source().begin.line);
  }
  error = dvs::Error{dvs::Errc::invalid_argument, 0, place + ": " + what};
}

std::string TomlReader::path(std::string_view key) const {
  return name_.empty() ? std::string(key) : name_ + "." + std::string(key);
}

const toml::node* TomlReader::node(std::string_view key) {
  asked_.emplace(key);
  return table_.get(key);
}

void TomlReader::wrong(std::string_view key, const std::string& what) {
  const toml::node* where = table_.get(key);
  problem_.add(where != nullptr ? where : &table_, fmt::format("\"{}\" {}", path(key), what));
}

void TomlReader::require(std::string_view key) {
  if (!has(key)) problem_.add(&table_, fmt::format("\"{}\" is missing", path(key)));
}

void TomlReader::read(std::string_view key, std::string& out) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  const auto value = found->value_exact<std::string>();
  if (!value) return wrong(key, "must be a text in quotes");
  out = *value;
}

void TomlReader::read(std::string_view key, bool& out) {
  const toml::node* found = node(key);
  if (found == nullptr) return;
  const auto value = found->value_exact<bool>();
  if (!value) return wrong(key, "must be true or false");
  out = *value;
}

std::optional<std::int64_t> TomlReader::read_integer(std::string_view key, std::int64_t least,
                                                     std::int64_t most) {
  const toml::node* found = node(key);
  if (found == nullptr) return std::nullopt;
  const auto value = found->value_exact<std::int64_t>();
  if (!value || *value < least || *value > most) {
    wrong(key, fmt::format("must be a whole number from {} to {}", least, most));
    return std::nullopt;
  }
  return *value;
}

const toml::table* TomlReader::table(std::string_view key) {
  const toml::node* found = node(key);
  if (found == nullptr) return nullptr;
  if (!found->is_table()) {
    wrong(key, fmt::format("must be a table: [{}]", path(key)));
    return nullptr;
  }
  return found->as_table();
}

const toml::array* TomlReader::array_of_tables(std::string_view key) {
  const toml::node* found = node(key);
  if (found == nullptr) return nullptr;
  const toml::array* array = found->as_array();
  const auto is_table = [](const toml::node& item) { return item.is_table(); };
  if (array == nullptr || !std::all_of(array->begin(), array->end(), is_table)) {
    wrong(key, fmt::format("must be a list of tables: [[{}]]", path(key)));
    return nullptr;
  }
  return array;
}

void TomlReader::refuse_unknown() {
  for (const auto& [key, value] : table_) {
    if (asked_.contains(key.str())) continue;
    std::string known;
    for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
    problem_.add(&value, fmt::format("unknown key \"{}\"; known here: {}", path(key.str()), known));
  }
}

}  // namespace dvk::daemon

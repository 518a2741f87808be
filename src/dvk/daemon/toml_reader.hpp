// Reading one table of a TOML file strictly: every key is asked for by name and type, and what
// nobody asked for is an error. The first error is kept; all of them name file and line.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <toml++/toml.h>

#include <dvs/result.hpp>

namespace dvk::daemon {

// The first error of a whole file.
struct TomlProblem {
  std::string origin;
  std::optional<dvs::Error> error;

  // Keeps the first only.
  void add(const toml::node* where, const std::string& what);
};

class TomlReader {
 public:
  // `name` is how messages call the table: "" for the file itself.
  TomlReader(const toml::table& table, std::string name, TomlProblem& problem)
      : table_(table), name_(std::move(name)), problem_(problem) {}

  // Leaves `out` alone when the key is absent.
  void read(std::string_view key, std::string& out);
  void read(std::string_view key, bool& out);
  // Numbers outside [least, most] are errors.
  template <class Number>
  void read(std::string_view key, Number& out, std::int64_t least, std::int64_t most) {
    if (const auto value = read_integer(key, least, most)) out = static_cast<Number>(*value);
  }
  const toml::table* table(std::string_view key);
  // Calls `each(const toml::table&)` for the tables of an array.
  template <class Each>
  void tables(std::string_view key, Each each) {
    const toml::array* array = array_of_tables(key);
    if (array == nullptr) return;
    for (const toml::node& item : *array) each(*item.as_table());
  }
  bool has(std::string_view key) const { return table_.contains(key); }
  void require(std::string_view key);
  // The raw value, for what has a form of its own.
  const toml::node* node(std::string_view key);
  void wrong(std::string_view key, const std::string& what);
  // To be called last.
  void refuse_unknown();

 private:
  std::optional<std::int64_t> read_integer(std::string_view key, std::int64_t least,
                                           std::int64_t most);
  const toml::array* array_of_tables(std::string_view key);
  std::string path(std::string_view key) const;

  const toml::table& table_;
  std::string name_;
  TomlProblem& problem_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace dvk::daemon

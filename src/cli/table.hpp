// Tables for people: columns as wide as what is in them.
#pragma once

#include <string>
#include <vector>

namespace dvs::cli {

class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

  // As many cells as the header has; an empty one is shown as "-".
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

  // Lines without blanks at their ends.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace dvs::cli

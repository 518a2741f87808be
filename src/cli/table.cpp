// See table.hpp.
#include "cli/table.hpp"

#include <algorithm>

namespace dvs::cli {
namespace {

constexpr std::size_t gap = 3;

// In characters, not bytes.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string shown(const std::string& cell) {
  return cell.empty() ? "-" : cell;
}

}  // namespace

std::string Table::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(shown(row.at(i))));
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = shown(row[i]);
      text += cell;
      if (i + 1 < widths.size()) text.append(widths[i] - width_of(cell) + gap, ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace dvs::cli

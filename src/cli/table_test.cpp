#include "cli/table.hpp"

#include <gtest/gtest.h>

namespace dvs::cli {
namespace {

TEST(Table, ColumnsAreAsWideAsTheirContents) {
  Table table({"NODE", "STATE", "X"});
  table.add({"n1", "reconnecting", "a"});
  table.add({"n100", "", "b"});
  EXPECT_EQ(table.text(),
            "NODE   STATE          X\n"
            "n1     reconnecting   a\n"
            "n100   -              b\n");
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({"A", "B"});
  table.add({"\xc3\xa4\xc3\xa4", "1"});
  table.add({"xyz", "2"});
  EXPECT_EQ(table.text(), "A     B\n\xc3\xa4\xc3\xa4    1\nxyz   2\n");
}

}  // namespace
}  // namespace dvs::cli

#include "api/metrics.hpp"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>

#include "api/test_source.hpp"

namespace dvs::api {
namespace {

std::string text_of(const test::TestSource& source) {
  return metrics_text(source.version(), source.node(), source.cluster());
}

TEST(ApiMetrics, TellTheReports) {
  test::TestSource source;
  source.bulk_state = "suspect";
  const std::string text = text_of(source);
  for (const char* line :
       {"dvs_build_info{version=\"1.2.3\",node=\"1\"} 1\n", "dvs_uptime_seconds 1.5\n",
        "dvs_endpoints 3\n", "dvs_view_number 5\n", "dvs_link_up{node=\"2\",lane=\"message\"} 1\n",
        "dvs_link_up{node=\"2\",lane=\"bulk\"} 0\n",
        "dvs_link_bytes_sent_total{node=\"2\",lane=\"bulk\"} 100\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

// Each family is declared once, before its samples, and every line has the format's form.
TEST(ApiMetrics, HaveTheFormOfTheFormat) {
  std::istringstream text(text_of(test::TestSource()));
  const std::regex comment(R"(# (HELP|TYPE) (dvs_[a-z_]+) .+)");
  const std::regex sample(R"((dvs_[a-z_]+)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+]+)");
  std::set<std::string> declared;
  std::string current;
  for (std::string line; std::getline(text, line);) {
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      current = match[2];
      if (match[1] == "TYPE") {
        EXPECT_TRUE(declared.insert(current).second) << line;
      }
    } else {
      ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
      EXPECT_EQ(match[1], current) << line;
    }
  }
  EXPECT_GT(declared.size(), 15U);
}

}  // namespace
}  // namespace dvs::api

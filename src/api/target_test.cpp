#include "api/target.hpp"

#include <gtest/gtest.h>

namespace dvs::api {
namespace {

using Names = std::map<std::string, std::string>;

TEST(ApiTarget, IsTakenApart) {
  const auto target = parse_target("/v1/nodes/a%20b?since=7&follow=true&empty&x=%26");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, (std::vector<std::string>{"v1", "nodes", "a b"}));
  EXPECT_EQ(target->query, (Names{{"since", "7"}, {"follow", "true"}, {"empty", ""}, {"x", "&"}}));
}

TEST(ApiTarget, WithoutQuery) {
  EXPECT_EQ(parse_target("/")->path, std::vector<std::string>{""});
  EXPECT_EQ(parse_target("/v1/node")->path, (std::vector<std::string>{"v1", "node"}));
  EXPECT_TRUE(parse_target("/v1/node?")->query.empty());
}

TEST(ApiTarget, WhatIsNoneIsRefused) {
  for (const char* text :
       {"", "v1", "*", "/%", "/%1", "/%zz", "/%+1", "/a%00b", "/%0a", "/?a=%g0", "/?a=1&a=2"}) {
    EXPECT_EQ(parse_target(text).error().code, Errc::invalid_argument) << text;
  }
  EXPECT_FALSE(parse_target("/" + std::string(target_bytes_max, 'a')));
}

TEST(ApiTarget, PathsFitPatterns) {
  EXPECT_EQ(match_path("/v1/nodes/{id}", {"v1", "nodes", "2"}), (Names{{"id", "2"}}));
  EXPECT_EQ(match_path("/v1/node", {"v1", "node"}), Names{});
  EXPECT_FALSE(match_path("/v1/nodes/{id}", {"v1", "nodes"}));
  EXPECT_FALSE(match_path("/v1/nodes/{id}", {"v1", "node", "2"}));
  EXPECT_FALSE(match_path("/v1/node", {"v1", "node", ""}));
}

}  // namespace
}  // namespace dvs::api

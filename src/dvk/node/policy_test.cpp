// Patterns, and what the rules allow.
#include "dvk/node/policy.hpp"

#include <gtest/gtest.h>

namespace dvk::node {
namespace {

using dvs::ContainerId;

TEST(Glob, Matches) {
  const std::pair<const char*, const char*> matching[] = {
      {"", ""},
      {"*", ""},
      {"*", "anything"},
      {"**", "x"},
      {"?", "x"},
      {"a?c", "abc"},
      {"a*", "a"},
      {"a*c", "ac"},
      {"a*c", "abcbc"},
      {"*.log", "a.b.log"},
      {"*a*b*", "xxaxbx"},
      {"*ab", "aab"},
      {"a*b*c", "aXbXbc"},
      {"?*?", "ab"},
      {"*?", "a"},
      {"*", "*"},
      {"?", "*"},
      {"*x", "*x"},
      {"a**b", "ab"},
  };
  for (const auto& [pattern, text] : matching) {
    EXPECT_TRUE(matches_glob(pattern, text)) << pattern << " " << text;
  }
  const std::pair<const char*, const char*> different[] = {
      {"", "a"},       {"a", ""},   {"?", ""},    {"?", "ab"},  {"a*c", "abcd"},
      {"a*c", "bac"},  {"*b", "a"}, {"ab", "a"},  {"a", "ab"},  {"?*?", "a"},
      {"*a*b*", "ba"}, {"A", "a"},  {"[a]", "a"}, {"\\*", "*"}, {"x", "*"},
  };
  for (const auto& [pattern, text] : different) {
    EXPECT_FALSE(matches_glob(pattern, text)) << pattern << " " << text;
  }
}

// Stars must not make the matching exponential.
TEST(Glob, ManyStarsEndSoon) {
  std::string pattern;
  for (int i = 0; i < 100; ++i) pattern += "*a";
  EXPECT_FALSE(matches_glob(pattern + "b", std::string(10'000, 'a')));
}

TEST(Policy, NoRulesAllowEverything) {
  const Policy none;
  EXPECT_TRUE(none.may_bind(ContainerId{1}, {"name", 1000}));
  EXPECT_TRUE(none.may_talk(ContainerId{1}, {"a", 1}, {"", 2}));
}

TEST(Policy, RulesOfOneContainerDoNotBindAnother) {
  const Policy policy({{ContainerId{1}, {.bind = {{0, "*"}}, .talk = {{"a", "b"}}}}});
  EXPECT_FALSE(policy.may_bind(ContainerId{1}, {"name", 1000}));
  EXPECT_TRUE(policy.may_bind(ContainerId{2}, {"name", 1000}));
  EXPECT_FALSE(policy.may_talk(ContainerId{1}, {"x", 0}, {"b", 0}));
  EXPECT_TRUE(policy.may_talk(ContainerId{2}, {"x", 0}, {"b", 0}));
}

TEST(Policy, BindingNeedsARuleOfThatUserAndName) {
  const Policy policy(
      {{ContainerId{1}, {.bind = {{0, "*"}, {1000, "app.*"}, {1000, "x"}}, .talk = {}}}});
  EXPECT_TRUE(policy.may_bind(ContainerId{1}, {"anything", 0}));
  EXPECT_TRUE(policy.may_bind(ContainerId{1}, {"app.web", 1000}));
  EXPECT_TRUE(policy.may_bind(ContainerId{1}, {"x", 1000}));
  EXPECT_FALSE(policy.may_bind(ContainerId{1}, {"system", 1000}));
  EXPECT_FALSE(policy.may_bind(ContainerId{1}, {"app.web", 1001}));
  EXPECT_TRUE(policy.may_talk(ContainerId{1}, {"a", 5}, {"b", 5}));  // no rules of talking
}

TEST(Policy, ARuleOfTalkingOpensBothDirections) {
  const Policy policy(
      {{ContainerId{1}, {.bind = {}, .talk = {{"client.*", "server"}, {"", "log"}}}}});
  const auto may_talk = [&](const char* from, const char* to) {
    const bool there = policy.may_talk(ContainerId{1}, {from, 1}, {to, 2});
    EXPECT_EQ(there, policy.may_talk(ContainerId{1}, {to, 2}, {from, 1}));
    return there;
  };
  EXPECT_TRUE(may_talk("client.1", "server"));
  EXPECT_TRUE(may_talk("server", "client.1"));
  EXPECT_FALSE(may_talk("client.1", "client.2"));
  EXPECT_FALSE(may_talk("server", "server"));
  EXPECT_TRUE(may_talk("", "log"));  // one without a name
  EXPECT_FALSE(may_talk("", "server"));
  EXPECT_TRUE(policy.may_bind(ContainerId{1}, {"a", 5}));
}

}  // namespace
}  // namespace dvk::node

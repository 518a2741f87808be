#include "local/plan.hpp"

#include <gtest/gtest.h>

namespace dvs::local {
namespace {

Plan plan_of(int nodes, int cores = 0) {
  return {.name = "test", .directory = "/d", .nodes = nodes, .cores_per_node = cores};
}

TEST(LocalPlan, GoodOnesAreTaken) {
  for (const int nodes : {1, 3, nodes_max}) EXPECT_TRUE(check(plan_of(nodes)));
  for (const char* name : {"a", "dvs", "my-cluster-2", "0123456789abcdef"}) {
    EXPECT_TRUE(check({.name = name, .directory = "/d"})) << name;
  }
}

TEST(LocalPlan, ImpossibleOnesAreRefused) {
  for (const int nodes : {-1, 0, nodes_max + 1}) {
    EXPECT_EQ(check(plan_of(nodes)).error().code, Errc::invalid_argument);
  }
  for (const char* name : {"", "A", "a b", "a/b", "..", "-a", "0123456789abcdefg", "\xc3\xa4"}) {
    EXPECT_EQ(check({.name = name, .directory = "/d"}).error().code, Errc::invalid_argument);
  }
  EXPECT_FALSE(check({.name = "a", .directory = "relative"}));
  EXPECT_FALSE(check({.name = "a", .directory = "/" + std::string(100, 'x')}));
}

TEST(LocalPlan, ALoneNodeHasNoLinks) {
  const std::string text = configuration_text(plan_of(1), 1);
  EXPECT_EQ(text,
            "node = 1\nstate_dir = \"/d/n1/state\"\nrun_dir = \"/d/n1/run\"\n"
            "[consensus]\nfirst = true\n");
}

TEST(LocalPlan, EveryNodeListsAllOthers) {
  const std::string text = configuration_text(plan_of(3), 2);
  EXPECT_NE(text.find("listen = \"10.77.0.2:7400\""), std::string::npos);
  EXPECT_NE(text.find("directory = \"/d/n2/certificate\""), std::string::npos);
  EXPECT_NE(text.find("id = 1\naddress = \"10.77.0.1:7400\""), std::string::npos);
  EXPECT_NE(text.find("id = 3\naddress = \"10.77.0.3:7400\""), std::string::npos);
  EXPECT_EQ(text.find("id = 2\n"), std::string::npos);
}

TEST(LocalPlan, TheFirstNodeBeginsTheCluster) {
  EXPECT_NE(configuration_text(plan_of(3), 1).find("[consensus]\nfirst = true\n"),
            std::string::npos);
  EXPECT_NE(configuration_text(plan_of(3), 3).find("[consensus]\nfirst = false\n"),
            std::string::npos);
}

TEST(LocalPlan, EveryNodeIsPluggedIn) {
  const std::string text = switch_commands(plan_of(2));
  for (const char* line : {"link add n1 type veth peer name eth0 netns test-n1\n",
                           "link set n2 master bridge\n", "link set n2 up\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << text;
  }
  EXPECT_NE(node_commands(2).find("address add 10.77.0.2/16 dev eth0\n"), std::string::npos);
}

TEST(LocalPlan, CoresAreDealtOutInTurn) {
  const std::vector<int> machine = {0, 1, 4, 5};
  EXPECT_EQ(cores_of(plan_of(3, 2), 1, machine), (std::vector{0, 1}));
  EXPECT_EQ(cores_of(plan_of(3, 2), 2, machine), (std::vector{4, 5}));
  EXPECT_EQ(cores_of(plan_of(3, 2), 3, machine), (std::vector{0, 1}));
  EXPECT_EQ(cores_of(plan_of(2, 3), 2, machine), (std::vector{0, 1, 5}));
  EXPECT_EQ(cores_of(plan_of(2, 9), 2, machine), machine);
  EXPECT_TRUE(cores_of(plan_of(3), 1, machine).empty());
  EXPECT_TRUE(cores_of(plan_of(3, 2), 1, {}).empty());
}

TEST(LocalPlan, NodesAreReadWithAndWithoutLetter) {
  EXPECT_EQ(parse_node("n2"), 2);
  EXPECT_EQ(parse_node("65535"), 65535);
  for (const char* text : {"", "n", "0", "n0", "nn1", "-1", "2x", "65536", "99999999999"}) {
    EXPECT_EQ(parse_node(text).error().code, Errc::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace dvs::local

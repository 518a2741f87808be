#include "api/routes.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "api/test_source.hpp"

namespace dvs::api {
namespace {

namespace json = boost::json;

class ApiRoutes : public testing::Test {
 protected:
  Reply ask(std::string_view target, std::optional<Method> method = Method::get,
            std::string_view body = {}) {
    return answer({source_, events_}, {.method = method, .target = target, .body = body});
  }
  json::value get(std::string_view target) {
    const Reply reply = ask(target);
    EXPECT_EQ(reply.status, 200U) << reply.body;
    return json::parse(reply.body);
  }
  // What is wrong must have a code of the catalogue, and say what and what to do.
  void expect_problem(const Reply& reply, unsigned status, std::string_view code) {
    EXPECT_EQ(reply.status, status) << reply.body;
    EXPECT_EQ(reply.content_type, "application/problem+json");
    const json::value problem = json::parse(reply.body);
    EXPECT_EQ(problem.at("error").as_string(), code);
    EXPECT_FALSE(problem.at("detail").as_string().empty());
    EXPECT_FALSE(problem.at("remedy").as_string().empty());
  }

  test::TestSource source_;
  EventLog events_{7};
};

TEST_F(ApiRoutes, VersionAndNode) {
  EXPECT_EQ(get("/v1/version").at("version").as_string(), "1.2.3");
  const json::value node = get("/v1/node");
  EXPECT_EQ(node.at("id").to_number<int>(), 1);
  EXPECT_EQ(node.at("uptime_milliseconds").to_number<int>(), 1500);
  EXPECT_EQ(node.at("links").as_array().size(), 2U);
}

TEST_F(ApiRoutes, NodesHaveTheWorseStateOfTheirLinks) {
  source_.bulk_state = "down";
  const json::value nodes = get("/v1/nodes");
  EXPECT_EQ(nodes.at(0).at("state").as_string(), "up");
  EXPECT_EQ(nodes.at(1).at("state").as_string(), "down");
  EXPECT_EQ(nodes.at(1).at("address").as_string(), "two:7400");
  EXPECT_EQ(get("/v1/nodes/2").at("links").as_array().size(), 2U);
  EXPECT_EQ(get("/v1/nodes/1"), get("/v1/node"));
}

TEST_F(ApiRoutes, ClusterNamesWhoIsSuspected) {
  EXPECT_TRUE(get("/v1/cluster").at("suspected").as_array().empty());
  source_.bulk_state = "suspect";
  const json::value cluster = get("/v1/cluster");
  EXPECT_EQ(cluster.at("suspected"), (json::array{2}));
  EXPECT_EQ(cluster.at("view").at("number").to_number<int>(), 5);
  EXPECT_EQ(cluster.at("links").as_array().size(), 2U);
}

TEST_F(ApiRoutes, EventsAreAStream) {
  const Reply reply = ask("/v1/events?since=7&follow=true");
  ASSERT_TRUE(reply.events);
  EXPECT_EQ(reply.events->since, 7U);
  EXPECT_TRUE(reply.events->follow);
  expect_problem(ask("/v1/events?since=-1"), 400, "invalid_argument");
  expect_problem(ask("/v1/events?since="), 400, "invalid_argument");
  expect_problem(ask("/v1/events?follow=yes"), 400, "invalid_argument");
}

TEST_F(ApiRoutes, CutAndStop) {
  EXPECT_EQ(ask("/v1/dev/cut", Method::post, R"({"node":2})").status, 200U);
  EXPECT_EQ(source_.cuts, std::vector{NodeId{2}});
  for (const char* body : {"", "{", "[]", "2", R"({"node":"2"})", R"({"node":-1})",
                           R"({"node":70000})", R"({"node":2,"more":1})", R"({"node":1.5})"}) {
    expect_problem(ask("/v1/dev/cut", Method::post, body), 400, "invalid_argument");
  }
  expect_problem(ask("/v1/dev/cut", Method::post, R"({"node":1})"), 404, "invalid_argument");
  expect_problem(ask("/v1/dev/cut", Method::post, R"({"node":9})"), 404, "invalid_argument");
  EXPECT_EQ(source_.cuts.size(), 1U);
  EXPECT_FALSE(source_.is_stopped);
  EXPECT_EQ(ask("/v1/stop", Method::post).status, 200U);
  EXPECT_TRUE(source_.is_stopped);
}

TEST_F(ApiRoutes, WhatIsNotThereIsSaid) {
  for (const char* target : {"/", "/v1", "/v1/", "/v2/node", "/v1/node/", "/v1/nodes/1/links"}) {
    expect_problem(ask(target), 404, "unsupported");
  }
  for (const char* target : {"/v1/nodes/3", "/v1/nodes/0", "/v1/nodes/x", "/v1/nodes/"}) {
    expect_problem(ask(target), 404, "invalid_argument");
  }
  expect_problem(ask("/v1/node", Method::post), 405, "unsupported");
  expect_problem(ask("/v1/stop"), 405, "unsupported");
  expect_problem(ask("/v1/node", std::nullopt), 405, "unsupported");
  expect_problem(ask("/v1/node?x=1"), 400, "invalid_argument");
  expect_problem(ask("/v1/%zz"), 400, "invalid_argument");
  EXPECT_FALSE(source_.is_stopped);
}

}  // namespace
}  // namespace dvs::api

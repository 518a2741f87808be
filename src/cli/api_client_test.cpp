#include "cli/api_client.hpp"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace dvs::cli {
namespace {

TEST(ApiClient, ProblemsBecomeErrors) {
  const auto error =
      value_of({404, R"({"error":"invalid_argument","detail":"no node","remedy":"ask ls"})"});
  EXPECT_EQ(error.error().code, Errc::invalid_argument);
  EXPECT_EQ(error.error().detail, "no node; ask ls");
}

TEST(ApiClient, WhatIsUnknownIsNotTrusted) {
  EXPECT_EQ(value_of({500, R"({"error":"new_code","detail":"x"})"}).error().code,
            Errc::unsupported);
  EXPECT_EQ(value_of({500, "oops"}).error().code, Errc::protocol_violation);
  EXPECT_EQ(value_of({500, "[]"}).error().code, Errc::protocol_violation);
  EXPECT_EQ(value_of({200, "{"}).error().code, Errc::protocol_violation);
}

TEST(ApiClient, FieldsBecomeText) {
  const auto value = boost::json::parse(R"({"a":"x","b":2,"c":true,"d":null,"e":[1,2]})");
  EXPECT_EQ(text_of(value, "a"), "x");
  EXPECT_EQ(text_of(value, "b"), "2");
  EXPECT_EQ(text_of(value, "c"), "true");
  EXPECT_EQ(text_of(value, "d"), "");
  EXPECT_EQ(text_of(value, "e"), "[1,2]");
  EXPECT_EQ(text_of(value, "f"), "");
  EXPECT_EQ(text_of(boost::json::value(3), "a"), "");
}

TEST(HttpClient, NobodyThere) {
  const HttpClient client("/tmp/no-dvsd-listens-here.sock");
  const auto reply = client.get("/v1/version");
  EXPECT_EQ(reply.error().code, Errc::unreachable);
  EXPECT_NE(reply.error().detail.find("/tmp/no-dvsd-listens-here.sock"), std::string::npos);
  EXPECT_EQ(HttpClient("/" + std::string(200, 'x')).get("/").error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace dvs::cli

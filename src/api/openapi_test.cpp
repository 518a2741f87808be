// docs/api/openapi.json and the table of routes say the same.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "api/routes.hpp"

namespace dvs::api {
namespace {

namespace json = boost::json;

json::value document() {
  std::ifstream file(OPENAPI_DOCUMENT);
  return json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
}

// "get /v1/nodes/{id} path:id summary".
using Described = std::set<std::string>;

Described described_by_document(const json::value& document) {
  Described result;
  for (const auto& [path, methods] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : methods.as_object()) {
      std::set<std::string> parameters;
      if (const json::value* list = operation.as_object().if_contains("parameters")) {
        for (const json::value& parameter : list->as_array()) {
          const std::string place(parameter.at("in").as_string());
          parameters.insert(place + ":" + std::string(parameter.at("name").as_string()));
          EXPECT_EQ(parameter.at("required").as_bool(), place == "path");
        }
      }
      std::string text = std::string(method) + " " + std::string(path);
      for (const std::string& parameter : parameters) text += " " + parameter;
      result.insert(text + " " + std::string(operation.at("summary").as_string()));
    }
  }
  return result;
}

Described described_by_table() {
  Described result;
  for (const Route& route : routes()) {
    std::set<std::string> parameters;
    for (const Parameter& parameter : route.parameters) {
      const bool is_path = parameter.place == Parameter::Place::path;
      parameters.insert((is_path ? "path:" : "query:") + std::string(parameter.name));
    }
    std::string text = route.method == Method::get ? "get " : "post ";
    text += route.path;
    for (const std::string& parameter : parameters) text += " " + parameter;
    result.insert(text + " " + std::string(route.summary));
  }
  return result;
}

TEST(OpenApi, DocumentAndTableSayTheSame) {
  const Described table = described_by_table();
  EXPECT_EQ(described_by_document(document()), table);
  EXPECT_EQ(table.size(), routes().size()) << "a route stands twice in the table";
}

TEST(OpenApi, EveryReferenceLeadsSomewhere) {
  const json::value whole = document();
  const json::object& schemas = whole.at("components").at("schemas").as_object();
  const std::string text = json::serialize(whole);
  const std::string begin = "\"#\\/components\\/schemas\\/";
  const std::string plain = "\"#/components/schemas/";
  std::size_t references = 0;
  for (const std::string& prefix : {begin, plain}) {
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at + 1)) {
      const std::size_t name = at + prefix.size();
      EXPECT_TRUE(schemas.contains(text.substr(name, text.find('"', name) - name)));
      ++references;
    }
  }
  EXPECT_GT(references, 10U);
}

// Every name in a path's braces is a parameter of the route, and the other way round.
TEST(OpenApi, PatternsAndParametersAgree) {
  for (const Route& route : routes()) {
    for (const Parameter& parameter : route.parameters) {
      if (parameter.place != Parameter::Place::path) continue;
      EXPECT_NE(route.path.find("{" + std::string(parameter.name) + "}"), std::string::npos)
          << route.path;
    }
    const auto in_path = std::ranges::count(route.path, '{');
    const auto declared =
        std::ranges::count(route.parameters, Parameter::Place::path, &Parameter::place);
    EXPECT_EQ(in_path, declared) << route.path;
  }
}

}  // namespace
}  // namespace dvs::api

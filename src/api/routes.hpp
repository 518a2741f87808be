// What the API offers: a table of routes, and who answers them.
//
// docs/api/openapi.json describes the same table for the world; openapi_test.cpp holds the two
// together. A new route is one line in the table of routes.cpp, its handler, and its description
// there.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/api_source.hpp"
#include "api/event_log.hpp"
#include "api/reply.hpp"

namespace dvs::api {

struct Parameter {
  enum class Place { path, query };
  std::string_view name;
  Place place{};
};

// A request that found its route.
struct Call {
  std::map<std::string, std::string> path;   // the names of the pattern
  std::map<std::string, std::string> query;  // nothing but what the route knows
  std::string_view body;
};

struct Routing {
  ApiSource& source;
  const EventLog& events;
};

struct Route {
  Method method{};
  std::string_view path;  // with names in braces
  std::string_view summary;
  std::vector<Parameter> parameters;
  Reply (*handler)(const Routing& routing, const Call& call);
};

std::span<const Route> routes();

// Finds the route and has it answered; what is wrong with the request is answered, too.
Reply answer(const Routing& routing, const Request& request);

}  // namespace dvs::api

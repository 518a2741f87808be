// Requests and replies of the API as its handlers see them: nothing of HTTP but method and status.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include <dvs/error.hpp>

namespace dvs::api {

enum class Method : std::uint8_t { get, post };
constexpr std::string_view name_of(Method method) {
  return method == Method::get ? "GET" : "POST";
}

struct Request {
  std::optional<Method> method;  // nothing: one that no route takes
  std::string_view target;
  std::string_view body;
};

// A reply that goes on: events after number `since`, and with `follow` those that are yet to come.
struct EventStream {
  std::uint64_t since = 0;
  bool follow = false;
};

struct Reply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::optional<EventStream> events;  // then `body` is empty
};

Reply json_reply(const boost::json::value& value);

// {"error": name of the code, "detail": what is wrong, "remedy": what to do}.
Reply problem(unsigned status, Errc code, std::string_view detail, std::string_view remedy);

}  // namespace dvs::api

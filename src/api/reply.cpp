// See reply.hpp.
#include "api/reply.hpp"

#include <boost/json/serialize.hpp>

namespace dvs::api {

namespace json = boost::json;

Reply json_reply(const json::value& value) {
  return {.body = json::serialize(value) + "\n", .events = {}};
}

Reply problem(unsigned status, Errc code, std::string_view detail, std::string_view remedy) {
  Reply reply =
      json_reply(json::object{{"error", name_of(code)}, {"detail", detail}, {"remedy", remedy}});
  reply.status = status;
  reply.content_type = "application/problem+json";
  return reply;
}

}  // namespace dvs::api

// See api_client.hpp.
#include "cli/api_client.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <fmt/format.h>

namespace dvs::cli {

namespace json = boost::json;

namespace {

constexpr unsigned status_ok = 200;

// The code of that name; those that are not known here stand for a newer daemon.
Errc code_of(std::string_view name) {
  constexpr std::uint16_t codes_end = 100;
  for (std::uint16_t number = 1; number < codes_end; ++number) {
    if (name_of(Errc{number}) == name) return Errc{number};
  }
  return Errc::unsupported;
}

std::unexpected<Error> error_of(const HttpReply& reply) {
  boost::system::error_code failed;
  const json::value problem = json::parse(reply.body, failed);
  if (failed || !problem.is_object()) {
    return fail(Errc::protocol_violation,
                fmt::format("dvsd answered {} without saying why", reply.status));
  }
  const std::string remedy = text_of(problem, "remedy");
  return fail(code_of(text_of(problem, "error")),
              text_of(problem, "detail") + (remedy.empty() ? "" : "; " + remedy));
}

}  // namespace

std::string text_of(const json::value& object, std::string_view key) {
  const json::value* value = object.is_object() ? object.get_object().if_contains(key) : nullptr;
  if (value == nullptr || value->is_null()) return {};
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

Result<json::value> value_of(const HttpReply& reply) {
  if (reply.status != status_ok) return error_of(reply);
  boost::system::error_code failed;
  json::value value = json::parse(reply.body, failed);
  if (failed) return fail(Errc::protocol_violation, "dvsd answered what is no JSON");
  return value;
}

Result<json::value> ApiClient::get(const std::string& target) const {
  DVS_TRY(const HttpReply reply, http_.get(target));
  return value_of(reply);
}

Result<json::value> ApiClient::post(const std::string& target, const json::value& body) const {
  DVS_TRY(const HttpReply reply, http_.post(target, json::serialize(body)));
  return value_of(reply);
}

Result<std::string> ApiClient::get_text(const std::string& target) const {
  DVS_TRY(HttpReply reply, http_.get(target));
  if (reply.status != status_ok) return error_of(reply);
  return std::move(reply.body);
}

Result<void> ApiClient::stream(const std::string& target, const HttpClient::OnLine& on_line) const {
  DVS_TRY(const HttpReply reply, http_.stream(target, on_line));
  if (reply.status != status_ok) return error_of(reply);
  return {};
}

}  // namespace dvs::cli

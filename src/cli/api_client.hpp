// The API as a client sees it: JSON values, and problems as errors.
#pragma once

#include <string>

#include <boost/json/value.hpp>

#include <dvs/result.hpp>

#include "cli/http_client.hpp"

namespace dvs::cli {

class ApiClient {
 public:
  explicit ApiClient(HttpClient http) : http_(std::move(http)) {}

  // Errors: as HttpClient, and what the daemon answers: its code, detail and remedy.
  Result<boost::json::value> get(const std::string& target) const;
  Result<boost::json::value> post(const std::string& target, const boost::json::value& body) const;
  Result<std::string> get_text(const std::string& target) const;
  Result<void> stream(const std::string& target, const HttpClient::OnLine& on_line) const;

 private:
  HttpClient http_;
};

// What a reply says. Errors: the problem it tells of; protocol_violation when it is no JSON.
Result<boost::json::value> value_of(const HttpReply& reply);

// For people: fields of an object that may be missing or of another kind.
std::string text_of(const boost::json::value& object, std::string_view key);

}  // namespace dvs::cli

// See record.hpp.
#include "local/record.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace dvs::local {

namespace json = boost::json;

namespace {

constexpr std::uint64_t record_version = 1;

template <class Number>
bool read(const json::object& object, std::string_view key, Number& out) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return false;
  boost::system::error_code error;
  out = value->to_number<Number>(error);
  return !error;
}

bool read(const json::object& object, std::string_view key, std::string& out) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return false;
  out = value->get_string();
  return true;
}

bool read(const json::object& object, std::string_view key, bool& out) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_bool()) return false;
  out = value->get_bool();
  return true;
}

bool read(const json::object& object, std::vector<ProcessIdentity>& out) {
  const json::value* list = object.if_contains("daemons");
  if (list == nullptr || !list->is_array()) return false;
  for (const json::value& entry : list->get_array()) {
    ProcessIdentity process;
    if (!entry.is_object() || !read(entry.get_object(), "pid", process.pid) ||
        !read(entry.get_object(), "start_time", process.start_time) || process.pid < 0) {
      return false;
    }
    out.push_back(process);
  }
  return true;
}

bool read(const json::object& object, Record& record) {
  std::string directory;
  Plan& plan = record.plan;
  const bool is_read =
      read(object, "name", plan.name) && read(object, "directory", directory) &&
      read(object, "nodes", plan.nodes) && read(object, "cores_per_node", plan.cores_per_node) &&
      read(object, "boot_id", record.boot_id) && read(object, "daemon", record.daemon) &&
      read(object, "made_namespace_folder", record.made_namespace_folder) &&
      read(object, "is_complete", record.is_complete) && read(object, record.daemons);
  plan.directory = directory;
  return is_read && check(plan) && plan.cores_per_node >= 0 &&
         record.daemons.size() == static_cast<std::size_t>(plan.nodes);
}

}  // namespace

std::string to_text(const Record& record) {
  json::array daemons;
  for (const ProcessIdentity& process : record.daemons) {
    daemons.push_back(json::object{{"pid", process.pid}, {"start_time", process.start_time}});
  }
  return json::serialize(json::object{{"version", record_version},
                                      {"name", record.plan.name},
                                      {"directory", record.plan.directory.string()},
                                      {"nodes", record.plan.nodes},
                                      {"cores_per_node", record.plan.cores_per_node},
                                      {"boot_id", record.boot_id},
                                      {"daemon", record.daemon},
                                      {"made_namespace_folder", record.made_namespace_folder},
                                      {"is_complete", record.is_complete},
                                      {"daemons", daemons}}) +
         "\n";
}

Result<Record> parse_record(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object()) return fail(Errc::invalid_argument, "it is no JSON object");
  std::uint64_t version = 0;
  if (!read(value.get_object(), "version", version)) {
    return fail(Errc::invalid_argument, "it has no version");
  }
  if (version > record_version) {
    return fail(Errc::version_mismatch, "a newer dvs wrote it; use that one");
  }
  Record record;
  if (!read(value.get_object(), record)) {
    return fail(Errc::invalid_argument, "a field is missing or impossible");
  }
  return record;
}

}  // namespace dvs::local

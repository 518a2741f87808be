// The commands that ask one daemon: version, node, events, logs.
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "cli/target_node.hpp"
#include "local/plan.hpp"

namespace dvs::cli {

namespace json = boost::json;

namespace {

constexpr auto follow_interval = std::chrono::milliseconds(200);

void print_json(const json::value& value) {
  fmt::print("{}\n", json::serialize(value));
}

Result<json::value> ask(const Options& options, const std::string& target) {
  DVS_TRY(const ApiClient api, connect(options));
  return api.get(target);
}

std::string node_text(const json::value& node) {
  return "n" + text_of(node, "id");
}

}  // namespace

// --- version -------------------------------------------------------------------------------------

int show_version(const Options& options) {
  const auto daemon = ask(options, "/v1/version");
  if (options.is_json) {
    print_json(json::object{
        {"dvs", options.version},
        {"dvsd", daemon ? json::value(text_of(*daemon, "version")) : json::value(nullptr)}});
  } else {
    fmt::print("dvs    {}\ndvsd   {}\n", options.version,
               daemon ? text_of(*daemon, "version") : "does not answer");
  }
  // The own version is told in any case; a wrong option is wrong all the same.
  return !daemon && daemon.error() == Errc::invalid_argument ? complain(daemon.error())
                                                             : exit_success;
}

// --- node ----------------------------------------------------------------------------------------

int list_nodes(const Options& options) {
  const auto nodes = ask(options, "/v1/nodes");
  if (!nodes) return complain(nodes.error());
  if (options.is_json) return print_json(*nodes), exit_success;
  Table table({"NODE", "STATE", "ADDRESS"});
  if (nodes->is_array()) {
    for (const json::value& node : nodes->get_array()) {
      const bool is_self = text_of(node, "is_self") == "true";
      table.add({node_text(node) + (is_self ? " *" : ""), text_of(node, "state"),
                 text_of(node, "address")});
    }
  }
  fmt::print("{}", table.text());
  return exit_success;
}

namespace {

void print_links(const json::value& node) {
  const json::value* links = node.get_object().if_contains("links");
  if (links == nullptr || !links->is_array() || links->get_array().empty()) return;
  Table table({"LINK TO", "LANE", "STATE", "SENT", "RECEIVED", "RECONNECTS", "LOST FRAMES"});
  for (const json::value& link : links->get_array()) {
    table.add({"n" + text_of(link, "node"), text_of(link, "lane"), text_of(link, "state"),
               text_of(link, "bytes_sent"), text_of(link, "bytes_received"),
               text_of(link, "reconnects"), text_of(link, "lost_frames")});
  }
  fmt::print("\n{}", table.text());
}

void print_node(const json::value& node) {
  fmt::print("{:<20} {}\n", "node", node_text(node));
  for (const auto& field : node.get_object()) {
    if (field.key() == "id" || field.key() == "links" || field.key() == "loop") continue;
    std::string name(field.key());
    for (char& c : name) c = c == '_' ? ' ' : c;
    const std::string value = text_of(node, field.key());
    if (!value.empty()) fmt::print("{:<20} {}\n", name, value);
  }
  print_links(node);
}

}  // namespace

int inspect_node(const Options& options) {
  std::string target = "/v1/node";
  if (!options.node.empty()) {
    const auto number = local::parse_node(options.node);
    if (!number) return complain(number.error());
    target = fmt::format("/v1/nodes/{}", *number);
  }
  const auto node = ask(options, target);
  if (!node) return complain(node.error());
  if (options.is_json || !node->is_object()) {
    print_json(*node);
  } else {
    print_node(*node);
  }
  return exit_success;
}

// --- events --------------------------------------------------------------------------------------

namespace {

// "12:00:00.250  link_state   node=2 lane=message state=up": as the log has it.
std::string event_text(std::string_view line) {
  const auto event = value_of({200, std::string(line)});
  if (!event || !event->is_object()) return std::string(line);
  std::string text = fmt::format("{:>6}  {}  {:<11}", text_of(*event, "sequence"),
                                 text_of(*event, "time"), text_of(*event, "event"));
  for (const auto& field : event->get_object()) {
    const std::string_view key(field.key().data(), field.key().size());
    if (key == "sequence" || key == "time" || key == "event" || key == "boot") continue;
    text += fmt::format(" {}={}", key, text_of(*event, key));
  }
  return text;
}

}  // namespace

int show_events(const Options& options) {
  const auto api = connect(options);
  if (!api) return complain(api.error());
  const auto done =
      api->stream(fmt::format("/v1/events?since={}&follow={}", options.since, options.follow),
                  [&](std::string_view line) {
                    fmt::print("{}\n", options.is_json ? std::string(line) : event_text(line));
                    return std::fflush(stdout) == 0;
                  });
  return done ? exit_success : complain(done.error());
}

// --- logs ----------------------------------------------------------------------------------------

namespace {

std::string last_lines(const std::string& text, std::uint64_t count) {
  std::size_t begin = text.size();
  for (std::uint64_t lines = 0; begin > 0; --begin) {
    if (text[begin - 1] == '\n' && begin != text.size() && ++lines == count) break;
  }
  return count == 0 ? "" : text.substr(begin);
}

int print_log(const std::filesystem::path& path, const Options& options) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return complain({Errc::system, errno, "reading " + path.string()});
  const std::string text(std::istreambuf_iterator<char>(file), {});
  fmt::print("{}", options.tail ? last_lines(text, *options.tail) : text);
  while (options.follow) {
    std::fflush(stdout);
    std::this_thread::sleep_for(follow_interval);
    file.clear();
    const std::string more(std::istreambuf_iterator<char>(file), {});
    fmt::print("{}", more);
    if (::access(path.c_str(), F_OK) != 0) break;  // the cluster was taken down
  }
  return exit_success;
}

}  // namespace

int show_log(const Options& options) {
  const auto target = choose_target(options);
  if (!target) return complain(target.error());
  if (target->local) {
    return print_log(local::files_of(target->local->plan, target->node).log, options);
  }
  fmt::print(stderr,
             "dvs: only nodes of a local cluster have their log in a file that is known here; that "
             "of the system's dvsd is shown by: journalctl -u dvsd{}\n",
             options.follow ? " -f" : "");
  return exit_failure;
}

}  // namespace dvs::cli

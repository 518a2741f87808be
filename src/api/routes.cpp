// See routes.hpp.
#include "api/routes.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <fmt/format.h>

#include "api/metrics.hpp"
#include "api/target.hpp"

namespace dvs::api {

namespace json = boost::json;

namespace {

constexpr std::string_view see_document =
    "docs/api/openapi.json lists what there is, with its parameters";

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return number;
}

// --- The reports as JSON -------------------------------------------------------------------------

// The better state comes first; that of a node is that of its worst lane.
constexpr std::array<std::string_view, 5> link_states = {"up", "suspect", "reconnecting",
                                                         "connecting", "down"};

std::string state_of(NodeId node, NodeId self, const ClusterReport& cluster) {
  if (node == self) return "up";
  std::size_t worst = 0;
  bool is_known = false;
  for (const LinkReport& link : cluster.links) {
    if (link.node != node) continue;
    is_known = true;
    const auto rank = std::ranges::find(link_states, link.state) - link_states.begin();
    worst = std::max(worst, static_cast<std::size_t>(rank));
  }
  if (!is_known || worst >= link_states.size()) return "unknown";
  return std::string(link_states[worst]);
}

json::object to_json(const LinkReport& link) {
  return {{"node", raw(link.node)},
          {"lane", link.lane},
          {"state", link.state},
          {"frames_sent", link.frames_sent},
          {"bytes_sent", link.bytes_sent},
          {"frames_received", link.frames_received},
          {"bytes_received", link.bytes_received},
          {"replays", link.replays},
          {"duplicates", link.duplicates},
          {"reconnects", link.reconnects},
          {"sessions", link.sessions},
          {"lost_frames", link.lost_frames},
          {"waiting_bytes", link.waiting_bytes}};
}

json::array links_json(const ClusterReport& cluster, NodeId node = no_node) {
  json::array links;
  for (const LinkReport& link : cluster.links) {
    if (node == no_node || link.node == node) links.push_back(to_json(link));
  }
  return links;
}

json::object member_json(const MemberReport& member, NodeId self, const ClusterReport& cluster) {
  return {{"id", raw(member.id)},
          {"is_self", member.id == self},
          {"state", state_of(member.id, self, cluster)},
          {"address", member.address}};
}

json::object self_json(const NodeReport& node, const ClusterReport& cluster,
                       const std::string& version) {
  const auto member = std::ranges::find(cluster.members, node.id, &MemberReport::id);
  return {{"id", raw(node.id)},
          {"is_self", true},
          {"state", "up"},
          {"address", member == cluster.members.end() ? "" : member->address},
          {"version", version},
          {"boot", node.boot},
          {"pid", node.pid},
          {"uptime_milliseconds", node.uptime.count()},
          {"link_port", node.link_port},
          {"connections", node.connections},
          {"endpoints", node.endpoints},
          {"dropped_packets", node.dropped_packets},
          {"loop", {{"turns", node.turns}, {"sleeps", node.sleeps}}},
          {"links", links_json(cluster)}};
}

json::array members_json(const ClusterReport& cluster, NodeId self) {
  json::array members;
  for (const MemberReport& member : cluster.members) {
    members.push_back(member_json(member, self, cluster));
  }
  return members;
}

// --- The handlers --------------------------------------------------------------------------------

Reply get_version(const Routing& routing, const Call&) {
  return json_reply(json::object{{"version", routing.source.version()}, {"api", "v1"}});
}

Reply get_node(const Routing& routing, const Call&) {
  const ApiSource& source = routing.source;
  return json_reply(self_json(source.node(), source.cluster(), source.version()));
}

Reply get_nodes(const Routing& routing, const Call&) {
  return json_reply(members_json(routing.source.cluster(), routing.source.node().id));
}

std::string known_nodes(const ClusterReport& cluster) {
  std::string known;
  for (const MemberReport& member : cluster.members) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", raw(member.id));
  }
  return "the nodes are " + known;
}

Reply no_such_node(std::string_view text, const ClusterReport& cluster) {
  return problem(404, Errc::invalid_argument, fmt::format("there is no node \"{}\"", text),
                 known_nodes(cluster));
}

Reply get_one_node(const Routing& routing, const Call& call) {
  const std::string& text = call.path.at("id");
  const auto number = parse_number<std::uint16_t>(text);
  const ClusterReport cluster = routing.source.cluster();
  const NodeReport self = routing.source.node();
  if (number && NodeId{*number} == self.id) return get_node(routing, call);
  const auto member =
      std::ranges::find(cluster.members, NodeId{number.value_or(0)}, &MemberReport::id);
  if (member == cluster.members.end()) return no_such_node(text, cluster);
  json::object node = member_json(*member, self.id, cluster);
  node["links"] = links_json(cluster, member->id);
  return json_reply(node);
}

json::value consensus_json(const std::optional<ConsensusReport>& consensus) {
  if (!consensus) return nullptr;
  const auto numbers = [](const std::vector<NodeId>& nodes) {
    json::array array;
    for (const NodeId node : nodes) array.push_back(raw(node));
    return array;
  };
  return json::object{
      {"position", consensus->position},        {"term", consensus->term},
      {"leader", raw(consensus->leader)},       {"voters", numbers(consensus->voters)},
      {"in_view", numbers(consensus->in_view)}, {"lost", numbers(consensus->lost)},
      {"is_frozen", consensus->is_frozen}};
}

Reply get_cluster(const Routing& routing, const Call&) {
  const ClusterReport cluster = routing.source.cluster();
  const NodeId self = routing.source.node().id;
  json::array suspected;
  for (const MemberReport& member : cluster.members) {
    const std::string state = state_of(member.id, self, cluster);
    if (state != "up" && state != "connecting") suspected.push_back(raw(member.id));
  }
  return json_reply(json::object{
      {"id", cluster.id},
      {"answered_by", raw(self)},
      {"view", {{"number", cluster.view_number}, {"is_static", cluster.is_view_static}}},
      {"directory_authority", raw(cluster.directory_authority)},
      {"members", members_json(cluster, self)},
      {"suspected", suspected},
      {"consensus", consensus_json(cluster.consensus)},
      {"links", links_json(cluster)}});
}

Reply get_events(const Routing&, const Call& call) {
  EventStream stream;
  if (const auto since = call.query.find("since"); since != call.query.end()) {
    const auto number = parse_number<std::uint64_t>(since->second);
    if (!number) {
      return problem(400, Errc::invalid_argument,
                     fmt::format("since=\"{}\" is no number", since->second),
                     "give the number of the last event you have; 0 for all");
    }
    stream.since = *number;
  }
  if (const auto follow = call.query.find("follow"); follow != call.query.end()) {
    if (follow->second != "true" && follow->second != "false") {
      return problem(400, Errc::invalid_argument,
                     fmt::format("follow=\"{}\" is neither true nor false", follow->second),
                     "say follow=true to stay and hear what comes");
    }
    stream.follow = follow->second == "true";
  }
  return {.content_type = "application/x-ndjson", .body = {}, .events = stream};
}

Reply get_metrics(const Routing& routing, const Call&) {
  const ApiSource& source = routing.source;
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = metrics_text(source.version(), source.node(), source.cluster()),
          .events = {}};
}

// {"node": N} and nothing else.
std::optional<std::uint16_t> node_of_body(std::string_view body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (error || !value.is_object()) return std::nullopt;
  const json::object& object = value.get_object();
  const json::value* node = object.if_contains("node");
  if (node == nullptr || object.size() != 1) return std::nullopt;
  const auto number = node->to_number<std::uint16_t>(error);
  if (error) return std::nullopt;
  return number;
}

Reply post_cut(const Routing& routing, const Call& call) {
  const auto number = node_of_body(call.body);
  if (!number) {
    return problem(400, Errc::invalid_argument, "the body names no node",
                   R"(send {"node": N}, nothing else)");
  }
  const ClusterReport cluster = routing.source.cluster();
  const NodeId node{*number};
  const bool is_member =
      std::ranges::find(cluster.members, node, &MemberReport::id) != cluster.members.end();
  if (!is_member || node == routing.source.node().id) {
    return problem(
        404, Errc::invalid_argument, fmt::format("no link leads to node {}", *number),
        known_nodes(cluster) + fmt::format("; this one is {}", raw(routing.source.node().id)));
  }
  return json_reply(json::object{{"was_connected", routing.source.cut(node)}});
}

Reply post_stop(const Routing& routing, const Call&) {
  routing.source.stop();
  return json_reply(json::object{{"stopping", true}});
}

}  // namespace

// --- The table -----------------------------------------------------------------------------------

std::span<const Route> routes() {
  using enum Method;
  using enum Parameter::Place;
  static const std::vector<Route> table = {
      {get, "/v1/version", "The version of the daemon and of this interface.", {}, get_version},
      {get, "/v1/node", "The node that answers, in full.", {}, get_node},
      {get, "/v1/nodes", "All members of the view, as this node sees them.", {}, get_nodes},
      {get, "/v1/nodes/{id}", "One of them, with the links to it.", {{"id", path}}, get_one_node},
      {get, "/v1/cluster", "Members, view, links, and who is suspected.", {}, get_cluster},
      {get,
       "/v1/events",
       "What happened on this node: a stream, one JSON object a line.",
       {{"since", query}, {"follow", query}},
       get_events},
      {get, "/v1/metrics", "Figures in the text format of Prometheus.", {}, get_metrics},
      {post, "/v1/dev/cut", "Breaks the connections to a node; they are made anew.", {}, post_cut},
      {post, "/v1/stop", "Ends the daemon, in order.", {}, post_stop},
  };
  return table;
}

namespace {

std::optional<Reply> refuse_unknown_query(const Route& route, const Target& target) {
  for (const auto& [name, value] : target.query) {
    const bool is_known = std::ranges::any_of(route.parameters, [&](const Parameter& parameter) {
      return parameter.place == Parameter::Place::query && parameter.name == name;
    });
    if (!is_known) {
      return problem(400, Errc::invalid_argument,
                     fmt::format("{} knows no parameter \"{}\"", route.path, name), see_document);
    }
  }
  return std::nullopt;
}

}  // namespace

Reply answer(const Routing& routing, const Request& request) {
  auto target = parse_target(request.target);
  if (!target) return problem(400, target.error().code, target.error().detail, see_document);
  std::string allowed;
  for (const Route& route : routes()) {
    auto names = match_path(route.path, target->path);
    if (!names) continue;
    if (route.method != request.method) {
      allowed = name_of(route.method);
      continue;
    }
    if (auto refusal = refuse_unknown_query(route, *target)) return *std::move(refusal);
    return route.handler(routing, {*std::move(names), std::move(target->query), request.body});
  }
  if (!allowed.empty()) {
    return problem(405, Errc::unsupported, "that path does not take this method", "use " + allowed);
  }
  return problem(404, Errc::unsupported, "there is no such path", see_document);
}

}  // namespace dvs::api

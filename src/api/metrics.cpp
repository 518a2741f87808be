// See metrics.hpp.
#include "api/metrics.hpp"

#include <array>
#include <string_view>

#include <fmt/format.h>

namespace dvs::api {
namespace {

enum class Kind { counter, gauge };

void add_family(std::string& text, std::string_view name, Kind kind, std::string_view meaning) {
  text += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, meaning,
                      kind == Kind::counter ? "counter" : "gauge");
}

template <class Value>
void add(std::string& text, std::string_view name, Kind kind, std::string_view meaning,
         Value value) {
  add_family(text, name, kind, meaning);
  text += fmt::format("{} {}\n", name, value);
}

void add_node(std::string& text, const NodeReport& node) {
  add(text, "dvs_uptime_seconds", Kind::gauge, "Since the daemon started.",
      static_cast<double>(node.uptime.count()) / 1000);
  add(text, "dvs_connections", Kind::gauge, "Processes on the attach sockets.", node.connections);
  add(text, "dvs_endpoints", Kind::gauge, "Endpoints that live on this node.", node.endpoints);
  add(text, "dvs_dropped_packets_total", Kind::counter,
      "Packets dropped for lack of room; their senders repeat them.", node.dropped_packets);
  add(text, "dvs_loop_turns_total", Kind::counter, "Turns of the daemon's loop.", node.turns);
  add(text, "dvs_loop_sleeps_total", Kind::counter, "Times the daemon slept.", node.sleeps);
}

void add_cluster(std::string& text, const ClusterReport& cluster) {
  add(text, "dvs_view_number", Kind::gauge, "Number of the membership view.", cluster.view_number);
  add(text, "dvs_view_members", Kind::gauge, "Nodes in the membership view.",
      cluster.members.size());
}

struct LinkMetric {
  std::string_view name, meaning;
  Kind kind;
  std::uint64_t LinkReport::*value;
};
constexpr auto link_metrics = std::to_array<LinkMetric>({
    {"dvs_link_frames_sent_total", "Frames sent, replays included.", Kind::counter,
     &LinkReport::frames_sent},
    {"dvs_link_bytes_sent_total", "Their payloads.", Kind::counter, &LinkReport::bytes_sent},
    {"dvs_link_frames_received_total", "Frames delivered.", Kind::counter,
     &LinkReport::frames_received},
    {"dvs_link_bytes_received_total", "Their payloads.", Kind::counter,
     &LinkReport::bytes_received},
    {"dvs_link_replays_total", "Frames sent again.", Kind::counter, &LinkReport::replays},
    {"dvs_link_duplicates_total", "Frames that had come before.", Kind::counter,
     &LinkReport::duplicates},
    {"dvs_link_reconnects_total", "Connections after the first.", Kind::counter,
     &LinkReport::reconnects},
    {"dvs_link_sessions_total", "Sessions begun.", Kind::counter, &LinkReport::sessions},
    {"dvs_link_lost_frames_total", "Frames dropped with a session.", Kind::counter,
     &LinkReport::lost_frames},
    {"dvs_link_waiting_bytes", "What waits for room.", Kind::gauge, &LinkReport::waiting_bytes},
});

std::string labels_of(const LinkReport& link) {
  return fmt::format("{{node=\"{}\",lane=\"{}\"}}", raw(link.node), link.lane);
}

void add_links(std::string& text, const std::vector<LinkReport>& links) {
  if (links.empty()) return;
  add_family(text, "dvs_link_up", Kind::gauge, "1 when the link is up and the peer is heard.");
  for (const LinkReport& link : links) {
    text += fmt::format("dvs_link_up{} {}\n", labels_of(link), link.state == "up" ? 1 : 0);
  }
  for (const LinkMetric& metric : link_metrics) {
    add_family(text, metric.name, metric.kind, metric.meaning);
    for (const LinkReport& link : links) {
      text += fmt::format("{}{} {}\n", metric.name, labels_of(link), link.*metric.value);
    }
  }
}

}  // namespace

std::string metrics_text(const std::string& version, const NodeReport& node,
                         const ClusterReport& cluster) {
  std::string text;
  add_family(text, "dvs_build_info", Kind::gauge, "Always 1; the labels say what runs here.");
  text += fmt::format("dvs_build_info{{version=\"{}\",node=\"{}\"}} 1\n", version, raw(node.id));
  add_node(text, node);
  add_cluster(text, cluster);
  add_links(text, cluster.links);
  return text;
}

}  // namespace dvs::api

// dvk_bench: the dvk beside what one would use instead, measured in the same run.
//
// Every case runs several passes, ours and the peer's in turn; the figure is the median over the
// passes of each pass's median, the ratio the median of the ratios pass by pass. Times are better
// when smaller, rates when larger; the target column says what was aimed for and is not part of the
// rows.
#include <cstdio>
#include <fstream>
#include <iostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "dvk_pairs.hpp"
#include "nodes.hpp"

namespace bench {
namespace {

using Pass = std::function<Result<Samples>()>;

struct Row {
  std::string name, unit, peer;
  double value = 0, peer_value = 0, ratio = 0;
};

struct Settings {
  int passes = 5;
  int scale = 1;  // divides the length of each pass
  std::string only;
};

class Report {
 public:
  explicit Report(const Settings& settings) : settings_(settings) {}

  // Measures one case. `aim`: e.g. "<= 0.70".
  void measure(const std::string& name, const std::string& unit, const std::string& peer,
               const std::string& aim, const Pass& ours, const Pass& theirs) {
    if (name.find(settings_.only) == std::string::npos) return;
    Samples values, peer_values, ratios;
    for (int pass = 0; pass < settings_.passes; ++pass) {
      const auto value = ours();
      const auto peer_value = theirs();
      if (!value || !peer_value) {
        const auto& error = !value ? value.error() : peer_value.error();
        std::cerr << fmt::format("{}: {}\n", name, to_string(error));
        has_failed_ = true;
        return;
      }
      values.push_back(median(*value));
      peer_values.push_back(median(*peer_value));
      ratios.push_back(values.back() / peer_values.back());
    }
    const Row row{name, unit, peer, median(values), median(peer_values), median(ratios)};
    rows_.push_back(row);
    std::cerr << fmt::format("{:<52} {:>12.2f} {:<6} {:<18} {:>12.2f}  ratio {:.2f}  {}\n", name,
                             row.value, unit, peer, row.peer_value, row.ratio,
                             aim.empty() ? "" : "target " + aim);
  }

  bool has_failed() const { return has_failed_; }

  void write(std::ostream& out) const {
    out << "[\n";
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const Row& row = rows_[i];
      out << fmt::format(
          R"(  {{"bench": "dvk", "case": "{}", "value": {:.4f}, "unit": "{}", "peer": "{}", )"
          R"("peer_value": {:.4f}, "ratio": {:.4f}}}{})",
          row.name, row.value, row.unit, row.peer, row.peer_value, row.ratio,
          i + 1 < rows_.size() ? ",\n" : "\n");
    }
    out << "]\n";
  }

 private:
  Settings settings_;
  std::vector<Row> rows_;
  bool has_failed_ = false;
};

std::string size_name(std::size_t bytes) {
  if (bytes >= 1024 * 1024) return fmt::format("{}MiB", bytes / 1024 / 1024);
  return bytes >= 1024 ? fmt::format("{}KiB", bytes / 1024) : fmt::format("{}B", bytes);
}

constexpr Placement placements[] = {Placement::same_core, Placement::two_cores};

void measure_local(Report& report, const Settings& settings) {
  auto nodes = Nodes::lone();
  if (!nodes) {
    std::cerr << to_string(nodes.error()) << "\n";
    return;
  }
  const Sockets sockets{nodes->socket(1), nodes->socket(1)};
  for (const Placement placement : placements) {
    for (const int pairs : {1, 4}) {
      const PairOptions pair{.placement = placement, .pairs = pairs};
      const std::string where = fmt::format("local/{}/{}pair", name_of(placement), pairs);
      const RoundTrips busy{.calls = 20'000 / settings.scale / pairs};
      report.measure(
          where + "/call_64B_busy", "us", "unix_socket", "<= 0.70",
          [&] { return dvk_calls(pair, sockets, busy); },
          [&] { return unix_socket_round_trips(pair, busy); });
      const RoundTrips sleeping{.calls = 600 / settings.scale / pairs,
                                .pause = std::chrono::milliseconds(1)};
      report.measure(
          where + "/call_64B_sleeping", "us", "unix_socket", "<= 1.10",
          [&] { return dvk_calls(pair, sockets, sleeping); },
          [&] { return unix_socket_round_trips(pair, sleeping); });
      const Stream stream{.records = static_cast<std::uint64_t>(500'000 / settings.scale / pairs)};
      report.measure(
          where + "/one_way_64B", "1/s", "pipe", ">= 1.50",
          [&] { return dvk_stream(pair, sockets, stream); },
          [&] { return pipe_stream(pair, stream); });
    }
    for (const std::size_t bytes : {4096UL, 65536UL, 1048576UL, 67108864UL}) {
      const PairOptions pair{.placement = placement};
      const int copies = static_cast<int>(std::clamp<std::size_t>(
          (1UL << 29) / bytes / static_cast<std::size_t>(settings.scale), 3, 20000));
      // Times: at most 1/0.9 of the peer's.
      report.measure(
          fmt::format("local/{}/copy_{}", name_of(placement), size_name(bytes)), "us",
          "process_vm_readv", bytes == 65536 ? "<= 1.11" : "",
          [&] { return dvk_copies(pair, sockets, bytes, copies); },
          [&] { return process_memory_copies(pair, bytes, copies); });
    }
  }
}

void measure_remote(Report& report, const Settings& settings, bool is_encrypted) {
  auto nodes = Nodes::two(is_encrypted);
  if (!nodes) {
    std::cerr << to_string(nodes.error()) << "\n";
    return;
  }
  const Security security = is_encrypted ? Security::tls : Security::plain;
  const std::string peer = is_encrypted ? "tcp_tls" : "tcp";
  const Sockets sockets{nodes->socket(2), nodes->socket(1)};
  for (const Placement placement : placements) {
    // A node's daemon shares the processor of the node's process.
    nodes->pin(1, 0);
    nodes->pin(2, placement == Placement::same_core ? 0 : 1);
    for (const int pairs : {1, 4}) {
      // The processes reach their daemons by path; only the peer needs the namespaces.
      const PairOptions ours{.placement = placement, .pairs = pairs};
      const PairOptions theirs{.placement = placement,
                               .pairs = pairs,
                               .server_namespace = nodes->network_namespace(2),
                               .client_namespace = nodes->network_namespace(1)};
      const std::string where = fmt::format("remote/{}/{}/{}pair", is_encrypted ? "tls" : "plain",
                                            name_of(placement), pairs);
      const RoundTrips busy{.calls = 10'000 / settings.scale / pairs};
      report.measure(
          where + "/call_64B_busy", "us", peer, "<= 1.40",
          [&] { return dvk_calls(ours, sockets, busy); },
          [&] { return tcp_round_trips(theirs, nodes->address(2), security, busy); });
      const RoundTrips sleeping{.calls = 600 / settings.scale / pairs,
                                .pause = std::chrono::milliseconds(1)};
      report.measure(
          where + "/call_64B_sleeping", "us", peer, "",
          [&] { return dvk_calls(ours, sockets, sleeping); },
          [&] { return tcp_round_trips(theirs, nodes->address(2), security, sleeping); });
      if (pairs != 1) continue;
      struct Size {
        std::size_t bytes;
        int in_flight;
        const char* aim;
      };
      for (const Size size : {Size{4096, 64, ">= 0.50"}, Size{65536, 16, ">= 0.85"},
                              Size{1048576, 4, ">= 0.85"}, Size{67108864, 1, ">= 0.85"}}) {
        const int copies = static_cast<int>(std::clamp<std::size_t>(
            (1UL << 28) / size.bytes / static_cast<std::size_t>(settings.scale), 4, 20000));
        const Stream stream{.bytes = size.bytes, .records = static_cast<std::uint64_t>(copies)};
        report.measure(
            fmt::format("{}/copy_{}", where, size_name(size.bytes)), "MiB/s", peer, size.aim,
            [&] { return dvk_copy_stream(ours, sockets, size.bytes, copies, size.in_flight); },
            [&] { return tcp_stream(theirs, nodes->address(2), security, stream); });
      }
    }
  }
}

int run(int argc, char** argv) {
  Settings settings;
  std::string json;
  bool is_quick = false;
  CLI::App app("Measures the dvk beside its native peers.");
  app.add_option("--json", json, "write the rows to this file");
  app.add_option("--passes", settings.passes, "interleaved passes of each case")
      ->check(CLI::Range(1, 99));
  app.add_option("--only", settings.only, "only cases whose name contains this");
  app.add_flag("--quick", is_quick, "passes a tenth as long: a look, not a result");
  CLI11_PARSE(app, argc, argv);
  if (is_quick) settings.scale = 10;
  Report report(settings);
  const auto wants = [&](const char* part) {
    return settings.only.empty() || settings.only.find('/') == std::string::npos ||
           settings.only.starts_with(part) || std::string(part).starts_with(settings.only);
  };
  if (wants("local/")) measure_local(report, settings);
  if (wants("remote/plain/")) measure_remote(report, settings, false);
  if (wants("remote/tls/")) measure_remote(report, settings, true);
  if (!json.empty()) {
    std::ofstream file(json);
    report.write(file);
    if (!file) {
      std::cerr << "cannot write " << json << "\n";
      return 1;
    }
  } else {
    report.write(std::cout);
  }
  return report.has_failed() ? 1 : 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::run(argc, argv);
}

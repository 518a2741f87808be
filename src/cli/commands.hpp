// The commands, as command_line.hpp names them. Each is documented there and in
// docs/handbook/dvs.md.
#pragma once

#include "cli/options.hpp"

namespace dvs::cli {

int show_version(const Options& options);
int list_nodes(const Options& options);
int inspect_node(const Options& options);
int show_events(const Options& options);
int show_log(const Options& options);

int show_cluster(const Options& options);
int bring_cluster_up(const Options& options);
int take_cluster_down(const Options& options);

int cut_node(const Options& options);
int heal_node(const Options& options);
int pause_node(const Options& options);
int resume_node(const Options& options);
int kill_node(const Options& options);
int start_node(const Options& options);

}  // namespace dvs::cli

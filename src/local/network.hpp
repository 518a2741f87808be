// The networks of a local cluster: a namespace for each node and one for the switch between them.
//
// By the program ip, so that people find them with it: `ip netns exec dvs-n1 ...`.
#pragma once

#include <string>

#include <dvs/result.hpp>

#include "local/plan.hpp"

namespace dvs::local {

// Where a namespace of that name is found.
std::string namespace_path(const std::string& name);
// Whether ip has made its folder for namespaces already; with its first one it does.
bool has_namespace_folder();

// Errors: name_in_use (there is a namespace of one of the names), unsupported (no program ip).
Result<void> check_network(const Plan& plan);
// Makes all of it. Errors: system; what was made until then is there.
Result<void> make_network(const Plan& plan);
// Removes what there is of it. Errors: system.
Result<void> remove_network(const Plan& plan);
// Removes ip's folder, if nothing is in it.
void remove_namespace_folder();

// The switch loses what comes from and goes to the node, without a sign to anybody, or carries it
// again. Errors: system.
Result<void> set_connected(const Plan& plan, int node, bool is_connected);

}  // namespace dvs::local

#include "cluster/state/event.hpp"

#include <algorithm>

namespace dvs::cluster {
namespace {

std::string subject(const SettingPut& change) {
  return "settings/" + change.key;
}
std::string subject(const SettingDeleted& change) {
  return "settings/" + change.key;
}
std::string subject_of_node(NodeId node) {
  return "nodes/" + std::to_string(raw(node));
}
std::string subject(const NodeChanged& change) {
  return subject_of_node(change.node.id);
}
std::string subject(const NodeLost& change) {
  return subject_of_node(change.node);
}
std::string subject(const NodeLeft& change) {
  return subject_of_node(change.node);
}
std::string subject(const ViewChanged&) {
  return "view";
}
std::string subject(const AuthorityChanged& change) {
  return "authorities/" + change.authority.name;
}
std::string subject(const AuthorityForgotten& change) {
  return "authorities/" + change.name;
}

}  // namespace

bool View::contains(NodeId node) const {
  return std::ranges::binary_search(members, node);
}

std::string subject_of(const Change& change) {
  return std::visit([](const auto& body) { return subject(body); }, change);
}

}  // namespace dvs::cluster

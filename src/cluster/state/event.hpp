// What changes of the state look like to those who watch it.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cluster/state/command.hpp"

namespace dvs::cluster {

struct SettingPut {
  std::string key;
  Bytes value;
  void fields(auto&& field) { field(key, value); }
  friend bool operator==(const SettingPut&, const SettingPut&) = default;
};
struct SettingDeleted {
  std::string key;
  void fields(auto&& field) { field(key); }
  friend bool operator==(const SettingDeleted&, const SettingDeleted&) = default;
};
// A node as the cluster knows it, in view or not.
struct Node {
  NodeId id{};
  std::string name;
  std::string address;
  Bytes certificate_fingerprint;
  BootId boot{};
  bool is_lost = false;  // that boot has been declared lost
  NodeRole role{};
  bool is_drained = false;
  std::uint8_t speaks = 0;
  std::vector<Label> labels;
  void fields(auto&& field) {
    field(id, name, address, certificate_fingerprint, boot, is_lost, role, is_drained, speaks,
          labels);
  }
  friend bool operator==(const Node&, const Node&) = default;
};
// Joined, announced, or wished otherwise.
struct NodeChanged {
  Node node;
  void fields(auto&& field) { field(node); }
  friend bool operator==(const NodeChanged&, const NodeChanged&) = default;
};
struct NodeLost {
  NodeId node{};
  BootId boot{};
  void fields(auto&& field) { field(node, boot); }
  friend bool operator==(const NodeLost&, const NodeLost&) = default;
};
// Means NodeLost, too, of a boot that has not been declared lost.
struct NodeLeft {
  NodeId node{};
  void fields(auto&& field) { field(node); }
  friend bool operator==(const NodeLeft&, const NodeLeft&) = default;
};
struct View {
  std::uint64_t number = 0;
  std::vector<NodeId> members;  // ascending
  bool contains(NodeId node) const;
  void fields(auto&& field) { field(number, members); }
  friend bool operator==(const View&, const View&) = default;
};
struct ViewChanged {
  View view;
  void fields(auto&& field) { field(view); }
  friend bool operator==(const ViewChanged&, const ViewChanged&) = default;
};
struct Authority {
  std::string name;
  NodeId holder{};  // no_node: free
  std::uint64_t epoch = 0;
  void fields(auto&& field) { field(name, holder, epoch); }
  friend bool operator==(const Authority&, const Authority&) = default;
};
struct AuthorityChanged {
  Authority authority;
  void fields(auto&& field) { field(authority); }
  friend bool operator==(const AuthorityChanged&, const AuthorityChanged&) = default;
};
struct AuthorityForgotten {
  std::string name;
  void fields(auto&& field) { field(name); }
  friend bool operator==(const AuthorityForgotten&, const AuthorityForgotten&) = default;
};

using Change = std::variant<SettingPut, SettingDeleted, NodeChanged, NodeLost, NodeLeft,
                            ViewChanged, AuthorityChanged, AuthorityForgotten>;

struct Event {
  std::uint64_t index = 0;  // of the entry that made it; several events may have the same
  Change change;
  friend bool operator==(const Event&, const Event&) = default;
};

// What prefixes of watches are compared with: "settings/<key>", "nodes/<number>", "view",
// "authorities/<name>".
std::string subject_of(const Change& change);

}  // namespace dvs::cluster

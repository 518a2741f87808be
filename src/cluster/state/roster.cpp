#include "cluster/state/roster.hpp"

#include <algorithm>

#include "cluster/state/path_name.hpp"

namespace dvs::cluster {
namespace {

// One label of a host name: letters, digits and hyphens inside.
bool is_node_name(std::string_view name) {
  if (name.empty() || name.size() > node_name_bytes_max) return false;
  if (name.front() == '-' || name.back() == '-') return false;
  return std::ranges::all_of(
      name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

bool is_node_address(std::string_view address) {
  return !address.empty() && is_printable(address, node_address_bytes_max);
}

bool is_role(NodeRole role) {
  return role == NodeRole::client || role == NodeRole::voter;
}

bool are_labels(const std::vector<Label>& labels) {
  if (labels.size() > labels_max) return false;
  const auto is_sound = [](const Label& label) {
    return !label.name.empty() && is_printable(label.name, label_bytes_max) &&
           is_printable(label.value, label_bytes_max);
  };
  const auto is_not_before = [](const Label& left, const Label& right) {
    return left.name >= right.name;
  };
  return std::ranges::all_of(labels, is_sound) &&
         std::ranges::adjacent_find(labels, is_not_before) == labels.end();
}

bool is_ascending(const std::vector<NodeId>& nodes) {
  return std::ranges::adjacent_find(nodes, std::ranges::greater_equal{}) == nodes.end();
}

bool is_sound(const Node& node) {
  return is_node_name(node.name) && is_node_address(node.address) && is_role(node.role) &&
         node.certificate_fingerprint.size() <= certificate_fingerprint_bytes_max &&
         are_labels(node.labels) && node.boot != BootId{} && node.speaks != 0;
}

}  // namespace

const Node* Roster::find(NodeId node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

Node* Roster::known(NodeId node) {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

std::uint8_t Roster::spoken_by_all() const {
  std::uint8_t version = command_version;
  for (const auto& [id, node] : nodes_) version = std::min(version, node.speaks);
  return version;
}

Outcome Roster::join(const Join& command, std::vector<Change>& changes) {
  Node node;
  node.name = command.name;
  node.address = command.address;
  node.certificate_fingerprint = command.certificate_fingerprint;
  node.boot = command.boot;
  node.role = command.role;
  node.speaks = command.speaks;
  if (!is_sound(node)) return refuse(Errc::invalid_argument);
  for (const auto& [id, other] : nodes_) {
    if (other.name == node.name) return refuse(Errc::name_in_use, raw(id));
  }
  if (nodes_.size() >= nodes_max) return refuse(Errc::limit_reached);
  const auto number = take_number(command.wished);
  if (!number) return refuse(command.wished == no_node ? Errc::limit_reached : Errc::conflict);
  node.id = *number;
  nodes_.emplace(node.id, node);
  changes.emplace_back(NodeChanged{node});
  return raw(node.id);
}

// Numbers below next_number_ have been used, but for those a wish has passed over.
std::optional<NodeId> Roster::take_number(NodeId wished) {
  if (wished == no_node) {
    if (next_number_ > node_number_max) return std::nullopt;
    return static_cast<NodeId>(next_number_++);
  }
  if (raw(wished) < next_number_) {
    return skipped_.erase(wished) != 0 ? std::optional(wished) : std::nullopt;
  }
  while (next_number_ < raw(wished)) skipped_.insert(static_cast<NodeId>(next_number_++));
  ++next_number_;
  return wished;
}

Outcome Roster::leave(const Leave& command, std::vector<Change>& changes) {
  if (find(command.node) == nullptr) return refuse(Errc::not_found);
  if (view_.contains(command.node)) return refuse(Errc::conflict, view_.number);
  nodes_.erase(command.node);
  changes.emplace_back(NodeLeft{command.node});
  return raw(command.node);
}

Outcome Roster::announce(const Announce& command, std::vector<Change>& changes) {
  if (!is_node_address(command.address) || command.boot == BootId{} || command.speaks == 0) {
    return refuse(Errc::invalid_argument);
  }
  Node* node = known(command.node);
  if (node == nullptr) return refuse(Errc::not_found);
  if (command.replaces != node->boot) return refuse(Errc::conflict, raw(node->boot));
  const bool is_new_boot = command.boot != node->boot;
  // A new boot: only after the one before is lost. The same boot: only while it is not.
  if (is_new_boot != node->is_lost) return refuse(Errc::conflict, raw(node->boot));
  node->boot = command.boot;
  node->is_lost = false;
  node->address = command.address;
  node->speaks = command.speaks;
  changes.emplace_back(NodeChanged{*node});
  return raw(node->id);
}

Outcome Roster::set(const SetRole& command, std::vector<Change>& changes) {
  if (!is_role(command.role)) return refuse(Errc::invalid_argument);
  Node* node = known(command.node);
  if (node == nullptr) return refuse(Errc::not_found);
  node->role = command.role;
  changes.emplace_back(NodeChanged{*node});
  return raw(node->id);
}

Outcome Roster::set(const SetDrained& command, std::vector<Change>& changes) {
  Node* node = known(command.node);
  if (node == nullptr) return refuse(Errc::not_found);
  node->is_drained = command.is_drained;
  changes.emplace_back(NodeChanged{*node});
  return raw(node->id);
}

Outcome Roster::set(const SetLabels& command, std::vector<Change>& changes) {
  if (!are_labels(command.labels)) return refuse(Errc::invalid_argument);
  Node* node = known(command.node);
  if (node == nullptr) return refuse(Errc::not_found);
  node->labels = command.labels;
  changes.emplace_back(NodeChanged{*node});
  return raw(node->id);
}

Outcome Roster::propose_view(const ProposeView& command, std::vector<Change>& changes) {
  if (command.members.size() > nodes_max || !is_ascending(command.members)) {
    return refuse(Errc::invalid_argument);
  }
  if (command.based_on != view_.number) return refuse(Errc::conflict, view_.number);
  for (const NodeId member : command.members) {
    const Node* node = find(member);
    if (node == nullptr) return refuse(Errc::not_found, raw(member));
    if (node->is_lost) return refuse(Errc::not_permitted, raw(member));
  }
  view_ = View{view_.number + 1, command.members};
  changes.emplace_back(ViewChanged{view_});
  return view_.number;
}

Outcome Roster::declare_lost(const DeclareLost& command, std::vector<Change>& changes) {
  Node* node = known(command.node);
  if (node == nullptr) return refuse(Errc::not_found);
  if (node->boot != command.boot) return refuse(Errc::conflict, raw(node->boot));
  if (view_.contains(command.node)) return refuse(Errc::not_permitted, view_.number);
  if (!node->is_lost) {
    node->is_lost = true;
    changes.emplace_back(NodeLost{node->id, node->boot});
  }
  return raw(node->id);
}

std::vector<Node> Roster::image() const {
  std::vector<Node> image;
  image.reserve(nodes_.size());
  for (const auto& [id, node] : nodes_) image.push_back(node);
  return image;
}

Result<void> Roster::restore(std::uint32_t next_number, const std::vector<NodeId>& skipped,
                             const std::vector<Node>& nodes, const View& view) {
  if (next_number == 0 || next_number > node_number_max + 1 || nodes.size() > nodes_max) {
    return fail(Errc::protocol_violation, "the numbers of nodes are not sound");
  }
  next_number_ = next_number;
  skipped_ = {skipped.begin(), skipped.end()};
  const auto is_below = [&](NodeId id) { return id != no_node && raw(id) < next_number; };
  if (!is_ascending(skipped) || !std::ranges::all_of(skipped, is_below)) {
    return fail(Errc::protocol_violation, "the numbers not used are not sound");
  }
  std::vector<std::string_view> names;
  for (const Node& node : nodes) {
    const bool is_next = nodes_.empty() || nodes_.rbegin()->first < node.id;
    const bool is_used = is_below(node.id) && !skipped_.contains(node.id);
    if (!is_next || !is_used || !is_sound(node)) {
      return fail(Errc::protocol_violation, "a node is not sound");
    }
    nodes_.emplace_hint(nodes_.end(), node.id, node);
    names.push_back(node.name);
  }
  std::ranges::sort(names);
  if (std::ranges::adjacent_find(names) != names.end()) {
    return fail(Errc::protocol_violation, "two nodes of one name");
  }
  const auto may_be_member = [&](NodeId member) {
    const Node* node = find(member);
    return node != nullptr && !node->is_lost;
  };
  const bool is_view = is_ascending(view.members) && view.number < count_max &&
                       (view.number > 0 || view.members.empty()) &&
                       std::ranges::all_of(view.members, may_be_member);
  if (!is_view) return fail(Errc::protocol_violation, "the view is not sound");
  view_ = view;
  return {};
}

}  // namespace dvs::cluster

// The authority's half of the directory: all that came from the agents, and the answers.
#include <algorithm>
#include <utility>

#include "dvk/node/directory.hpp"

namespace dvk::node {
namespace {

constexpr std::size_t early_reports_max = 4096;  // of a node: a million entries

}  // namespace

void Directory::on_register(NodeId from, const wire::Register& message) {
  wire::Registered answer{.request = message.request, .error = Errc::not_ready};
  if (is_ready(message.view)) {
    answer.error = enter(from, message.entry, answer.id);
  } else if (is_authority() && message.view == view_.number && !message.entry.is_backup) {
    await(from, message.entry);
  }
  send(from, answer);
  if (answer.error == Errc{} && message.entry.is_backup) {
    promote_backup({message.entry.address.container, message.entry.name});
  }
}

void Directory::await(NodeId from, const wire::DirectoryEntry& entry) {
  const auto known = awaiting_.find(entry.address);
  if (known != awaiting_.end() && known->second.entry.moves > entry.moves) return;
  awaiting_[entry.address] = {entry, from};
}

// Takes an entry up. `id`: what the endpoint's id shall be.
Errc Directory::enter(NodeId from, const wire::DirectoryEntry& entry, EndpointId& id) {
  const Name name{entry.address.container, entry.name};
  Address address = entry.address;
  id = address.id;
  if (!entry.name.empty() && !entry.is_backup) {
    const auto holder = holders_.find(name);
    if (holder != holders_.end() && holder->second.incarnation != address.incarnation) {
      return Errc::name_in_use;
    }
    if (const EndpointId* past = past_ids_.recall(name)) address.id = id = *past;
    past_ids_.remember(name, address.id);
    holders_[name] = address;
    promoting_.erase(name);
  }
  if (entry.is_backup) {
    auto& backups = backups_[name];
    if (std::ranges::find(backups, address) == backups.end()) backups.push_back(address);
  }
  Entry& slot = entries_[address];
  if (slot.node != from && slot.entry.moves > entry.moves) return Errc{};  // it has moved on
  slot.entry = entry;
  slot.entry.address = address;
  slot.node = from;
  return Errc{};
}

// Or is not waited for any longer.
void Directory::has_reported(NodeId node) {
  if (unreported_.erase(node) != 0 && unreported_.empty()) become_ready();
}

// All reports are there. One that moved meanwhile is in neither's, but has been announced.
void Directory::become_ready() {
  for (const auto& [address, entry] : std::exchange(awaiting_, {})) {
    EndpointId id{};
    (void)enter(entry.node, entry.entry, id);
  }
  promote_orphans();
}

// Of what waits for the other reports, or for the view.
void Directory::strike(NodeId from, const wire::Unregister& message) {
  const auto is_it = [&](const wire::DirectoryEntry& entry) {
    return entry.address.incarnation == message.address.incarnation && entry.moves <= message.moves;
  };
  std::erase_if(awaiting_, [&](const auto& item) {
    return is_it(item.second.entry) && item.second.node == from;
  });
  const auto early = early_reports_.find(from);
  if (early == early_reports_.end()) return;
  for (wire::Report& report : early->second) std::erase_if(report.entries, is_it);
}

void Directory::on_unregister(NodeId from, const wire::Unregister& message) {
  strike(from, message);
  auto found = entries_.find(message.address);
  if (found == entries_.end()) {
    // Who gave a registration up has not learned the id that the name has always had.
    found = std::ranges::find_if(entries_, [&](const auto& item) {
      return item.first.container == message.address.container &&
             item.first.incarnation == message.address.incarnation;
    });
  }
  // It may have moved: only the node it lives on may take it out.
  if (found == entries_.end() || found->second.node != from) return;
  if (found->second.entry.moves > message.moves) return;
  const Address address = found->first;
  remove(address);
}

void Directory::remove(const Address& address) {
  const auto found = entries_.find(address);
  if (found == entries_.end()) return;
  const wire::DirectoryEntry entry = found->second.entry;
  entries_.erase(found);
  if (entry.name.empty()) return;
  const Name name{address.container, entry.name};
  if (entry.is_backup) {
    std::erase(backups_[name], address);
    const auto promoting = promoting_.find(name);
    if (promoting == promoting_.end() || promoting->second != address) return;
    promoting_.erase(promoting);
  } else {
    const auto holder = holders_.find(name);
    if (holder == holders_.end() || holder->second != address) return;
    holders_.erase(holder);
  }
  promote_backup(name);
}

void Directory::remove_node(NodeId node) {
  std::erase_if(awaiting_, [&](const auto& item) { return item.second.node == node; });
  std::vector<Address> gone;
  for (auto& [address, entry] : entries_) {
    if (entry.node == node) gone.push_back(address);
  }
  // Backups first, so that none of them is promoted for a primary that goes with them.
  std::ranges::stable_sort(
      gone, {}, [&](const Address& address) { return !entries_[address].entry.is_backup; });
  std::ranges::for_each(gone, [&](const Address& address) { remove(address); });
}

std::set<NodeId> Directory::awaited_members() const {
  std::set<NodeId> awaited;
  for (const NodeId node : view_.members) {
    if (!view_.is_static || !down_.contains(node)) awaited.insert(node);
  }
  return awaited;
}

// Its daemon is another now, or none. What had moved away just before may have its registration
// still under way: nothing is called dead before all others have been heard.
void Directory::replace_node(NodeId node, bool is_lost) {
  if (!view_.contains(node)) return remove_node(node);
  unreported_ = awaited_members();
  if (is_lost) unreported_.erase(node);
  remove_node(node);
  query_reports();
}

void Directory::query_reports() {
  for (const NodeId member : std::set<NodeId>(unreported_)) {
    send(member, wire::ReportQuery{view_.number});
  }
}

void Directory::on_report_query(NodeId from, const wire::ReportQuery& message, TimePoint now) {
  if (from != view_.directory_authority() || message.view != view_.number) return;
  send_report();
  ask_anew(now);
}

void Directory::promote_backup(const Name& name) {
  if (!unreported_.empty() || holders_.contains(name) || promoting_.contains(name)) return;
  const auto backups = backups_.find(name);
  if (backups == backups_.end() || backups->second.empty()) return;
  const Address backup = backups->second.front();
  promoting_[name] = backup;
  const EndpointId* past = past_ids_.recall(name);
  send(entries_[backup].node,
       wire::Promote{backup, past != nullptr ? *past : backup.id, name.second});
}

void Directory::promote_orphans() {
  std::vector<Name> names;
  for (auto& [name, backups] : backups_) names.push_back(name);
  std::ranges::for_each(names, [&](const Name& name) { promote_backup(name); });
}

void Directory::on_lookup(NodeId from, const wire::Lookup& message) {
  wire::LookupResult answer{.request = message.request, .error = Errc::not_ready};
  if (is_ready(message.view)) {
    const auto holder = holders_.find({message.container, message.name});
    answer.error = holder == holders_.end() ? Errc::unknown_endpoint : Errc{};
    if (holder != holders_.end()) {
      answer.address = holder->second;
      answer.node = entries_[holder->second].node;
    }
  }
  send(from, answer);
}

void Directory::on_locate(NodeId from, const wire::Locate& message) {
  wire::LookupResult answer{.request = message.request, .error = Errc::not_ready};
  if (is_ready(message.view)) {
    const auto found = entries_.find(message.address);
    answer.error = found == entries_.end() ? Errc::unknown_endpoint : Errc{};
    answer.address = message.address;
    if (found != entries_.end()) answer.node = found->second.node;
  }
  send(from, answer);
}

void Directory::keep_early(NodeId from, const wire::Report& report) {
  auto& early = early_reports_[from];
  if (report.is_first) early.clear();
  if (early.size() < early_reports_max) early.push_back(report);
}

// Of the view that was just installed; those of later ones are kept on.
void Directory::take_early_reports() {
  auto early = std::exchange(early_reports_, {});
  for (auto& [node, reports] : early) {
    if (reports.empty() || reports.front().view < view_.number) continue;
    if (reports.front().view > view_.number) {
      early_reports_[node] = std::move(reports);
    } else {
      for (const wire::Report& report : reports) on_report(node, report);
    }
  }
}

void Directory::on_report(NodeId from, const wire::Report& message) {
  if (message.view > view_.number) return keep_early(from, message);
  if (!is_authority() || message.view != view_.number) return;  // it will report again in this view
  if (message.is_first) {
    // Without promotions meanwhile: what is still there comes right back.
    std::vector<Address> old;
    for (auto& [address, entry] : entries_) {
      if (entry.node == from) old.push_back(address);
    }
    const bool was_reported = !unreported_.contains(from);
    unreported_.insert(from);
    std::ranges::for_each(old, [&](const Address& address) { remove(address); });
    if (was_reported && !view_.contains(from)) unreported_.erase(from);
  }
  for (const wire::DirectoryEntry& entry : message.entries) {
    EndpointId id{};
    (void)enter(from, entry, id);
  }
  if (message.is_last) has_reported(from);
}

void Directory::on_promote(const wire::Promote& message) {
  upper_.promote(message.backup, message.id, message.name);
}

}  // namespace dvk::node

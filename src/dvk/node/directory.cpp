#include "dvk/node/directory.hpp"

#include <algorithm>
#include <utility>

namespace dvk::node {
namespace {

constexpr std::size_t entries_per_report = 256;
constexpr std::size_t early_reports_max = 4096;  // of a node: a million entries

}  // namespace

Directory::Directory(NodeId self, Output& output, DirectoryUpper& upper, LocalTable& locals)
    : self_(self), output_(output), upper_(upper), locals_(locals) {}

// Messages to this very node take the short way; the receiving functions are the same.
void Directory::send(NodeId node, const wire::NodeMessage& message) {
  if (node != self_) return output_.to_node(node, message);
  std::visit(
      [&](const auto& body) {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, wire::Register>) on_register(self_, body);
        if constexpr (std::is_same_v<Body, wire::Unregister>) on_unregister(self_, body);
        if constexpr (std::is_same_v<Body, wire::Lookup>) on_lookup(self_, body);
        if constexpr (std::is_same_v<Body, wire::Locate>) on_locate(self_, body);
        if constexpr (std::is_same_v<Body, wire::Report>) on_report(self_, body);
        if constexpr (std::is_same_v<Body, wire::Promote>) on_promote(body);
        if constexpr (std::is_same_v<Body, wire::Registered>) on_registered(body, now_);
        if constexpr (std::is_same_v<Body, wire::LookupResult>) on_lookup_result(body, now_);
      },
      message);
}

// --- Agent ---------------------------------------------------------------------------------------

void Directory::register_endpoint(std::uint64_t ticket, const wire::DirectoryEntry& entry,
                                  Purpose purpose, TimePoint now) {
  if (purpose == Purpose::move) kept_.erase(entry.address);  // it is back
  const TimePoint give_up_at = purpose == Purpose::opening ? now + request_timeout : dvs::never;
  ask({.ticket = ticket,
       .message = wire::Register{.entry = entry},
       .give_up_at = give_up_at,
       .is_move = purpose == Purpose::move},
      now);
}

void Directory::lookup(std::uint64_t ticket, ContainerId container, const std::string& name,
                       TimePoint now) {
  ask({ticket, wire::Lookup{.container = container, .name = name}, now + request_timeout}, now);
}

void Directory::locate(std::uint64_t ticket, const Address& address, TimePoint now) {
  ask({ticket, wire::Locate{.address = address}, now + request_timeout}, now);
}

void Directory::unregister(const Address& address, std::uint64_t moves) {
  const auto is_of_it = [&](const Pending& pending) {
    const auto* registration = std::get_if<wire::Register>(&pending.message);
    return registration != nullptr &&
           registration->entry.address.incarnation == address.incarnation &&
           registration->entry.moves <= moves;
  };
  // The entry of one that has moved is still under its old node, and only in the name of the new
  // one can it be taken out.
  for (auto& [request, pending] : pending_) {
    if (pending.is_move && is_of_it(pending)) pending.is_undone = true;
  }
  std::erase_if(pending_,
                [&](const auto& item) { return !item.second.is_undone && is_of_it(item.second); });
  if (view_.directory_authority() == dvs::no_node) return;
  send(view_.directory_authority(), wire::Unregister{address, moves});
}

void Directory::keep(const wire::DirectoryEntry& entry) {
  kept_[entry.address] = entry;
}

void Directory::release(const Address& address) {
  const auto found = kept_.find(address);
  if (found == kept_.end()) return;
  const std::uint64_t moves = found->second.moves;
  kept_.erase(found);
  unregister(address, moves);
}

void Directory::forget(std::uint64_t ticket) {
  std::erase_if(pending_, [&](const auto& item) { return item.second.ticket == ticket; });
}

void Directory::ask(Pending question, TimePoint now) {
  now_ = now;
  question.send_at = now;
  const std::uint64_t request = next_request_++;
  transmit(request, pending_.emplace(request, std::move(question)).first->second, now);
}

// A report replaces all that the authority knew of this node, and another authority may know less:
// what was answered before counts no more.
void Directory::ask_anew(TimePoint now) {
  auto pending = std::exchange(pending_, {});
  for (auto& [request, question] : pending) {
    question.send_at = now;
    pending_.emplace(next_request_++, std::move(question));
  }
}

// Beware: for the own node's authority the answer comes, and `pending` goes, inside this call.
void Directory::transmit(std::uint64_t request, Pending& pending, TimePoint now) {
  pending.send_at = now + repeat_after;
  const NodeId authority = view_.directory_authority();
  if (authority == dvs::no_node) {
    pending.send_at = now + retry_after;
    return;
  }
  pending.is_repeated = std::exchange(pending.is_sent, true);
  wire::NodeMessage message = pending.message;
  std::visit(
      [&](auto& body) {
        if constexpr (requires {
                        body.view;
                        body.request;
                      }) {
          body.view = view_.number;
          body.request = request;
        }
      },
      message);
  send(authority, message);
}

void Directory::fail(const Pending& pending, Errc error) {
  if (const auto* registration = std::get_if<wire::Register>(&pending.message)) {
    // The request may still arrive, but the name is not wanted any more.
    unregister(registration->entry.address, registration->entry.moves);
    upper_.registered(pending.ticket, error, {});
  } else {
    upper_.found(pending.ticket, error, {}, {});
  }
}

void Directory::on_registered(const wire::Registered& message, TimePoint now) {
  const auto found = pending_.find(message.request);
  if (found == pending_.end()) return;
  if (message.error == Errc::not_ready) {
    found->second.send_at = std::min(found->second.send_at, now + retry_after);
    return;
  }
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  // A request that was repeated may still arrive and take what has become free meanwhile.
  const bool is_refused = message.error != Errc{} && !pending.is_move && pending.is_repeated;
  if (is_refused || (pending.is_undone && message.error == Errc{})) {
    const wire::DirectoryEntry& entry = std::get<wire::Register>(pending.message).entry;
    unregister(entry.address, entry.moves);
  }
  upper_.registered(pending.ticket, message.error, message.id);
}

void Directory::on_lookup_result(const wire::LookupResult& message, TimePoint now) {
  const auto found = pending_.find(message.request);
  if (found == pending_.end()) return;
  if (message.error == Errc::not_ready) {
    found->second.send_at = std::min(found->second.send_at, now + retry_after);
    return;
  }
  const std::uint64_t ticket = found->second.ticket;
  pending_.erase(found);
  upper_.found(ticket, message.error, message.address, message.node);
}

// Everything this node answers for that the directory should know.
std::vector<wire::DirectoryEntry> Directory::own_entries() {
  std::vector<wire::DirectoryEntry> entries;
  for (auto& [handle, local] : locals_.all()) {
    if (!local.is_in_directory) continue;
    if (local.state != LocalState::active && local.state != LocalState::frozen) continue;
    entries.push_back(local.directory_entry());
  }
  for (const auto& [address, entry] : kept_) entries.push_back(entry);
  return entries;
}

void Directory::send_report() {
  const NodeId authority = view_.directory_authority();
  if (authority == dvs::no_node) return;
  wire::Report report{.view = view_.number, .is_first = true};
  for (const wire::DirectoryEntry& entry : own_entries()) {
    report.entries.push_back(entry);
    if (report.entries.size() == entries_per_report) {
      send(authority, report);
      report.entries.clear();
      report.is_first = false;
    }
  }
  report.is_last = true;
  send(authority, report);
}

void Directory::install_view(const View& view, TimePoint now) {
  now_ = now;
  view_ = view;
  unreported_.clear();
  awaiting_.clear();
  if (is_authority()) {
    std::ranges::copy_if(view.members, std::inserter(unreported_, unreported_.end()),
                         [&](NodeId node) { return !view.is_static || !down_.contains(node); });
    std::set<NodeId> gone;
    for (auto& [address, entry] : entries_) {
      if (!view.contains(entry.node)) gone.insert(entry.node);
    }
    std::ranges::for_each(gone, [&](NodeId node) { remove_node(node); });
  } else {
    entries_.clear();
    holders_.clear();
    backups_.clear();
    promoting_.clear();
  }
  take_early_reports();
  send_report();
  ask_anew(now);
}

void Directory::on_link_up(NodeId node, bool has_restarted, TimePoint now) {
  down_.erase(node);
  if (is_authority() && has_restarted) remove_node(node);
  if (node == view_.directory_authority()) {
    send_report();  // it may be new, or may have missed what was sent before
    ask_anew(now);
  }
}

void Directory::on_link_down(NodeId node) {
  down_.insert(node);
  // Otherwise it may hold any name, until it reports or is taken out of the view.
  if (view_.is_static) has_reported(node);
}

void Directory::on_node_lost(NodeId node) {
  if (is_authority()) remove_node(node);
  has_reported(node);
}

void Directory::on_tick(TimePoint now) {
  now_ = now;
  std::vector<std::uint64_t> due;
  for (auto& [request, pending] : pending_) {
    if (pending.give_up_at <= now || pending.send_at <= now) due.push_back(request);
  }
  for (const std::uint64_t request : due) {
    const auto found = pending_.find(request);
    if (found == pending_.end()) continue;
    if (found->second.give_up_at > now) {
      transmit(request, found->second, now);
      continue;
    }
    const Pending pending = std::move(found->second);
    pending_.erase(found);
    fail(pending, Errc::unreachable);
  }
}

TimePoint Directory::next_deadline() const {
  TimePoint deadline = dvs::never;
  for (const auto& [request, pending] : pending_) {
    deadline = std::min({deadline, pending.give_up_at, pending.send_at});
  }
  return deadline;
}

// --- Authority -----------------------------------------------------------------------------------

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

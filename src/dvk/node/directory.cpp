#include "dvk/node/directory.hpp"

#include <algorithm>
#include <utility>

namespace dvk::node {
namespace {

constexpr std::size_t entries_per_report = 256;

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
        if constexpr (std::is_same_v<Body, wire::ReportQuery>) on_report_query(self_, body, now_);
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
  ++pending.times_sent;
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
  const bool is_refused = message.error != Errc{} && !pending.is_move && pending.times_sent > 1;
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
    unreported_ = awaited_members();
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
  now_ = now;
  if (is_authority() && has_restarted) replace_node(node, false);
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
  if (is_authority()) replace_node(node, true);
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

}  // namespace dvk::node

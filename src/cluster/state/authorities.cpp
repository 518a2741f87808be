#include "cluster/state/authorities.hpp"

#include <algorithm>

#include "cluster/state/path_name.hpp"

namespace dvs::cluster {

const Authority* Authorities::find(std::string_view name) const {
  const auto found = authorities_.find(name);
  return found == authorities_.end() ? nullptr : &found->second;
}

std::vector<Authority> Authorities::range(std::string_view prefix) const {
  std::vector<Authority> found;
  for (auto next = authorities_.lower_bound(prefix);
       next != authorities_.end() && next->first.starts_with(prefix); ++next) {
    found.push_back(next->second);
  }
  return found;
}

Outcome Authorities::claim(const Claim& command, const View& view, std::vector<Change>& changes) {
  if (!is_path_name(command.name)) return refuse(Errc::invalid_argument);
  if (!view.contains(command.node)) return refuse(Errc::not_permitted, view.number);
  auto found = authorities_.find(command.name);
  if (found == authorities_.end()) {
    if (command.expected_epoch != 0) return refuse(Errc::conflict, 0);
    if (authorities_.size() >= authorities_max_) return refuse(Errc::limit_reached);
    Authority fresh{command.name, no_node, forgotten_epoch_};
    found = authorities_.emplace(command.name, fresh).first;
  } else {
    const Authority& present = found->second;
    const bool is_held_by_other = present.holder != no_node && present.holder != command.node;
    if (command.expected_epoch != present.epoch || is_held_by_other) {
      return refuse(Errc::conflict, present.epoch);
    }
  }
  Authority& authority = found->second;
  authority.holder = command.node;
  ++authority.epoch;
  changes.emplace_back(AuthorityChanged{authority});
  return authority.epoch;
}

Outcome Authorities::release(const Release& command, std::vector<Change>& changes) {
  const auto found = authorities_.find(command.name);
  if (found == authorities_.end()) return refuse(Errc::not_found);
  Authority& authority = found->second;
  if (command.node == no_node || authority.holder != command.node ||
      authority.epoch != command.epoch) {
    return refuse(Errc::conflict, authority.epoch);
  }
  authority.holder = no_node;
  changes.emplace_back(AuthorityChanged{authority});
  return authority.epoch;
}

Outcome Authorities::hand_over(const HandOver& command, const View& view,
                               std::vector<Change>& changes) {
  const auto found = authorities_.find(command.name);
  if (found == authorities_.end()) return refuse(Errc::not_found);
  Authority& authority = found->second;
  if (command.from == no_node || authority.holder != command.from ||
      authority.epoch != command.epoch) {
    return refuse(Errc::conflict, authority.epoch);
  }
  if (!view.contains(command.to)) return refuse(Errc::not_permitted, view.number);
  authority.holder = command.to;
  ++authority.epoch;
  changes.emplace_back(AuthorityChanged{authority});
  return authority.epoch;
}

Outcome Authorities::forget(const Forget& command, std::vector<Change>& changes) {
  const auto found = authorities_.find(command.name);
  if (found == authorities_.end()) return refuse(Errc::not_found);
  const Authority& authority = found->second;
  if (authority.holder != no_node || authority.epoch != command.epoch) {
    return refuse(Errc::conflict, authority.epoch);
  }
  const std::uint64_t epoch = authority.epoch;
  forgotten_epoch_ = std::max(forgotten_epoch_, epoch);
  authorities_.erase(found);
  changes.emplace_back(AuthorityForgotten{command.name});
  return epoch;
}

void Authorities::free_those_out_of(const View& view, std::vector<Change>& changes) {
  for (auto& [name, authority] : authorities_) {
    if (authority.holder == no_node || view.contains(authority.holder)) continue;
    authority.holder = no_node;
    changes.emplace_back(AuthorityChanged{authority});
  }
}

Result<void> Authorities::restore(std::uint64_t forgotten_epoch,
                                  const std::vector<Authority>& image, const View& view) {
  if (image.size() > authorities_max_ || forgotten_epoch >= count_max) {
    return fail(Errc::protocol_violation, "the table of authorities is not sound");
  }
  forgotten_epoch_ = forgotten_epoch;
  for (const Authority& authority : image) {
    const bool is_next = authorities_.empty() || authorities_.rbegin()->first < authority.name;
    const bool may_hold = authority.holder == no_node || view.contains(authority.holder);
    if (!is_next || !may_hold || !is_path_name(authority.name) || authority.epoch == 0 ||
        authority.epoch >= count_max) {
      return fail(Errc::protocol_violation, "an authority is not sound");
    }
    authorities_.emplace_hint(authorities_.end(), authority.name, authority);
  }
  return {};
}

}  // namespace dvs::cluster

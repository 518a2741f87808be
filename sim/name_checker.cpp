#include "sim/name_checker.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace sim {

void NameChecker::requested(const Name& name, std::uint64_t attempt) {
  records_[name].claims.push_back({.attempt = attempt, .requested = scheduler_.now()});
}

void NameChecker::withdrawn(const Name& name, std::uint64_t attempt) {
  for (Claim& claim : records_[name].claims) {
    if (claim.attempt == attempt && claim.withdrawn == end_of_time) {
      claim.withdrawn = scheduler_.now();
    }
  }
}

void NameChecker::granted(const Name& name, std::uint64_t attempt, const Address& address) {
  Record& record = records_[name];
  for (Claim& claim : record.claims) {
    if (claim.attempt != attempt) continue;
    claim.granted = scheduler_.now();
    claim.address = address;
  }
  check_single(name, record, address);
}

void NameChecker::backup_ready(const Name& name, std::uint64_t attempt, const Address& backup) {
  records_[name].backups.push_back(backup);
  // It may be promoted and die before anybody hears of it.
  requested(name, attempt);
}

void NameChecker::goes_on(const Name& name, const Address& address) {
  check_single(name, records_[name], address);
}

void NameChecker::promoted(const Name& name, const Address& backup, const Address& address) {
  Record& record = records_[name];
  std::erase(record.backups, backup);
  // The directory may have known it before the backup itself.
  record.claims.push_back(
      {.requested = Instant{}, .granted = scheduler_.now(), .address = address});
  check_single(name, record, address);
}

void NameChecker::check_single(const Name& name, const Record& record, const Address& newest) {
  for (const Claim& claim : record.claims) {
    if (!claim.address || claim.address == newest || !lives_.surely_lives(claim.address)) continue;
    judge_.fail("names", fmt::format("two live endpoints hold the name \"{}\"", name.second),
                {claim.address, newest});
  }
}

void NameChecker::looked_up(Lookup lookup) {
  lookups_.push_back(std::move(lookup));
}

const NameChecker::Name* NameChecker::find_orphan() const {
  for (const auto& [name, record] : records_) {
    const bool has_holder = std::ranges::any_of(
        record.claims, [&](const Claim& claim) { return lives_.is_alive(claim.address); });
    const bool has_backup = std::ranges::any_of(
        record.backups, [&](const Address& backup) { return lives_.is_alive(backup); });
    // A backup of a name that nobody ever held has nobody to stand in for.
    const bool was_held = std::ranges::any_of(
        record.claims, [](const Claim& claim) { return claim.granted != end_of_time; });
    if (!has_holder && has_backup && was_held) return &name;
  }
  return nullptr;
}

std::vector<Address> NameChecker::concerned(const Name& name) const {
  const Record& record = records_.at(name);
  std::vector<Address> found;
  std::ranges::copy_if(record.backups, std::back_inserter(found),
                       [&](const Address& backup) { return lives_.is_alive(backup); });
  for (auto claim = record.claims.rbegin(); claim != record.claims.rend(); ++claim) {
    if (claim->granted == end_of_time) continue;
    found.push_back(claim->address);
    break;
  }
  return found;
}

// Whether the address found was one that held the name, or may have, at some time of the lookup.
bool NameChecker::may_answer(const Lookup& lookup, const Record& record) const {
  return std::ranges::any_of(record.claims, [&](const Claim& claim) {
    // A process that died before it heard of its success may have held the name meanwhile.
    const bool is_unheard = claim.granted == end_of_time && lives_.find(lookup.found) == nullptr;
    const bool is_it = claim.address == lookup.found || is_unheard;
    const Life* life = lives_.find(claim.address);
    const Instant ended = life != nullptr ? life->ended.value_or(end_of_time) : claim.withdrawn;
    const bool was_there = ended == end_of_time || ended + grace_ >= lookup.began;
    return is_it && claim.requested <= lookup.ended && was_there;
  });
}

// Whether somebody held the name all the time.
bool NameChecker::must_find(const Lookup& lookup, const Record& record) const {
  return std::ranges::any_of(record.claims, [&](const Claim& claim) {
    const Life* life = lives_.find(claim.address);
    return life != nullptr && claim.granted <= lookup.began &&
           (!life->doubted || *life->doubted > lookup.ended);
  });
}

void NameChecker::check_at_end() {
  for (const Lookup& lookup : lookups_) {
    const Record& record = records_[lookup.name];
    const std::string& name = lookup.name.second;
    if (lookup.error == dvs::Errc{} && !may_answer(lookup, record)) {
      judge_.fail("names", fmt::format("the lookup of \"{}\" found one that did not hold it", name),
                  {lookup.asker, lookup.found});
    }
    if (lookup.error == dvs::Errc::unknown_endpoint && must_find(lookup, record)) {
      judge_.fail("names", fmt::format("the lookup of \"{}\" missed its holder", name),
                  {lookup.asker});
    }
  }
}

}  // namespace sim

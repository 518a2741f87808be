#include "cluster/state/event_history.hpp"

#include <algorithm>
#include <utility>

namespace dvs::cluster {
namespace {

// About what an event takes in memory; only settings and views are ever large.
std::size_t bytes_of(const Change& change) {
  std::size_t bytes = sizeof(Event) + 64;
  if (const auto* put = std::get_if<SettingPut>(&change)) bytes += put->value.size();
  if (const auto* view = std::get_if<ViewChanged>(&change)) {
    bytes += view->view.members.size() * sizeof(NodeId);
  }
  return bytes;
}

}  // namespace

void EventHistory::add(std::uint64_t index, Change change) {
  std::string subject = subject_of(change);
  const std::size_t bytes = bytes_of(change) + subject.size();
  bytes_ += bytes;
  kept_.push_back({{index, std::move(change)}, std::move(subject), bytes});
}

void EventHistory::trim(std::uint64_t applied) {
  applied_ = applied;
  while (kept_.size() > events_max_ || bytes_ > bytes_max_) {
    const std::uint64_t oldest = kept_.front().event.index;
    if (oldest == kept_.back().event.index) return;
    while (kept_.front().event.index == oldest) {
      bytes_ -= kept_.front().bytes;
      kept_.pop_front();
    }
    compacted_through_ = oldest;
  }
}

Result<EventPage> EventHistory::after(std::uint64_t index, std::string_view prefix,
                                      std::size_t events_max) const {
  if (index < compacted_through_) {
    return fail(Errc::compacted,
                "events are kept from index " + std::to_string(compacted_through_ + 1) + " on");
  }
  EventPage page{{}, std::max(index, applied_)};
  auto next =
      std::ranges::upper_bound(kept_, index, {}, [](const Kept& kept) { return kept.event.index; });
  for (; next != kept_.end(); ++next) {
    const bool is_full = page.events.size() >= std::max<std::size_t>(events_max, 1);
    if (is_full && next->event.index != page.events.back().index) {
      page.through = page.events.back().index;
      break;
    }
    if (next->subject.starts_with(prefix)) page.events.push_back(next->event);
  }
  return page;
}

}  // namespace dvs::cluster

#include "sim/application.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace sim {

using dvk::core::EndpointCore;
using dvk::core::Incoming;
using dvs::Errc;
using std::chrono::microseconds;
using std::chrono::milliseconds;

Application::Application(Context& context, Population& population)
    : context_(context),
      population_(population),
      operate_alarm_(context.scheduler, [this] { operate(); }),
      receive_alarm_(context.scheduler, [this] { receive(); }),
      timer_alarm_(context.scheduler, [this] { run(); }) {
  const Traffic& traffic = context.scenario.traffic;
  const bool is_slow = random().permille(traffic.slow_permille);
  habits_.think = is_slow ? random().between(milliseconds(5), milliseconds(60)) : microseconds(20);
  habits_.batch = is_slow ? 2 : 16;
  habits_.has_filters = random().permille(traffic.filter_permille);
  habits_.reply_delay = random().one_in(3) ? random().about(milliseconds(5)) : Duration::zero();
  habits_.favourites = random().between(1, 3);
  if (context.scenario.memory_bytes != 0) {
    memory_.emplace(context.scenario.memory_bytes, random().one_in(2) ? 2 : 8, random());
  }
}

// --- Its process ---

void Application::begin(Process& process) {
  mailbox_life_ = address_ = process.library().address();
  go_on(process);
}

void Application::go_on(Process& process) {
  process_ = last_process_ = &process;
  move_target_.reset();
  if (memory_) {
    const auto others = population_.alive(address_.container);
    memory_->grant_all(random(),
                       others.empty() ? std::nullopt : std::optional(random().pick(others)));
  }
  refreshing_.clear();
  if (!context_.is_healed) {
    operate_alarm_.set(context_.now() +
                       random().about(context_.scenario.traffic.operation_interval));
  }
  on_mail();
  plan_timers();
}

void Application::stop(const Process& process) {
  if (process_ != &process) return;
  process_ = nullptr;
  operate_alarm_.clear();
  receive_alarm_.clear();
  timer_alarm_.clear();
  // Answers go to the process that asked.
  for (auto& [request, lookup] : lookups_) lookup.ended = context_.now();
  lookups_.clear();
}

void Application::begin_new_life(const Address&) {
  address_ = library().address();
  calls_.clear();
  watched_.clear();
  replies_.clear();
  for (auto& [group, member] : groups_) {
    member->stop();
    former_groups_.push_back(std::move(member));
  }
  groups_.clear();
  favourites_.clear();
}

void Application::want_move(NodeId target) {
  move_target_ = target;
  try_move();
}

void Application::cancel_move() {
  if (last_process_ != nullptr && !last_process_->is_dead()) last_process_->library().cancel_move();
}

void Application::try_move() {
  if (!is_running() || !move_target_ || library().has_copies()) return;
  if (!library().is_active()) return;
  context_.record({.what = Happening::move_begun, .from = address_, .a = dvs::raw(*move_target_)});
  if (memory_) memory_->revoke_all();
  operate_alarm_.clear();
  receive_alarm_.clear();
  timer_alarm_.clear();
  library().begin_move(*move_target_);
}

std::optional<Application::Pending> Application::pending() const {
  if (!is_running()) return std::nullopt;
  if (!library().is_active() || move_target_) return Pending{"a move has not ended"};
  if (!calls_.empty()) return Pending{"a call has not ended", calls_.begin()->second.to};
  if (!replies_.empty()) return Pending{"a reply is still to be given", replies_.front().from};
  if (!lookups_.empty()) return Pending{"a lookup has not ended"};
  if (library().has_copies()) return Pending{"a copy has not ended"};
  for (const auto& [group, member] : groups_) {
    if (member->has_unsent()) return Pending{"messages of a group wait for room"};
  }
  for (const Address& peer : watched_) {
    if (!context_.lives.is_alive(peer)) {
      return Pending{"a watched peer died and it was not told", peer};
    }
  }
  return std::nullopt;
}

void Application::check_at_end() {
  if (memory_) context_.copies.check_memory(address_, *memory_);
}

// --- Timers ---

void Application::on_mail() {
  if (is_running() && library().is_active()) receive_alarm_.set_by(context_.now() + habits_.think);
}

void Application::plan_timers() {
  Instant next = end_of_time;
  for (const auto& [call, open] : calls_) next = std::min(next, open.give_up_at);
  for (const DeferredReply& due : replies_) next = std::min(next, due.at);
  timer_alarm_.set(next);
}

void Application::run() {
  if (!is_running() || !library().is_active()) return;
  if (const Instant ready = process_->ready_at(); ready > context_.now()) {
    return timer_alarm_.set(ready);
  }
  context_.lives.acts(address_, process_);
  give_up_calls();
  reply_due();
  library().settle();
  plan_timers();
}

// --- Receiving ---

void Application::receive() {
  if (!is_running() || !library().is_active()) return;
  if (const Instant ready = process_->ready_at(); ready > context_.now()) {
    return receive_alarm_.set(ready);
  }
  context_.lives.acts(address_, process_);
  take_replies();
  unsigned taken = 0;
  while (taken < habits_.batch && take_one()) ++taken;
  for (auto& [group, member] : groups_) member->settle();
  refresh_memory();
  library().settle();
  plan_timers();
  if (taken == habits_.batch) receive_alarm_.set_by(context_.now() + habits_.think);
}

bool Application::take_one() {
  EndpointCore::Filter filter;
  if (habits_.has_filters && mailbox_life_ == address_ && random().one_in(2)) {
    filter.only_requests = random().one_in(2);
    if (!favourites_.empty() && random().one_in(2)) filter.from = random().pick(favourites_);
  }
  auto item = core().take(filter, library().now());
  if (!item) {
    filter = {};
    item = core().take(filter, library().now());
  }
  if (!item) return false;
  take(*item, filter);
  return true;
}

void Application::take(Incoming& item, const EndpointCore::Filter& filter) {
  if (item.kind != Incoming::Kind::promoted && item.kind != Incoming::Kind::peer_end) {
    check_permitted(item.from);
  }
  switch (item.kind) {
    case Incoming::Kind::message:
    case Incoming::Kind::request: return take_stamped(item, filter);
    case Incoming::Kind::notify:
      context_.record(
          {.what = Happening::received, .from = address_, .to = item.from, .a = 4, .b = item.bits});
      return context_.messages.notify_taken(item.from, mailbox_life_, item.bits);
    case Incoming::Kind::peer_end: return take_end(item);
    case Incoming::Kind::promoted: mailbox_life_ = address_; return;
  }
}

void Application::check_permitted(const Address& from) {
  if (context_.lives.find(from) == nullptr || from.container != address_.container) {
    context_.judge.fail("isolation", "a message came from outside the container", {from, address_});
  } else if (!context_.calls.is_permitted(from, address_)) {
    context_.judge.fail("privileges", "a message came from one that may not talk to it",
                        {from, address_});
  }
}

void Application::take_stamped(Incoming& item, const EndpointCore::Filter& filter) {
  if (const auto group = group_of(item.payload)) {
    if (mailbox_life_ != address_) return;
    join(*group);  // others may know of the group before it does
    return groups_[*group]->on_message(item.from, item.payload);
  }
  const auto stamp = read_payload(item.payload);
  if (!stamp) {
    return context_.judge.fail("content", "what was delivered is not what was sent",
                               {item.from, address_});
  }
  context_.record({.what = Happening::received,
                   .from = address_,
                   .to = item.from,
                   .a = static_cast<std::uint64_t>(stamp->kind),
                   .b = stamp->number,
                   .c = stamp->bytes});
  const Address self = mailbox_life_;
  context_.messages.taken(item.from, self, *stamp, filter);
  if (item.kind != Incoming::Kind::request) return;
  context_.calls.executed(item.from, item.call, self, *stamp);
  const DeferredReply due{context_.now() + habits_.reply_delay, item.from, self, item.call};
  if (habits_.reply_delay == Duration::zero()) return reply(due);
  replies_.push_back(due);
}

void Application::take_end(const Incoming& item) {
  context_.record({.what = Happening::told_end,
                   .from = address_,
                   .to = item.from,
                   .a = static_cast<std::uint64_t>(item.reason),
                   .b = item.lost});
  context_.messages.told(mailbox_life_, item.from, item.lost);
  if (mailbox_life_ != address_) return;
  watched_.erase(item.from);
  if (item.lost != 0) {
    for (auto& [group, member] : groups_) member->on_peer_broken(item.from);
  }
}

void Application::take_replies() {
  for (auto call = calls_.begin(); call != calls_.end();) {
    const auto result = core().take_reply(call->first);
    if (!result) {
      ++call;
      continue;
    }
    context_.record({.what = Happening::call_ended,
                     .from = address_,
                     .to = call->second.to,
                     .a = call->first,
                     .b = *result ? 0 : static_cast<std::uint64_t>(result->error().code)});
    context_.calls.ended(address_, call->first, *result);
    call = calls_.erase(call);
  }
}

void Application::give_up_calls() {
  take_replies();
  for (auto call = calls_.begin(); call != calls_.end();) {
    const OpenCall& open = call->second;
    if (open.give_up_at > context_.now()) {
      ++call;
      continue;
    }
    core().cancel_call(call->first, library().now());
    context_.record({.what = Happening::call_ended,
                     .from = address_,
                     .to = open.to,
                     .a = call->first,
                     .b = static_cast<std::uint64_t>(open.why)});
    context_.calls.abandoned(address_, call->first, open.why);
    context_.messages.cancelled(address_, open.to, open.number);
    call = calls_.erase(call);
  }
}

void Application::reply_due() {
  while (!replies_.empty() && replies_.front().at <= context_.now()) {
    const DeferredReply due = replies_.front();
    replies_.pop_front();
    reply(due);
  }
}

void Application::reply(const DeferredReply& due) {
  const auto bytes = static_cast<std::uint32_t>(choose_bytes());
  context_.calls.replied(due.from, due.call, due.server);
  const Stamp stamp{dvs::raw(due.server.incarnation), dvs::raw(due.from.incarnation), due.call,
                    StampKind::reply, bytes};
  const auto result = core().reply(due.from, due.call, make_payload(stamp), library().now());
  if (!result) {
    context_.judge.fail("calls", "a reply was refused: " + to_string(result.error()),
                        {address_, due.from});
  }
}

// --- Names, memory, groups ---

void Application::on_name(std::uint64_t request, Errc error, const Address& address) {
  const auto found = lookups_.find(request);
  if (found == lookups_.end()) return;
  NameChecker::Lookup lookup = found->second;
  lookups_.erase(found);
  context_.record({.what = Happening::looked_up,
                   .from = address_,
                   .to = address,
                   .a = request,
                   .b = static_cast<std::uint64_t>(error)});
  lookup.ended = context_.now();
  lookup.error = error;
  lookup.found = address;
  context_.names.looked_up(lookup);
  if (error == Errc{} && address != address_) favourites_.push_back(address);
}

// Makes slots usable again whose contents a failed copy left unknown.
void Application::refresh_memory() {
  if (!memory_) return;
  std::vector<std::size_t> slots;
  for (std::size_t i = 0; i < memory_->slots().size(); ++i) {
    Memory::Slot& slot = memory_->slots()[i];
    if (!slot.is_tainted || slot.is_target || slot.readers != 0 || slot.grant == 0) continue;
    memory_->revoke(slot);
    slots.push_back(i);
  }
  if (!slots.empty()) refreshing_[library().ask_barrier()] = std::move(slots);
}

void Application::on_barrier(std::uint64_t request) {
  const auto found = refreshing_.find(request);
  if (found == refreshing_.end() || !is_running()) return;
  for (const std::size_t index : found->second) {
    Memory::Slot& slot = memory_->slots()[index];
    if (!slot.is_target && slot.readers == 0) memory_->refill(slot, random().next());
  }
  refreshing_.erase(found);
  memory_->grant_all(random(), std::nullopt);
}

void Application::on_copy_end(std::uint64_t copy, Errc error) {
  context_.record({.what = Happening::copy_ended,
                   .from = address_,
                   .a = copy,
                   .b = static_cast<std::uint64_t>(error)});
  context_.copies.ended(address_, copy, error);
  try_move();
}

GroupMember* Application::member(std::uint64_t group) {
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : found->second.get();
}

void Application::join(std::uint64_t group) {
  if (groups_.contains(group)) return;
  const auto send = [this](const Address& to, dvs::Bytes payload) -> dvs::Result<void> {
    if (!is_running() || !library().is_active()) return dvs::fail(Errc::queue_full);
    return core().send(to, std::move(payload), library().now());
  };
  groups_[group] = std::make_unique<GroupMember>(context_, group, address_, send);
}

}  // namespace sim

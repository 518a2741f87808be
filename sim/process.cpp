#include "sim/process.hpp"

#include <algorithm>

#include "sim/application.hpp"

namespace sim {

using dvs::Errc;

Process::Process(Context& context, ProcessOwner& owner, Machine& machine, ProcessPlan plan)
    : context_(context),
      owner_(owner),
      machine_(machine),
      plan_(std::move(plan)),
      attempt_(context.random.next()),
      attachment_(machine.daemon->attach(*this, plan_.container, plan_.uid)),
      library_(context, attachment_, *this, machine.clock, plan_.hello) {
  context_.record({.what = Happening::process_started,
                   .node = dvs::raw(machine.id),
                   .from = plan_.hello.address,
                   .a = dvs::raw(attachment_.handle),
                   .b = static_cast<std::uint64_t>(plan_.hello.kind)});
  const bool claims_name = plan_.hello.kind == dvk::wire::HelloKind::open;
  if (claims_name && !plan_.hello.name.empty()) context_.names.requested(name(), attempt_);
}

void Process::kill() {
  if (is_dead_) return;
  is_dead_ = true;
  context_.record({.what = Happening::process_killed,
                   .node = dvs::raw(machine_.id),
                   .a = dvs::raw(attachment_.handle)});
  if (application_ != nullptr) application_->stop(*this);
  for (const Address& address : held_) {
    context_.lives.let_go(address, this);
    if (!context_.lives.is_alive(address)) {
      context_.record({.what = Happening::life_ended, .from = address});
      context_.calls.forget(address);
      context_.copies.forget(address);
    }
    owner_.on_move_ended(address);
  }
  context_.names.withdrawn(name(), attempt_);
  library_.stop();
}

void Process::pause(Duration how_long) {
  paused_until_ = std::max(paused_until_, context_.now() + how_long);
  context_.record({.what = Happening::process_paused,
                   .a = dvs::raw(attachment_.handle),
                   .b = static_cast<std::uint64_t>(how_long.count())});
}

Instant Process::ready_at() const {
  return is_dead_ ? end_of_time : std::max(machine_.ready_at(context_.now()), paused_until_);
}

Memory* Process::memory() {
  return application_ == nullptr ? nullptr : application_->memory();
}

// Even a process that has died meanwhile has lived: others may have learnt of it.
void Process::on_given(const Address& address) {
  if (is_adopter()) return;
  const bool is_first = held_.empty();
  const bool is_backup = is_first && plan_.hello.kind == dvk::wire::HelloKind::backup;
  context_.lives.begin(address, plan_.hello.name, plan_.uid, is_backup, this);
  context_.record({.what = Happening::life_began, .node = dvs::raw(machine_.id), .from = address});
  if (!plan_.hello.name.empty()) {
    if (is_backup) {
      context_.names.backup_ready(name(), attempt_, address);
    } else if (is_first) {
      context_.names.granted(name(), attempt_, address);
    } else {
      context_.names.promoted(name(), *held_.begin(), address);
    }
  }
  held_.insert(address);
  if (is_dead_) context_.lives.let_go(address, this);
}

// --- The library ---

void Process::on_welcome() {
  application_ = &owner_.create_application(*this);
  application_->begin(*this);
}

void Process::on_refused(Errc) {
  kill();
}

void Process::on_adopting() {
  context_.lives.hold(library_.address(), this);
  held_.insert(library_.address());
}

void Process::on_adopt_result(Errc error) {
  const Address& address = library_.address();
  if (error != Errc{}) return kill();
  context_.lives.activate(address, this);
  check_name(address);
  application_ = &owner_.application_of(address);
  owner_.on_move_ended(address);
  application_->go_on(*this);
}

void Process::on_frozen() {
  context_.lives.deactivate(library_.address(), this);
  application_->stop(*this);
}

void Process::on_move_result(Errc error) {
  const Address& address = library_.address();
  context_.record(
      {.what = Happening::move_ended, .from = address, .a = static_cast<std::uint64_t>(error)});
  if (error == Errc{}) {
    application_ = nullptr;  // it goes on elsewhere
    return kill();
  }
  context_.lives.activate(address, this);
  check_name(address);
  owner_.on_move_ended(address);
  application_->go_on(*this);
}

void Process::check_name(const Address& address) {
  const Life* life = context_.lives.find(address);
  if (!life->name.empty()) context_.names.goes_on({address.container, life->name}, address);
}

void Process::on_promoted(const Address& old) {
  context_.calls.forget(old);
  context_.copies.forget(old);
  context_.lives.let_go(old, this);
  held_.erase(old);
  application_->begin_new_life(old);
}

void Process::on_mail() {
  if (application_ != nullptr && !is_dead_) application_->on_mail();
}
void Process::on_name(std::uint64_t request, Errc error, const Address& address) {
  if (application_ != nullptr) application_->on_name(request, error, address);
}
void Process::on_barrier(std::uint64_t request) {
  if (application_ != nullptr) application_->on_barrier(request);
}
void Process::on_copy_end(std::uint64_t copy, Errc error) {
  if (application_ != nullptr) application_->on_copy_end(copy, error);
}

}  // namespace sim

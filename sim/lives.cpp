#include "sim/lives.hpp"

#include "base/assert.hpp"

namespace sim {

Life& Lives::at(const Address& address) {
  const auto found = lives_.find(address);
  DVS_ASSERT(found != lives_.end());
  return found->second;
}

const Life* Lives::find(const Address& address) const {
  const auto found = lives_.find(address);
  return found == lives_.end() ? nullptr : &found->second;
}

Life& Lives::begin(const Address& address, std::string name, std::uint32_t uid, bool is_backup,
                   const Process* holder) {
  const auto [slot, is_new] = lives_.try_emplace(address);
  Life& life = slot->second;
  if (!is_new) {
    judge_.fail("identity", "an address was given a second time: " + to_string(address), {address});
    return life;
  }
  order_.push_back(address);
  life = {.address = address,
          .name = std::move(name),
          .uid = uid,
          .is_backup = is_backup,
          .began = scheduler_.now()};
  life.holders.insert(holder);
  life.active = holder;
  return life;
}

void Lives::hold(const Address& address, const Process* holder) {
  Life& life = at(address);
  // Its node may have died with the process it came from: then the adopter will be told so.
  if (life.ended) return;
  life.holders.insert(holder);
}

void Lives::activate(const Address& address, const Process* holder) {
  Life& life = at(address);
  if (life.ended || !life.holders.contains(holder)) {
    judge_.fail("ownership", "a process becomes the owner of an endpoint that it does not hold",
                {address});
  } else if (life.active != nullptr && life.active != holder) {
    judge_.fail("ownership", "two live owners of one endpoint", {address});
  }
  life.active = holder;
  life.holders = {holder};  // the move is decided: with this one the life goes on, or ends
  life.doubted.reset();
}

void Lives::deactivate(const Address& address, const Process* holder) {
  Life& life = at(address);
  if (life.active == holder) life.active = nullptr;
}

void Lives::let_go(const Address& address, const Process* holder) {
  Life& life = at(address);
  deactivate(address, holder);
  if (life.holders.erase(holder) == 0) return;
  if (life.holders.empty()) life.ended = scheduler_.now();
  if (life.active == nullptr && !life.doubted) life.doubted = scheduler_.now();
}

void Lives::acts(const Address& address, const Process* holder) {
  const Life& life = at(address);
  if (life.active != holder) {
    judge_.fail("ownership", "a process that is not the owner acts for an endpoint", {address});
  }
  // A backup's life ends with the decision to promote it, of which it is the last to hear.
  if (life.declared_dead && !life.is_backup) {
    judge_.fail("false_death",
                "an endpoint acts that was declared dead to " + to_string(life.declared_to),
                {address, life.declared_to});
  }
}

void Lives::declare_dead(const Address& who, const Address& told) {
  const auto found = lives_.find(who);
  if (found == lives_.end() || found->second.declared_dead) return;
  found->second.declared_dead = scheduler_.now();
  found->second.declared_to = told;
}

void Lives::check_at_end() {
  for (const Address& address : order_) {
    const Life& life = at(address);
    if (life.declared_dead && !life.ended) {
      judge_.fail("false_death",
                  "an endpoint lives that was declared dead to " + to_string(life.declared_to),
                  {address, life.declared_to});
    }
    if (!life.ended && life.active == nullptr) {
      judge_.fail("ownership", "an endpoint lives but nobody acts for it", {address});
    }
  }
}

}  // namespace sim

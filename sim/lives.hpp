// Who lives, as only the world knows it, and the laws about that: an endpoint has exactly one
// active owner, nobody who is declared dead acts again, and nobody learns of a death that did not
// happen.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <dvs/ids.hpp>

#include "sim/judge.hpp"

namespace sim {

using dvs::Address;

class Process;

struct Life {
  Address address;
  std::string name{};
  std::uint32_t uid = 0;
  bool is_backup = false;
  Instant began{};
  std::optional<Instant> ended{};
  std::optional<Instant> declared_dead{};
  Address declared_to{};
  const Process* active = nullptr;     // who may act for it
  std::set<const Process*> holders{};  // who acts or may come to; by identity only, never iterated
  // The last moment at which it surely lived, if it may have ended since: somebody who held it is
  // gone, and the decision about its move not heard.
  std::optional<Instant> doubted{};
};

class Lives {
 public:
  Lives(const Scheduler& scheduler, Judge& judge) : scheduler_(scheduler), judge_(judge) {}

  Life& begin(const Address& address, std::string name, std::uint32_t uid, bool is_backup,
              const Process* holder);
  // The process may come to act for the life (it adopts it).
  void hold(const Address& address, const Process* holder);
  void activate(const Address& address, const Process* holder);
  void deactivate(const Address& address, const Process* holder);
  // The process will never act for it (again). The life ends with its last holder.
  void let_go(const Address& address, const Process* holder);
  // The endpoint does something that only a living one can.
  void acts(const Address& address, const Process* holder);
  // `told` learns that `who` died.
  void declare_dead(const Address& who, const Address& told);

  const Life* find(const Address& address) const;
  bool is_alive(const Address& address) const {
    const Life* life = find(address);
    return life != nullptr && !life->ended;
  }
  bool surely_lives(const Address& address) const {
    return is_alive(address) && !find(address)->doubted;
  }
  // All that ever lived, in the order of their births.
  const std::vector<Address>& all() const { return order_; }
  void check_at_end();

 private:
  Life& at(const Address& address);

  const Scheduler& scheduler_;
  Judge& judge_;
  std::unordered_map<Address, Life> lives_;
  std::vector<Address> order_;
};

}  // namespace sim

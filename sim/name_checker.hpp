// The law of names: at most one live endpoint holds a name, a lookup answers with one that held it
// during the lookup (or died so shortly before that the directory could not know), and a name with
// a live backup does not stay without a holder.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <dvs/error.hpp>
#include <dvs/ids.hpp>

#include "sim/judge.hpp"
#include "sim/lives.hpp"

namespace sim {

class NameChecker {
 public:
  using Name = std::pair<dvs::ContainerId, std::string>;

  NameChecker(const Scheduler& scheduler, Judge& judge, const Lives& lives)
      : scheduler_(scheduler), judge_(judge), lives_(lives) {}

  // A process asked for the name; `attempt` is any unique number.
  void requested(const Name& name, std::uint64_t attempt);
  // Its process is gone, or was refused.
  void withdrawn(const Name& name, std::uint64_t attempt);
  // Its daemon says that it holds the name, in the life `address`.
  void granted(const Name& name, std::uint64_t attempt, const Address& address);
  void backup_ready(const Name& name, std::uint64_t attempt, const Address& backup);
  // After a move, whatever came of it; meanwhile nobody could know whether it lived.
  void goes_on(const Name& name, const Address& address);
  void promoted(const Name& name, const Address& backup, const Address& address);

  struct Lookup {
    Name name;
    Address asker;
    Instant began{}, ended{};
    dvs::Errc error{};
    Address found{};
  };
  void looked_up(Lookup lookup);

  // How long the directory may take to learn of a death.
  void set_grace(Duration grace) { grace_ = grace; }

  // A name whose holder is dead while a backup lives.
  const Name* find_orphan() const;
  // Its backups that live, and the last that held it.
  std::vector<Address> concerned(const Name& name) const;
  void check_at_end();

 private:
  struct Claim {
    std::uint64_t attempt = 0;
    Instant requested{};
    Instant granted = end_of_time;
    Instant withdrawn = end_of_time;
    Address address{};
  };
  struct Record {
    std::vector<Claim> claims;
    std::vector<Address> backups;
  };

  void check_single(const Name& name, const Record& record, const Address& newest);
  bool may_answer(const Lookup& lookup, const Record& record) const;
  bool must_find(const Lookup& lookup, const Record& record) const;

  const Scheduler& scheduler_;
  Judge& judge_;
  const Lives& lives_;
  Duration grace_{};
  std::map<Name, Record> records_;
  std::vector<Lookup> lookups_;
};

}  // namespace sim

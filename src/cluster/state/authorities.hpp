// Who is in charge of what: named authorities with epochs that never go back.
//
// Epochs of a name rise with every claim and handover, and stay over release. When a name is
// forgotten, all new names begin above its epoch, so that a name that is claimed anew can never
// repeat an epoch. Who should succeed is decided elsewhere.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/state/event.hpp"
#include "cluster/state/limits.hpp"
#include "cluster/state/outcome.hpp"

namespace dvs::cluster {

class Authorities {
 public:
  explicit Authorities(const Limits& limits) : authorities_max_(limits.authorities) {}

  Outcome claim(const Claim& command, const View& view, std::vector<Change>& changes);
  Outcome release(const Release& command, std::vector<Change>& changes);
  Outcome hand_over(const HandOver& command, const View& view, std::vector<Change>& changes);
  Outcome forget(const Forget& command, std::vector<Change>& changes);
  // Nodes out of the view hold nothing.
  void free_those_out_of(const View& view, std::vector<Change>& changes);

  const Authority* find(std::string_view name) const;
  // Those whose name begins with the prefix, ascending.
  std::vector<Authority> range(std::string_view prefix) const;
  std::size_t size() const { return authorities_.size(); }

  std::uint64_t forgotten_epoch() const { return forgotten_epoch_; }
  Result<void> restore(std::uint64_t forgotten_epoch, const std::vector<Authority>& image,
                       const View& view);

 private:
  std::size_t authorities_max_;
  std::uint64_t forgotten_epoch_ = 0;  // the highest epoch of all names that were forgotten
  std::map<std::string, Authority, std::less<>> authorities_;
};

}  // namespace dvs::cluster

// Is a history linearizable: can each operation be given one point in time between its invocation
// and its return, so that in that order everybody saw what a single copy of the settings would have
// shown?
//
// Linearizability is local (Herlihy and Wing, 1990), so each key is judged by itself. Per key: the
// search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory of
// configurations seen that Lowe added ("Testing for linearizability", 2017). The general problem is
// NP-complete; what keeps this fast is said in key_search.hpp.
#pragma once

#include <cstdint>
#include <string>

#include "cluster/history/history.hpp"

namespace dvs::cluster {

enum class Verdict : std::uint8_t { linearizable, not_linearizable, undecided };

struct Judgement {
  Verdict verdict = Verdict::linearizable;
  // Of the first key that is not linearizable, or undecided.
  std::string key;
  // For people: how far the search came, and what nothing could be made of.
  std::string explanation;
};

// `configurations_max` per key: more than that, and the verdict is undecided.
Judgement judge(const History& history, std::uint64_t configurations_max = 20'000'000);

}  // namespace dvs::cluster

// Takes down the first law that was broken. Everything after it may be a consequence, so only the
// first counts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dvs/ids.hpp>

#include "sim/scheduler.hpp"

namespace sim {

struct Verdict {
  std::string law;    // short and stable, for counting: "fifo", "endless_wait", ...
  std::string words;  // what happened
  std::vector<dvs::Address> concerned;
  Instant when{};
};

class Judge {
 public:
  explicit Judge(const Scheduler& scheduler) : scheduler_(scheduler) {}

  void fail(std::string law, std::string words, std::vector<dvs::Address> concerned = {}) {
    if (verdict_) return;
    verdict_ = Verdict{std::move(law), std::move(words), std::move(concerned), scheduler_.now()};
  }
  const std::optional<Verdict>& verdict() const { return verdict_; }

 private:
  const Scheduler& scheduler_;
  std::optional<Verdict> verdict_;
};

}  // namespace sim

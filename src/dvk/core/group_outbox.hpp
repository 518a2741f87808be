// What a member of a group has yet to send: messages that a full queue did not take, and members
// whose conversation broke.
//
// When the conversation with a member breaks, the core is told only after a pause, and until then
// nothing goes there: it would answer at once, and as long as the way is down that would break
// again at once, for ever.
//
// Not thread-safe; no I/O; the clock is the owner's.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/core/group_core.hpp"

namespace dvk::core {

class GroupOutbox final : public GroupOutput {
 public:
  static constexpr dvs::Duration broken_pause = std::chrono::milliseconds(20);

  void send(const dvs::Address& member, dvs::Bytes message) override {
    messages_[member].push_back(std::move(message));
  }

  // Sends one message. What answers queue_full is kept for later, and what is behind it; with any
  // other error the member is gone, and the message with it.
  using Give = std::function<dvs::Result<void>(const dvs::Address& member, dvs::BytesView message)>;
  void give_out(const Give& give) {
    for (auto& [member, messages] : messages_) {
      while (!messages.empty() && !broken_.contains(member)) {
        const auto given = give(member, messages.front());
        if (!given && given.error() == dvs::Errc::queue_full) break;
        messages.pop_front();
      }
    }
    std::erase_if(messages_, [](const auto& entry) { return entry.second.empty(); });
  }
  bool is_empty() const { return messages_.empty(); }

  // What was under way to or from the member may be lost.
  void on_broken(const dvs::Address& member, dvs::TimePoint now) {
    if (broken_.empty()) mend_at_ = now + broken_pause;
    broken_.insert(member);
  }
  // When to call take_mended; never if no conversation is broken.
  dvs::TimePoint next_deadline() const { return broken_.empty() ? dvs::never : mend_at_; }
  // The members whose pause is over: GroupCore::on_peer_broken is due for them. What waited for
  // them is dropped, as it belongs to the conversation that broke.
  std::set<dvs::Address> take_mended(dvs::TimePoint now) {
    if (now < next_deadline()) return {};
    for (const dvs::Address& member : broken_) messages_.erase(member);
    return std::exchange(broken_, {});
  }

  void clear() {
    messages_.clear();
    broken_.clear();
  }

 private:
  std::map<dvs::Address, std::deque<dvs::Bytes>> messages_;
  std::set<dvs::Address> broken_;
  dvs::TimePoint mend_at_{};
};

}  // namespace dvk::core

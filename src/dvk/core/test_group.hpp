// A few group members in one process, for tests that decide themselves what arrives when.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "dvk/core/group_core.hpp"

namespace dvk::core {
using dvs::Address;
using dvs::Bytes;
using dvs::Errc;

inline Address address_of(std::uint64_t serial) {
  return {dvs::ContainerId{1}, dvs::EndpointId{serial}, dvs::Incarnation{serial + 100}};
}

// One queue for all, in the order of sending; members can be cut off or die.
class Group {
 public:
  struct Sent {
    std::uint64_t from;
    std::uint64_t to;
    Bytes bytes;
  };

  void add(std::uint64_t serial, const GroupSettings& settings = {}) {
    outputs_[serial] = std::make_unique<Output>(*this, serial);
    cores_[serial] = std::make_unique<GroupCore>(address_of(serial), *outputs_[serial], settings);
  }
  GroupCore& operator[](std::uint64_t serial) { return *cores_.at(serial); }
  void install(std::uint64_t serial, std::uint64_t number,
               const std::vector<std::uint64_t>& members) {
    ASSERT_TRUE(cores_.at(serial)->install(view(number, members)).has_value());
  }
  void install_all(std::uint64_t number, const std::vector<std::uint64_t>& members) {
    for (const auto serial : members) {
      if (!cores_.contains(serial)) add(serial);
      install(serial, number, members);
    }
  }
  static GroupView view(std::uint64_t number, const std::vector<std::uint64_t>& members) {
    GroupView result{number, {}};
    for (const auto serial : members) result.members.push_back(address_of(serial));
    return result;
  }
  void die(std::uint64_t serial) {
    cores_.erase(serial);
    std::erase_if(wire_, [&](const Sent& sent) { return sent.to == serial; });
  }
  // Nothing passes from `from` to `to` until it is let through; it waits.
  void block(std::uint64_t from, std::uint64_t to) { blocked_.push_back({from, to}); }
  void unblock() { blocked_.clear(); }
  void lose_waiting() { wire_.clear(); }

  // Until nothing moves. Every message is a turn of its own.
  void run() {
    do {
      for (auto& [serial, core] : cores_) core->end_turn();
    } while (deliver_one());
  }
  bool deliver_one() {
    const auto next =
        std::ranges::find_if(wire_, [&](const Sent& sent) { return !is_blocked(sent); });
    if (next == wire_.end()) return false;
    const Sent sent = std::move(*next);
    wire_.erase(next);
    const auto target = cores_.find(sent.to);
    if (target == cores_.end()) return true;
    const auto taken = target->second->on_message(address_of(sent.from), sent.bytes);
    EXPECT_TRUE(taken.has_value()) << dvs::to_string(taken.error());
    return taken.has_value();
  }
  void multicast(std::uint64_t serial, const std::string& text) {
    ASSERT_TRUE(cores_.at(serial)->multicast(dvs::as_bytes(text)).has_value());
  }
  // Everything deliverable, as text: "view 1" or the payload.
  std::vector<std::string> read(std::uint64_t serial) {
    std::vector<std::string> texts;
    while (const auto delivery = cores_.at(serial)->next_delivery()) {
      if (const auto* message = std::get_if<GroupMessageDelivery>(&*delivery)) {
        texts.emplace_back(dvs::as_text(message->payload));
      } else {
        texts.push_back("view " + std::to_string(std::get<GroupViewDelivery>(*delivery).number));
      }
    }
    return texts;
  }
  std::size_t sent() const { return sent_; }

 private:
  struct Output : GroupOutput {
    Output(Group& group, std::uint64_t from) : owner(group), serial(from) {}
    void send(const Address& member, Bytes message) override {
      ++owner.sent_;
      EXPECT_LE(message.size(), wire::group_message_bytes_max);
      owner.wire_.push_back({serial, dvs::raw(member.id), std::move(message)});
    }
    Group& owner;
    std::uint64_t serial;
  };
  bool is_blocked(const Sent& sent) const {
    return std::ranges::find(blocked_, std::pair{sent.from, sent.to}) != blocked_.end();
  }

  std::map<std::uint64_t, std::unique_ptr<Output>> outputs_;
  std::map<std::uint64_t, std::unique_ptr<GroupCore>> cores_;
  std::vector<Sent> wire_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> blocked_;
  std::size_t sent_ = 0;
};

using Texts = std::vector<std::string>;

}  // namespace dvk::core

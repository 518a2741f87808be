// A program on top of the library: sends, calls, serves, notifies, copies, looks up names, takes
// part in groups, and hands everything it sees to those who watch the laws.
//
// It belongs to the endpoint, not to a process: when the endpoint moves, it goes on in the other
// process.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "sim/context.hpp"
#include "sim/group_member.hpp"
#include "sim/library.hpp"
#include "sim/memory.hpp"
#include "sim/process.hpp"

namespace sim {

// Who else is there.
class Population {
 public:
  virtual std::vector<Address> alive(dvs::ContainerId container) const = 0;
  virtual Memory* memory_of(const Address& address) = 0;
  virtual const std::vector<std::string>& names() const = 0;

 protected:
  ~Population() = default;
};

class Application {
 public:
  Application(Context& context, Population& population);
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;

  // --- Its process ---
  void begin(Process& process);
  // After a move, given up or done.
  void go_on(Process& process);
  // It is frozen, or its process has died. Nothing happens if it runs in another process by now.
  void stop(const Process& process);
  void begin_new_life(const Address& old);
  void on_mail();
  void on_name(std::uint64_t request, dvs::Errc error, const Address& address);
  void on_barrier(std::uint64_t request);
  void on_copy_end(std::uint64_t copy, dvs::Errc error);

  // --- The world ---
  bool is_running() const { return process_ != nullptr; }
  Process* process() { return process_; }
  // Its process, also while it is frozen or dead.
  Process* last_process() { return last_process_; }
  const Address& address() const { return address_; }
  Memory* memory() { return memory_ ? &*memory_ : nullptr; }
  // Wants to move as soon as it has no copies under way.
  void want_move(NodeId target);
  void cancel_move();
  bool can_move() const { return is_running() && !move_target_ && !library().is_backup(); }
  // What it still waits for; nothing: it is idle.
  struct Pending {
    std::string what;
    Address peer{};  // if it is about one
  };
  std::optional<Pending> pending() const;
  void check_at_end();

  void join(std::uint64_t group);
  GroupMember* member(std::uint64_t group);

 private:
  struct OpenCall {
    Address to;
    std::uint64_t number = 0;  // in its pair
    Instant give_up_at = end_of_time;
    dvs::Errc why{};
  };
  struct DeferredReply {
    Instant at;
    Address from, server;
    std::uint64_t call = 0;
  };
  struct Habits {
    Duration think{};  // before it looks at what has come
    unsigned batch = 16;
    bool has_filters = false;
    Duration reply_delay{};
    std::size_t favourites = 2;
  };

  Library& library() const { return process_->library(); }
  dvk::core::EndpointCore& core() const { return library().core(); }
  Random& random() { return context_.random; }

  // Operations
  void operate();
  void send_messages();
  void make_call();
  void set_bits();
  void copy();
  void look_up();
  void watch();
  void forge();
  Address choose_peer();
  Address choose_strange_peer();
  std::size_t choose_bytes();
  void check_refusal(const Address& peer, const dvs::Error& error);
  std::optional<CopyChecker::Side> choose_side(const Address& owner, bool is_target,
                                               std::size_t bytes);

  // Receiving
  void receive();
  bool take_one();
  void take(dvk::core::Incoming& item, const dvk::core::EndpointCore::Filter& filter);
  void take_stamped(dvk::core::Incoming& item, const dvk::core::EndpointCore::Filter& filter);
  void take_end(const dvk::core::Incoming& item);
  void check_permitted(const Address& from);
  void take_replies();
  void give_up_calls();
  void reply_due();
  void reply(const DeferredReply& due);

  void run();
  void plan_timers();
  void refresh_memory();
  void try_move();

  Context& context_;
  Population& population_;
  Habits habits_;
  Process* process_ = nullptr;  // none while frozen
  Process* last_process_ = nullptr;
  Address address_{};
  Address
      mailbox_life_{};  // for whom what is taken now was sent: after a promotion, at first the old

  std::vector<Address> favourites_;
  std::map<std::uint64_t, OpenCall> calls_;
  std::deque<DeferredReply> replies_;
  std::map<std::uint64_t, NameChecker::Lookup> lookups_;
  std::set<Address> watched_;
  std::optional<Memory> memory_;
  std::map<std::uint64_t, std::vector<std::size_t>> refreshing_;  // barrier -> slots
  std::map<std::uint64_t, std::unique_ptr<GroupMember>> groups_;
  std::vector<std::unique_ptr<GroupMember>> former_groups_;  // of a life before; silent
  std::optional<NodeId> move_target_;

  Alarm operate_alarm_, receive_alarm_, timer_alarm_;
};

}  // namespace sim

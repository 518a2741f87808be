// A process with one endpoint: it attaches, acts for its application while it may, and dies.
#pragma once

#include <optional>
#include <string>

#include "sim/daemon.hpp"
#include "sim/library.hpp"

namespace sim {

class Application;
class Process;

// The world as a process sees it.
class ProcessOwner {
 public:
  // A new endpoint: its application.
  virtual Application& create_application(Process& process) = 0;
  // The application whose endpoint this process has adopted.
  virtual Application& application_of(const Address& address) = 0;
  // The move of this process's endpoint has ended, one way or the other.
  virtual void on_move_ended(const Address& address) = 0;

 protected:
  ~ProcessOwner() = default;
};

struct ProcessPlan {
  dvs::ContainerId container{1};
  std::uint32_t uid = 1000;
  dvk::wire::Hello hello;
};

class Process final : LibraryUpper {
 public:
  // Starts at once; the machine must be up.
  Process(Context& context, ProcessOwner& owner, Machine& machine, ProcessPlan plan);

  // Ends at once, whatever it was doing. Harmless when it has ended.
  void kill();
  void pause(Duration how_long);
  bool is_dead() const { return is_dead_; }
  bool is_adopter() const { return plan_.hello.kind == dvk::wire::HelloKind::adopt; }
  // When it next runs; end_of_time when it is dead.
  Instant ready_at() const;

  const ProcessPlan& plan() const { return plan_; }
  Machine& machine() { return machine_; }
  Library& library() { return library_; }
  Application* application() { return application_; }
  Memory* memory();

  // The daemon gives it an address, of which it will hear.
  void on_given(const Address& address);
  void on_daemon_message(ToProcessItem&& item) { library_.on_daemon_message(std::move(item)); }
  void on_daemon_packet(RingRecord&& record) { library_.on_daemon_packet(std::move(record)); }
  void on_daemon_ring_room() { library_.on_daemon_ring_room(); }

 private:
  void check_name(const Address& address);
  // LibraryUpper
  void on_welcome() override;
  void on_refused(dvs::Errc error) override;
  void on_adopting() override;
  void on_adopt_result(dvs::Errc error) override;
  void on_frozen() override;
  void on_move_result(dvs::Errc error) override;
  void on_promoted(const Address& old) override;
  void on_mail() override;
  void on_name(std::uint64_t request, dvs::Errc error, const Address& address) override;
  void on_barrier(std::uint64_t request) override;
  void on_copy_end(std::uint64_t copy, dvs::Errc error) override;

  NameChecker::Name name() const { return {plan_.container, plan_.hello.name}; }
  std::uint64_t attempt() const { return attempt_; }

  Context& context_;
  ProcessOwner& owner_;
  Machine& machine_;
  ProcessPlan plan_;
  std::uint64_t attempt_;
  bool is_dead_ = false;
  Instant paused_until_{};
  std::set<Address> held_;  // lives that end with this process
  Application* application_ = nullptr;
  Attachment& attachment_;
  Library library_;
};

}  // namespace sim

// At most once: the answers that were given, by client and sequence.
//
// A client opens a session (its id is the index of that entry, so ids are never reused) and numbers
// its proposals 1, 2, 3, ... It may have up to `answers_per_session` of them under way, arriving in
// any order, and repeats one until it has an answer. A repeated one gets the first one's answer and
// is not applied again. A sequence that has fallen out of that window, or a session that has been
// evicted, is refused with session_expired: never applied twice, at the price of not knowing.
//
// Eviction: when a session is opened and the table is full, the session whose last entry in the log
// is the oldest goes. It depends on the log alone, so all replicas evict the same one.
// (The scheme: Ongaro, "Consensus: Bridging Theory and Practice", 2014, section 6.3.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "cluster/state/command.hpp"
#include "cluster/state/limits.hpp"

namespace dvs::cluster {

// An answer as it is kept, and as it stands in a snapshot.
struct KeptAnswer {
  std::uint64_t sequence = 0;
  Answer answer;
  void fields(auto&& field) { field(sequence, answer); }
};
struct SessionImage {
  ClientId client{};
  std::uint64_t last_index = 0;
  std::vector<KeptAnswer> answers;  // ascending by sequence
  void fields(auto&& field) { field(client, last_index, answers); }
};

class Sessions {
 public:
  explicit Sessions(const Limits& limits)
      : sessions_max_(limits.sessions), window_(limits.answers_per_session) {}

  ClientId open(std::uint64_t index);
  // What to answer without applying: the earlier answer, or session_expired.
  std::optional<Answer> earlier(ClientId client, std::uint64_t sequence, std::uint64_t index);
  // Only after `earlier` had nothing.
  void remember(ClientId client, std::uint64_t sequence, const Answer& answer);
  std::size_t size() const { return sessions_.size(); }

  std::vector<SessionImage> image() const;
  Result<void> restore(const std::vector<SessionImage>& image, std::uint64_t applied);

 private:
  struct Session {
    std::uint64_t last_index = 0;
    std::map<std::uint64_t, Answer> answers;
  };
  void touch(ClientId client, Session& session, std::uint64_t index);

  std::size_t sessions_max_;
  std::size_t window_;
  std::map<ClientId, Session> sessions_;
  std::set<std::pair<std::uint64_t, ClientId>> by_last_index_;
};

}  // namespace dvs::cluster

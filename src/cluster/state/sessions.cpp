#include "cluster/state/sessions.hpp"

#include "base/assert.hpp"

namespace dvs::cluster {

ClientId Sessions::open(std::uint64_t index) {
  if (sessions_.size() >= sessions_max_) {
    const auto oldest = by_last_index_.begin();
    sessions_.erase(oldest->second);
    by_last_index_.erase(oldest);
  }
  const ClientId client{index};
  sessions_[client].last_index = index;
  by_last_index_.emplace(index, client);
  return client;
}

void Sessions::touch(ClientId client, Session& session, std::uint64_t index) {
  by_last_index_.erase({session.last_index, client});
  session.last_index = index;
  by_last_index_.emplace(index, client);
}

std::optional<Answer> Sessions::earlier(ClientId client, std::uint64_t sequence,
                                        std::uint64_t index) {
  const auto found = sessions_.find(client);
  if (found == sessions_.end()) return Answer{index, Errc::session_expired, 0, 0};
  Session& session = found->second;
  touch(client, session, index);
  if (const auto kept = session.answers.find(sequence); kept != session.answers.end()) {
    return kept->second;
  }
  const std::uint64_t newest = session.answers.empty() ? 0 : session.answers.rbegin()->first;
  const bool is_too_old = newest >= window_ && sequence <= newest - window_;
  if (sequence == 0 || is_too_old) return Answer{index, Errc::session_expired, 0, 0};
  return std::nullopt;
}

void Sessions::remember(ClientId client, std::uint64_t sequence, const Answer& answer) {
  const auto found = sessions_.find(client);
  // The command itself may have opened a session and so evicted this one.
  if (found == sessions_.end()) return;
  auto& answers = found->second.answers;
  answers.emplace(sequence, answer);
  const std::uint64_t newest = answers.rbegin()->first;
  while (newest >= window_ && answers.begin()->first <= newest - window_) {
    answers.erase(answers.begin());
  }
  DVS_ASSERT(answers.size() <= window_);
}

std::vector<SessionImage> Sessions::image() const {
  std::vector<SessionImage> image;
  image.reserve(sessions_.size());
  for (const auto& [client, session] : sessions_) {
    SessionImage& entry = image.emplace_back(SessionImage{client, session.last_index, {}});
    for (const auto& [sequence, answer] : session.answers) {
      entry.answers.push_back({sequence, answer});
    }
  }
  return image;
}

Result<void> Sessions::restore(const std::vector<SessionImage>& image, std::uint64_t applied) {
  if (image.size() > sessions_max_) return fail(Errc::protocol_violation, "too many sessions");
  for (const SessionImage& entry : image) {
    const bool is_next = sessions_.empty() || sessions_.rbegin()->first < entry.client;
    const bool is_sound = is_next && raw(entry.client) > 0 && entry.last_index <= applied &&
                          raw(entry.client) <= entry.last_index &&
                          entry.answers.size() <= window_ &&
                          by_last_index_.emplace(entry.last_index, entry.client).second;
    if (!is_sound) return fail(Errc::protocol_violation, "a session is not sound");
    Session& session = sessions_[entry.client];
    session.last_index = entry.last_index;
    for (const KeptAnswer& kept : entry.answers) {
      const bool is_later =
          session.answers.empty() || session.answers.rbegin()->first < kept.sequence;
      if (!is_later || kept.sequence == 0 || kept.answer.index > applied) {
        return fail(Errc::protocol_violation, "an answer of a session is not sound");
      }
      session.answers.emplace_hint(session.answers.end(), kept.sequence, kept.answer);
    }
    if (!entry.answers.empty() &&
        entry.answers.back().sequence - entry.answers.front().sequence >= window_) {
      return fail(Errc::protocol_violation, "the answers of a session span too much");
    }
  }
  return {};
}

}  // namespace dvs::cluster

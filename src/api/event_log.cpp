// See event_log.hpp.
#include "api/event_log.hpp"

#include <algorithm>

#include <boost/json/serialize.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace dvs::api {

std::string time_text(std::chrono::system_clock::time_point time) {
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(since_epoch).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds),
                     since_epoch.count() - seconds * 1000);
}

void EventLog::append(std::string_view event, std::chrono::system_clock::time_point time,
                      const boost::json::object& fields) {
  boost::json::object line{
      {"sequence", ++last_}, {"boot", boot_}, {"time", time_text(time)}, {"event", event}};
  for (const auto& field : fields) line.insert(field);
  lines_.push_back(boost::json::serialize(line) + "\n");
  bytes_ += lines_.back().size();
  while (lines_.size() > events_max || (bytes_ > bytes_max && lines_.size() > 1)) {
    bytes_ -= lines_.front().size();
    lines_.pop_front();
  }
  if (listener_) listener_();
}

EventLog::Piece EventLog::read(std::uint64_t since, std::size_t limit) const {
  Piece piece{{}, std::min(since, last_)};
  const std::uint64_t gone = last_ - lines_.size();  // the number of the last one that is gone
  if (piece.until < gone) {
    piece.text = boost::json::serialize(boost::json::object{{"sequence", gone},
                                                            {"boot", boot_},
                                                            {"event", "events_lost"},
                                                            {"count", gone - piece.until}}) +
                 "\n";
    piece.until = gone;
  }
  while (piece.until < last_) {
    const std::string& line = lines_[piece.until - gone];
    if (!piece.text.empty() && piece.text.size() + line.size() > limit) break;
    piece.text += line;
    ++piece.until;
  }
  return piece;
}

}  // namespace dvs::api

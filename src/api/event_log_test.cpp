#include "api/event_log.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace dvs::api {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::system_clock;

constexpr system_clock::time_point noon{milliseconds(1'769'860'800'250)};

std::vector<json::value> lines_of(const std::string& text) {
  std::vector<json::value> lines;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  EXPECT_EQ(begin, text.size()) << "no whole lines";
  return lines;
}

TEST(EventLog, TimeIsWrittenInUtc) {
  EXPECT_EQ(time_text(noon), "2026-01-31T12:00:00.250Z");
}

TEST(EventLog, EventsAreNumbered) {
  EventLog log(7);
  log.append("started", noon);
  log.append("view", noon, {{"view", 3}});
  const auto lines = lines_of(log.read(0, 1 << 20).text);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("sequence").to_number<int>(), 1);
  EXPECT_EQ(lines[0].at("boot").to_number<int>(), 7);
  EXPECT_EQ(lines[0].at("event").as_string(), "started");
  EXPECT_EQ(lines[1].at("view").to_number<int>(), 3);
  EXPECT_EQ(log.last(), 2U);
}

TEST(EventLog, ReadingGoesOnWhereItEnded) {
  EventLog log(1);
  for (int i = 0; i < 100; ++i) log.append("event", noon);
  std::uint64_t since = 0;
  std::size_t seen = 0, pieces = 0;
  while (since < log.last()) {
    const EventLog::Piece piece = log.read(since, 1000);
    EXPECT_LE(piece.text.size(), 1000U);
    ASSERT_GT(piece.until, since);
    seen += lines_of(piece.text).size();
    since = piece.until;
    ++pieces;
  }
  EXPECT_EQ(seen, 100U);
  EXPECT_GT(pieces, 5U);
  EXPECT_TRUE(log.read(since, 1000).text.empty());
}

TEST(EventLog, OneEventComesHoweverLargeItIs) {
  EventLog log(1);
  log.append("event", noon, {{"text", std::string(5000, 'x')}});
  EXPECT_EQ(log.read(0, 10).until, 1U);
}

TEST(EventLog, WhatIsGoneIsTold) {
  EventLog log(1);
  const std::size_t count = EventLog::events_max + 10;
  for (std::size_t i = 0; i < count; ++i) log.append("event", noon);
  const auto lines = lines_of(log.read(4, 1 << 20).text);
  EXPECT_EQ(lines[0].at("event").as_string(), "events_lost");
  EXPECT_EQ(lines[0].at("count").to_number<int>(), 6);
  EXPECT_EQ(lines[1].at("sequence").to_number<int>(), 11);
}

TEST(EventLog, LargeEventsDoNotGrowWithoutBound) {
  EventLog log(1);
  for (int i = 0; i < 100; ++i) log.append("event", noon, {{"text", std::string(50'000, 'x')}});
  EXPECT_LE(log.read(0, 1 << 30).text.size(), EventLog::bytes_max + 200);
  EXPECT_EQ(log.read(0, 1 << 30).until, 100U);
}

TEST(EventLog, ANumberFromTheFutureIsTheEnd) {
  EventLog log(1);
  log.append("event", noon);
  EXPECT_TRUE(log.read(99, 1000).text.empty());
  EXPECT_EQ(log.read(99, 1000).until, 1U);
}

TEST(EventLog, TheListenerIsCalled) {
  EventLog log(1);
  int calls = 0;
  log.on_append([&] { ++calls; });
  log.append("event", noon);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace dvs::api

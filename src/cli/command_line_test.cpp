#include "cli/command_line.hpp"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "cli/commands.hpp"

namespace dvs::cli {
namespace {

struct Parsed {
  bool is_good = false;
  Options options;
  Command command = nullptr;
};

Parsed parse(const std::string& arguments) {
  Parsed result;
  const auto app = make_command_line(result.options, result.command);
  try {
    app->parse(arguments);
    result.is_good = true;
  } catch (const CLI::ParseError&) {
  }
  return result;
}

TEST(CommandLine, NamesCommands) {
  const std::pair<const char*, Command> commands[] = {
      {"version", show_version},        {"cluster status", show_cluster},
      {"cluster up", bring_cluster_up}, {"cluster down", take_cluster_down},
      {"node ls", list_nodes},          {"node inspect", inspect_node},
      {"events", show_events},          {"logs", show_log},
      {"dev cut n1", cut_node},         {"dev heal n1", heal_node},
      {"dev pause n1", pause_node},     {"dev resume n1", resume_node},
      {"dev kill n1", kill_node},       {"dev start n1", start_node}};
  for (const auto& [text, command] : commands) {
    const Parsed parsed = parse(text);
    EXPECT_TRUE(parsed.is_good) << text;
    EXPECT_EQ(parsed.command, command) << text;
  }
}

TEST(CommandLine, OptionsForAllStandBeforeOrBehind) {
  for (const char* text :
       {"--at n2 --json node ls", "node --at n2 ls --json", "node ls --at n2 --json"}) {
    const Parsed parsed = parse(text);
    EXPECT_TRUE(parsed.is_good) << text;
    EXPECT_EQ(parsed.options.at, "n2") << text;
    EXPECT_TRUE(parsed.options.is_json) << text;
  }
}

TEST(CommandLine, OptionsOfSingleCommands) {
  const Options up = parse("cluster up --local 3 --cores-per-node 2 --dir /d --dvsd /b").options;
  EXPECT_EQ(up.local_nodes, 3);
  EXPECT_EQ(up.cores_per_node, 2);
  EXPECT_EQ(up.directory, "/d");
  EXPECT_EQ(up.daemon, "/b");
  const Options events = parse("events -f --since 12").options;
  EXPECT_TRUE(events.follow);
  EXPECT_EQ(events.since, 12U);
  EXPECT_EQ(parse("logs --tail 5").options.tail, 5U);
  EXPECT_EQ(parse("node inspect n3").options.node, "n3");
}

TEST(CommandLine, WhatIsWrongIsRefused) {
  for (const char* text : {"", "nope", "cluster", "node", "dev", "dev cut", "cluster up --local 0",
                           "cluster up --local 251", "cluster up --local x", "events --since -1",
                           "events extra", "completion", "completion tcsh", "node ls --nope"}) {
    EXPECT_FALSE(parse(text).is_good) << text;
  }
}

}  // namespace
}  // namespace dvs::cli

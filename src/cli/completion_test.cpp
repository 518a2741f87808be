#include "cli/completion.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace dvs::cli {
namespace {

std::string script_for(const std::string& shell) {
  Options options;
  Command command = nullptr;
  return completion_script(*make_command_line(options, command), shell).value_or("");
}

// What bash offers after these words, the last of which is being written.
std::string offered_by_bash(const std::string& words, int current) {
  std::string name = "/tmp/dvs-completion-test-XXXXXX";
  ::close(::mkstemp(name.data()));
  std::ofstream(name) << script_for("bash") << "COMP_WORDS=(" << words
                      << ")\nCOMP_CWORD=" << current << "\n_dvs\necho \"${COMPREPLY[*]}\"\n";
  std::string output;
  std::array<char, 4096> buffer{};
  FILE* pipe = ::popen(("bash " + name).c_str(), "r");
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) output += buffer.data();
  ::pclose(pipe);
  ::unlink(name.c_str());
  return output;
}

TEST(Completion, BashFollowsTheTree) {
  EXPECT_EQ(offered_by_bash("dvs cl", 1), "cluster\n");
  EXPECT_EQ(offered_by_bash("dvs cluster u", 2), "up\n");
  EXPECT_EQ(offered_by_bash("dvs --json cluster d", 3), "down\n");
  EXPECT_EQ(offered_by_bash("dvs cluster up --lo", 3), "--local\n");
  EXPECT_EQ(offered_by_bash("dvs cluster up --at n2 --js", 5), "--json\n");
  EXPECT_EQ(offered_by_bash("dvs completion z", 2), "zsh\n");
  EXPECT_EQ(offered_by_bash("dvs node nope", 2), "\n");
}

TEST(Completion, EveryShellKnowsEveryCommandButTheHidden) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = script_for(shell);
    for (const char* word : {"cluster", "status", "inspect", "cores-per-node", "follow"}) {
      EXPECT_NE(script.find(word), std::string::npos) << shell << " " << word;
    }
    EXPECT_EQ(script.find("heal"), std::string::npos) << shell;
  }
  EXPECT_EQ(script_for("tcsh"), "");
}

}  // namespace
}  // namespace dvs::cli

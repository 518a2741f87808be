// The main function of every integration test: the options of run_options.hpp beside those of
// GoogleTest.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "integration/run_options.hpp"

namespace integration {
namespace {

RunOptions options;

// Takes "--name value" or "--name=value".
bool take(const std::string& name, int& index, int argc, char** argv, std::uint64_t& value) {
  const std::string argument = argv[index];
  const char* text = nullptr;
  if (argument == name && index + 1 < argc) text = argv[++index];
  if (argument.starts_with(name + "=")) text = argv[index] + name.size() + 1;
  if (text == nullptr) return false;
  value = std::strtoull(text, nullptr, 10);
  return true;
}

}  // namespace

const RunOptions& run_options() {
  return options;
}

bool RunOptions::wants_more(std::uint64_t done, std::uint64_t rounds) const {
  if (minutes.count() > 0) return std::chrono::steady_clock::now() < start + minutes;
  return done < (count > 0 ? count : rounds);
}

int run_tests(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    std::uint64_t minutes = 0;
    if (take("--count", i, argc, argv, options.count)) continue;
    if (take("--seed", i, argc, argv, options.seed)) continue;
    if (take("--minutes", i, argc, argv, minutes)) {
      options.minutes = std::chrono::minutes(minutes);
      continue;
    }
    std::fprintf(stderr, "unknown option %s; known: --count N, --minutes M, --seed S\n", argv[i]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  return RUN_ALL_TESTS();
}

}  // namespace integration

int main(int argc, char** argv) {
  return integration::run_tests(argc, argv);
}

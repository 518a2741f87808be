#include "integration/scratch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace integration {
namespace {

// Not a child of the test, so that whoever kills the test's children does not kill it.
void guard(int lifeline, const std::string& path) {
  setsid();
  if (fork() != 0) _exit(0);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, SIG_IGN);
  close(0), close(1), close(2);
  char byte = 0;
  while (read(lifeline, &byte, 1) > 0) {
  }
  // What was killed with the test may still be writing its last words.
  for (int i = 0; i < 50; ++i) {
    std::error_code failure;
    std::filesystem::remove_all(path, failure);
    if (!failure) break;
    usleep(20'000);
  }
  _exit(0);
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  char name[] = "/tmp/dvs-test-XXXXXX";
  int ends[2];
  if (mkdtemp(name) == nullptr || pipe2(ends, O_CLOEXEC) != 0) std::abort();
  path_ = name;
  chmod(name, 0755);
  const pid_t pid = fork();
  if (pid == 0) {
    close(ends[1]);
    guard(ends[0], name);
  }
  close(ends[0]);
  lifeline_ = ends[1];
  waitpid(pid, nullptr, 0);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  close(lifeline_);
}

}  // namespace integration

// A directory that is gone when the test is, however it ends.
#pragma once

#include <filesystem>

namespace integration {

class ScratchDirectory {
 public:
  // Leaves a guard process behind that removes the directory once the test is gone.
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lifeline_ = -1;  // the guard acts when its other end closes
};

}  // namespace integration

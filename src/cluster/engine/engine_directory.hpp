// The directory of one member of one group: whose it is, that one engine alone uses it, and whether
// its first start was completed.
//
// Beside libraft's files it holds `lock` (flock(2)), `identity` (version and node) and, during the
// very first start only, `beginning`: what a start has left that was interrupted by a crash is
// cleared away, since nothing can have been acknowledged yet. A directory with files but without
// identity is refused.
#pragma once

#include <filesystem>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "runtime/fd.hpp"

namespace dvs::cluster {

class EngineDirectory {
 public:
  // Makes the directory if it is missing. Errors: name_in_use, version_mismatch, protocol_violation
  // (damaged or of something else), invalid_argument (another node's), system. All name it.
  static Result<EngineDirectory> open(std::filesystem::path path, NodeId node);

  // Nothing in it counts yet.
  bool is_new() const noexcept { return is_new_; }
  // The first start has succeeded: from now on the contents count.
  Result<void> complete();

 private:
  EngineDirectory(std::filesystem::path path, NodeId node, runtime::Fd lock)
      : path_(std::move(path)), node_(node), lock_(std::move(lock)) {}

  Result<void> read_identity();
  Result<void> begin();

  std::filesystem::path path_;
  NodeId node_;
  runtime::Fd lock_;
  bool is_new_ = false;
};

}  // namespace dvs::cluster

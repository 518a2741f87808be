// Who may bind which name, and who may talk to whom. Asked by the node that hosts the endpoint in
// question, so a rule is enforced where it cannot be got around.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <dvs/ids.hpp>

namespace dvk::node {

// What a rule can look at. Endpoints of other containers are never compared: they cannot meet.
struct Principal {
  std::string_view name;  // empty for an endpoint without one
  std::uint32_t uid = 0;
};

// Patterns are shell globs of `*` and `?`. An empty list of rules allows everything inside the
// container.
class Policy {
 public:
  struct BindRule {
    std::uint32_t uid = 0;
    std::string names;
  };
  struct TalkRule {
    std::string from, to;  // both directions of the conversation are then open
  };
  struct ContainerRules {
    std::vector<BindRule> bind;
    std::vector<TalkRule> talk;
  };

  Policy() = default;
  explicit Policy(std::map<dvs::ContainerId, ContainerRules> rules) : rules_(std::move(rules)) {}

  bool may_bind(dvs::ContainerId container, const Principal& who) const;
  bool may_talk(dvs::ContainerId container, const Principal& from, const Principal& to) const;

 private:
  std::map<dvs::ContainerId, ContainerRules> rules_;
};

bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace dvk::node

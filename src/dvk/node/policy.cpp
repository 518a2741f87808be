#include "dvk/node/policy.hpp"

#include <algorithm>

namespace dvk::node {

bool matches_glob(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p, ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;  // let the star take one character more
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool Policy::may_bind(dvs::ContainerId container, const Principal& who) const {
  const auto found = rules_.find(container);
  if (found == rules_.end() || found->second.bind.empty()) return true;
  return std::ranges::any_of(found->second.bind, [&](const BindRule& rule) {
    return rule.uid == who.uid && matches_glob(rule.names, who.name);
  });
}

bool Policy::may_talk(dvs::ContainerId container, const Principal& from,
                      const Principal& to) const {
  const auto found = rules_.find(container);
  if (found == rules_.end() || found->second.talk.empty()) return true;
  return std::ranges::any_of(found->second.talk, [&](const TalkRule& rule) {
    return (matches_glob(rule.from, from.name) && matches_glob(rule.to, to.name)) ||
           (matches_glob(rule.from, to.name) && matches_glob(rule.to, from.name));
  });
}

}  // namespace dvk::node

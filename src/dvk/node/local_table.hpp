// The endpoints attached to this node, found by connection or by address.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "dvk/node/output.hpp"
#include "dvk/node/policy.hpp"

namespace dvk::node {

enum class LocalState : std::uint8_t {
  registering,  // waits for the directory
  active,
  frozen,    // being moved away; takes no packets
  waiting,   // an adopter for which nothing has arrived yet
  arriving,  // being moved here; the decision is still out
};

struct LocalEndpoint {
  Handle handle{};
  Address address{};
  std::string name{};
  std::uint32_t uid = 0;
  LocalState state{};
  bool is_backup = false;
  bool is_in_directory = false;    // has a name, or was born on another node
  std::uint64_t moves = 0;         // of this life, so far
  std::set<Address> ring_peers{};  // local endpoints it shares a ring with

  Principal principal() const { return {name, uid}; }
  wire::DirectoryEntry directory_entry() const { return {address, name, is_backup, moves}; }
  bool takes_packets() const { return state == LocalState::active; }
};

class LocalTable {
 public:
  LocalEndpoint& add(LocalEndpoint endpoint) {
    const Handle handle = endpoint.handle;
    if (endpoint.address) by_address_[endpoint.address] = handle;
    return by_handle_[handle] = std::move(endpoint);
  }
  LocalEndpoint* find(Handle handle) {
    const auto found = by_handle_.find(handle);
    return found == by_handle_.end() ? nullptr : &found->second;
  }
  LocalEndpoint* find(const Address& address) {
    const auto found = by_address_.find(address);
    return found == by_address_.end() ? nullptr : find(found->second);
  }
  void set_address(LocalEndpoint& endpoint, const Address& address) {
    by_address_.erase(endpoint.address);
    endpoint.address = address;
    if (address) by_address_[address] = endpoint.handle;
  }
  void remove(Handle handle) {
    const auto found = by_handle_.find(handle);
    if (found == by_handle_.end()) return;
    const auto named = by_address_.find(found->second.address);
    if (named != by_address_.end() && named->second == handle) by_address_.erase(named);
    by_handle_.erase(found);
  }
  std::map<Handle, LocalEndpoint>& all() { return by_handle_; }
  std::size_t size() const { return by_handle_.size(); }

 private:
  std::map<Handle, LocalEndpoint> by_handle_;
  std::map<Address, Handle> by_address_;
};

// A map that forgets its oldest entries: for what is good to remember but must not grow without
// bound.
template <class Key, class Value, std::size_t entries_max = 65536>
class Memory {
 public:
  void remember(const Key& key, const Value& value) {
    if (values_.insert_or_assign(key, value).second) order_.push_back(key);
    while (order_.size() > entries_max) {
      values_.erase(order_.front());
      order_.pop_front();
    }
  }
  const Value* recall(const Key& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }
  void forget(const Key& key) {
    if (values_.erase(key) != 0) std::erase(order_, key);
  }

 private:
  std::map<Key, Value> values_;
  std::deque<Key> order_;
};

}  // namespace dvk::node

// Where the daemon learns who is a member of the cluster. Behind an interface, because the list
// from the configuration will give way to one that the nodes agree on while they run.
#pragma once

#include <algorithm>
#include <utility>

#include "dvk/daemon/config.hpp"
#include "dvk/node/view.hpp"

namespace dvk::daemon {

class ViewUpper {
 public:
  virtual void on_view(const node::View& view) = 0;
  // A committed fact: the node is lost for good, with all that lived on it.
  virtual void on_node_lost(dvs::NodeId node) = 0;

 protected:
  ~ViewUpper() = default;
};

class ViewSource {
 public:
  virtual ~ViewSource() = default;
  // Tells the present view, and from then on every change, on the daemon's loop.
  virtual void start(ViewUpper& upper) = 0;
};

// This node and its configured peers, as view number 1, for ever.
class StaticView final : public ViewSource {
 public:
  explicit StaticView(const Config& config) {
    view_.number = 1;
    view_.is_static = true;
    view_.members.push_back(config.node);
    for (const link::PeerAddress& peer : config.peers) view_.members.push_back(peer.id);
    std::ranges::sort(view_.members);
  }
  void start(ViewUpper& upper) override { upper.on_view(view_); }

 private:
  node::View view_;
};

}  // namespace dvk::daemon

// Where the daemon learns who is a member of the cluster. Behind an interface, because the list
// from the configuration will give way to one that the nodes agree on while they run.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "dvk/daemon/config.hpp"
#include "dvk/daemon/node_links.hpp"
#include "dvk/node/view.hpp"

namespace dvk::daemon {

class ViewUpper {
 public:
  virtual void on_view(const node::View& view) = 0;
  // A committed fact: the node is lost for good, with all that lived on it.
  virtual void on_node_lost(dvs::NodeId node) = 0;
  // Whether this node may act as an authority; it may, until it is told otherwise.
  virtual void on_frozen(bool is_frozen) = 0;
  // This node itself was declared lost while it could not be heard: what lives here has ended for
  // everybody else.
  virtual void on_own_loss() = 0;

 protected:
  ~ViewUpper() = default;
};

class ViewSource {
 public:
  virtual ~ViewSource() = default;
  // Tells the present view, and from then on every change, on the daemon's loop. `links` may be
  // null; they are started after this. All three outlive stop. Errors: as the source gives them;
  // the daemon does not start then.
  virtual Result<void> start(ViewUpper& upper, boost::asio::io_context& io, NodeLinks* links) = 0;
  // Runs `io` until nothing of the source is left on it. The links still work.
  virtual void stop(boost::asio::io_context& io) = 0;
  // What it knows of the membership, for people and programs, as a JSON object.
  virtual std::string status_json() const = 0;
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
  Result<void> start(ViewUpper& upper, boost::asio::io_context&, NodeLinks*) override {
    upper.on_view(view_);
    return {};
  }
  void stop(boost::asio::io_context&) override {}
  std::string status_json() const override { return R"({"kind":"static"})"; }

 private:
  node::View view_;
};

}  // namespace dvk::daemon

// Express connections: when a relayed conversation is busy, the two daemons set up a connection of
// its own between the two processes and get out of the way.
//
// Only a short cut: the relay stays open, the ends filter what comes twice, and when the connection
// breaks they go back. Nothing here must succeed, and nothing is remembered but what is under way.
#pragma once

#include <map>

#include "dvk/node/local_table.hpp"
#include "dvk/node/output.hpp"
#include "dvk/node/router.hpp"

namespace dvk::node {

class Express {
 public:
  Express(Output& output, LocalTable& locals, Router& router);

  void on_query(const LocalEndpoint& local, const Address& peer);
  void on_offer(NodeId from, const wire::ExpressOffer& offer);
  void on_ready(NodeId from, const wire::ExpressReady& ready);

 private:
  struct Offer {
    Handle handle{};
    NodeId node{};
    Address peer{};
    Bytes secret;
  };

  Output& output_;
  LocalTable& locals_;
  Router& router_;
  Memory<Bytes, Offer, 256> offers_;  // by token
};

}  // namespace dvk::node

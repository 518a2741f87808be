#include "dvk/node/express.hpp"

namespace dvk::node {
namespace {

wire::Route route_to(const Address& peer, NodeId node, bool is_initiator, const Bytes& secret) {
  return {.peer = peer,
          .kind = wire::RouteKind::express,
          .node = node,
          .is_initiator = is_initiator,
          .secret = secret};
}

}  // namespace

Express::Express(Output& output, LocalTable& locals, Router& router)
    : output_(output), locals_(locals), router_(router) {}

void Express::on_query(const LocalEndpoint& local, const Address& peer) {
  const auto node = router_.remote_place_of(local, peer);
  if (!node || local.state != LocalState::active) return;
  const Bytes token = output_.fresh_token();
  if (token.empty()) return;
  const Bytes secret = output_.is_encrypting() ? output_.fresh_token() : Bytes();
  offers_.remember(token, {local.handle, *node, peer, secret});
  output_.to_node(*node, wire::ExpressOffer{local.address, peer, token, secret});
}

void Express::on_offer(NodeId from, const wire::ExpressOffer& offer) {
  const LocalEndpoint* local = locals_.find(offer.to);
  if (local == nullptr || local->state != LocalState::active) return;
  // Only for a conversation that is open here too, and with the node that is asking.
  const auto node = router_.remote_place_of(*local, offer.from);
  if (!node || *node != from || output_.fresh_token().empty()) return;
  output_.expect_express(offer.token, local->handle,
                         route_to(offer.from, from, false, offer.secret));
  output_.to_node(from, wire::ExpressReady{offer.from, offer.to, offer.token});
}

void Express::on_ready(NodeId from, const wire::ExpressReady& ready) {
  const Offer* known = offers_.recall(ready.token);
  if (known == nullptr || known->node != from) return;
  const Offer offer = *known;
  offers_.forget(ready.token);
  if (locals_.find(offer.handle) == nullptr) return;
  output_.dial_express(from, ready.token, offer.handle,
                       route_to(offer.peer, from, true, offer.secret));
}

}  // namespace dvk::node

#include "dvk/node/node_core.hpp"

#include <algorithm>
#include <cstring>

namespace dvk::node {

NodeCore::NodeCore(NodeId self, Output& output, Policy policy)
    : self_(self),
      output_(output),
      policy_(std::move(policy)),
      directory_(self, output, *this, locals_),
      router_(self, output, locals_, directory_, policy_),
      mover_(self, output, locals_, directory_, router_),
      copier_(self, output, locals_, router_),
      express_(output, locals_, router_) {}

NodeCore::~NodeCore() = default;

// --- Beginning and end of endpoints --------------------------------------------------------------

void NodeCore::refuse(Handle handle, Errc error, std::string detail) {
  output_.to_process(handle, wire::Refused{error, std::move(detail)});
}

std::uint64_t NodeCore::ask(Ask question) {
  const std::uint64_t ticket = next_ticket_++;
  asks_.emplace(ticket, question);
  return ticket;
}

Address NodeCore::fresh_address(ContainerId container) {
  const std::uint64_t node = std::uint64_t{dvs::raw(self_)} << dvs::serial_bits;
  return {container, EndpointId{node | output_.fresh_serial()},
          Incarnation{node | output_.fresh_serial()}};
}

void NodeCore::on_hello(Handle handle, ContainerId container, std::uint32_t uid,
                        const wire::Hello& hello, TimePoint now) {
  now_ = now;
  if (locals_.find(handle) != nullptr)
    return refuse(handle, Errc::protocol_violation, "second hello");
  if (hello.version != wire::attach_version) {
    return refuse(handle, Errc::version_mismatch,
                  "libdvk speaks attach version " + std::to_string(hello.version) +
                      ", this dvsd speaks " + std::to_string(wire::attach_version));
  }
  if (hello.kind > wire::HelloKind::adopt) {
    return refuse(handle, Errc::protocol_violation, "unknown kind of hello");
  }
  if (hello.name.size() > wire::max_name_bytes) {
    return refuse(handle, Errc::invalid_argument, "a name has at most 255 bytes");
  }
  if (!hello.name.empty() && !policy_.may_bind(container, {hello.name, uid})) {
    return refuse(handle, Errc::not_permitted,
                  "user " + std::to_string(uid) + " may not bind the name \"" + hello.name + "\"");
  }
  LocalEndpoint& endpoint = locals_.add(
      {.handle = handle, .address = {}, .name = hello.name, .uid = uid, .ring_peers = {}});
  if (hello.kind == wire::HelloKind::adopt) {
    endpoint.address.container = container;
    return adopt(endpoint, hello);
  }
  if (hello.kind == wire::HelloKind::backup && hello.name.empty()) {
    locals_.remove(handle);
    return refuse(handle, Errc::invalid_argument, "a backup needs the name it stands in for");
  }
  locals_.set_address(endpoint, fresh_address(container));
  open(endpoint, hello, now);
}

void NodeCore::open(LocalEndpoint& endpoint, const wire::Hello& hello, TimePoint now) {
  if (hello.name.empty()) return become_active(endpoint);
  endpoint.is_backup = hello.kind == wire::HelloKind::backup;
  endpoint.is_in_directory = true;
  endpoint.state = LocalState::registering;
  const std::uint64_t ticket = ask({Ask::Kind::open, endpoint.handle, 0, endpoint.address, {}});
  directory_.register_endpoint(ticket, endpoint.directory_entry(), Directory::Purpose::opening,
                               now);
}

void NodeCore::adopt(LocalEndpoint& endpoint, const wire::Hello& hello) {
  mover_.on_adopt(endpoint, hello.name, hello.address);
}

void NodeCore::become_active(LocalEndpoint& endpoint) {
  endpoint.state = LocalState::active;
  output_.to_process(endpoint.handle, wire::Welcome{endpoint.address, self_, 0});
  router_.on_local_resumed(
      endpoint);  // others may have learned the address from the directory before
}

void NodeCore::registered(std::uint64_t ticket, Errc error, EndpointId id) {
  if (mover_.owns_ticket(ticket)) return mover_.on_registered(ticket);
  const auto found = asks_.find(ticket);
  if (found == asks_.end()) return;
  const Ask question = found->second;
  asks_.erase(found);
  LocalEndpoint* endpoint = locals_.find(question.handle);
  Address address = question.address;
  if (error == Errc{}) address.id = id;
  // Whatever became of it, it is no backup any more.
  if (question.kind == Ask::Kind::promotion) directory_.unregister(question.old_address, 0);
  if (endpoint == nullptr) return;
  if (error != Errc{}) {
    endpoint->is_in_directory = false;
    return refuse(question.handle, error, "name \"" + endpoint->name + "\"");
  }
  locals_.set_address(*endpoint, address);
  if (question.kind == Ask::Kind::open) return become_active(*endpoint);
  endpoint->state = LocalState::active;
  output_.to_process(endpoint->handle, wire::Promoted{address});
  router_.on_local_resumed(*endpoint);
}

void NodeCore::found(std::uint64_t ticket, Errc error, const Address& address, NodeId node) {
  if (router_.owns_ticket(ticket)) return router_.on_located(ticket, error, node, now_);
  const auto question = asks_.find(ticket);
  if (question == asks_.end()) return;
  const Ask ask = question->second;
  asks_.erase(question);
  if (locals_.find(ask.handle) == nullptr) return;
  output_.to_process(ask.handle, wire::NameResult{ask.request, error, address});
}

// The answer to its registration was lost or did not count, but the directory knows it.
void NodeCore::welcome_backup(LocalEndpoint& endpoint) {
  const auto ask = std::ranges::find_if(asks_, [&](const auto& item) {
    return item.second.handle == endpoint.handle && item.second.kind == Ask::Kind::open;
  });
  if (ask == asks_.end()) return;
  directory_.forget(ask->first);
  asks_.erase(ask);
  become_active(endpoint);
}

// The directory made a backup of ours the primary: it begins a new life under the primary's id.
void NodeCore::promote(const Address& backup, EndpointId id, const std::string& name) {
  LocalEndpoint* endpoint = locals_.find(backup);
  if (endpoint == nullptr || !endpoint->is_backup) return;
  if (endpoint->state == LocalState::registering) welcome_backup(*endpoint);
  if (endpoint->state != LocalState::active) return;
  router_.on_local_end(*endpoint);
  copier_.on_local_end(endpoint->handle);
  Address address = fresh_address(backup.container);
  address.id = id;
  endpoint->ring_peers.clear();
  endpoint->is_backup = false;
  endpoint->state = LocalState::registering;
  locals_.set_address(*endpoint, address);
  const std::uint64_t ticket = ask({Ask::Kind::promotion, endpoint->handle, 0, address, backup});
  directory_.register_endpoint(ticket, {address, name, false}, Directory::Purpose::promotion, now_);
}

void NodeCore::on_process_closed(Handle handle, TimePoint now) {
  now_ = now;
  const LocalEndpoint* found = locals_.find(handle);
  if (found == nullptr) return;
  const LocalEndpoint endpoint = *found;
  copier_.on_local_end(handle);
  const bool has_ended = mover_.on_local_closed(endpoint, now);
  locals_.remove(handle);
  if (!has_ended) end_endpoint(endpoint);
}

void NodeCore::end_endpoint(const LocalEndpoint& endpoint) {
  if (!endpoint.address) return;
  router_.on_local_end(endpoint);
  if (endpoint.is_in_directory) directory_.unregister(endpoint.address, endpoint.moves);
  for (const auto& [ticket, ask] : asks_) {
    const bool is_of_it = ask.handle == endpoint.handle && ask.kind == Ask::Kind::promotion;
    if (is_of_it) directory_.unregister(ask.old_address, 0);
  }
  std::erase_if(asks_, [&](const auto& item) {
    return item.second.handle == endpoint.handle && item.second.kind != Ask::Kind::name;
  });
}

// --- From processes ------------------------------------------------------------------------------

void NodeCore::on_process_message(Handle handle, const wire::ToDaemon& message, BytesView state,
                                  TimePoint now) {
  now_ = now;
  LocalEndpoint* endpoint = locals_.find(handle);
  if (endpoint == nullptr) return;
  struct Visitor {
    NodeCore& core;
    LocalEndpoint& endpoint;
    BytesView state;
    TimePoint now;

    void operator()(const wire::Hello&) {
      core.refuse(endpoint.handle, Errc::protocol_violation, "second hello");
    }
    void operator()(const wire::RouteQuery& query) {
      core.router_.on_route_query(endpoint, query.peer, now);
    }
    void operator()(const wire::NameQuery& query) {
      // One that is being promoted does not know it yet, and waits for its answer all the same.
      if (endpoint.state != LocalState::active && endpoint.state != LocalState::registering) return;
      const std::uint64_t ticket =
          core.ask({Ask::Kind::name, endpoint.handle, query.request, {}, {}});
      core.directory_.lookup(ticket, endpoint.address.container, query.name, now);
    }
    void operator()(const wire::NodesQuery& query) {
      core.output_.to_process(endpoint.handle,
                              wire::NodesResult{query.request, core.view_.members});
    }
    void operator()(const wire::MoveOut& move) {
      core.mover_.on_move_out(endpoint, move.target, state, core.view_, now);
    }
    void operator()(const wire::MoveCancel&) { core.mover_.on_move_cancel(endpoint); }
    void operator()(const wire::AdoptReady&) {
      if (endpoint.state == LocalState::arriving) core.mover_.on_adopt_ready(endpoint);
    }
    void operator()(const wire::ExpressQuery& query) {
      core.express_.on_query(endpoint, query.peer);
    }
    void operator()(const wire::BarrierQuery& query) {
      // Memory is touched only inside calls of this very object, so none is under way now.
      core.output_.to_process(endpoint.handle, wire::Barrier{query.request});
    }
  };
  std::visit(Visitor{*this, *endpoint, state, now}, message);
}

void NodeCore::on_process_packet(Handle handle, const PacketHeader& header, BytesView payload,
                                 TimePoint now) {
  now_ = now;
  const LocalEndpoint* endpoint = locals_.find(handle);
  if (endpoint == nullptr) return;
  const bool is_order = header.kind == wire::PacketKind::copy_request;
  if (is_order && endpoint->state == LocalState::registering) {
    return copier_.refuse(handle, header.token, Errc::not_ready);  // it is being promoted
  }
  if (endpoint->state != LocalState::active) return;
  if (is_order) {
    const auto order = wire::decode_fields<wire::CopyOrder>(payload);
    if (order) copier_.on_order(*endpoint, header.token, *order);
    return;
  }
  if (header.kind == wire::PacketKind::copy_result) return;
  router_.on_packet(*endpoint, header, payload, now);
}

// --- From nodes ----------------------------------------------------------------------------------

Result<void> NodeCore::on_node_message(NodeId from, BytesView message, TimePoint now) {
  now_ = now;
  if (message.empty()) return dvs::fail(Errc::protocol_violation, "empty message");
  const auto form = static_cast<wire::NodeMessageForm>(message[0]);
  const BytesView body = message.subspan(1);
  switch (form) {
    case wire::NodeMessageForm::packet: {
      DVS_TRY(const wire::Packet packet, wire::decode_packet(body));
      if (wire::is_of_daemon(packet.header.kind)) {
        return dvs::fail(Errc::protocol_violation, "a copy's packet from another node");
      }
      router_.on_packet_from_node(from, packet);
      return {};
    }
    case wire::NodeMessageForm::copy_data: {
      DVS_TRY(const auto pieces, wire::decode_copy_data(body));
      copier_.on_data(from, pieces);
      return {};
    }
    case wire::NodeMessageForm::control: {
      DVS_TRY(const wire::NodeMessage decoded, wire::decode_variant<wire::NodeMessage>(body));
      on_control(from, decoded, now);
      return {};
    }
  }
  return dvs::fail(Errc::protocol_violation,
                   "unknown message form " + std::to_string(static_cast<unsigned>(form)));
}

void NodeCore::on_control(NodeId from, const wire::NodeMessage& message, TimePoint now) {
  struct Visitor {
    NodeCore& core;
    NodeId from;
    TimePoint now;

    void operator()(const wire::Open& m) { core.router_.on_open(from, m); }
    void operator()(const wire::Opened& m) { core.router_.on_opened(from, m, now); }
    void operator()(const wire::Gone& m) { core.router_.on_gone(from, m); }
    void operator()(const wire::Moved& m) { core.router_.on_moved(from, m, now); }
    void operator()(const wire::Resumed& m) { core.router_.on_resumed(from, m, now); }
    void operator()(const wire::Register& m) { core.directory_.on_register(from, m); }
    void operator()(const wire::Registered& m) { core.directory_.on_registered(m, now); }
    void operator()(const wire::Unregister& m) { core.directory_.on_unregister(from, m); }
    void operator()(const wire::Lookup& m) { core.directory_.on_lookup(from, m); }
    void operator()(const wire::Locate& m) { core.directory_.on_locate(from, m); }
    void operator()(const wire::LookupResult& m) { core.directory_.on_lookup_result(m, now); }
    void operator()(const wire::Report& m) { core.directory_.on_report(from, m); }
    void operator()(const wire::ReportQuery& m) { core.directory_.on_report_query(from, m, now); }
    void operator()(const wire::Promote& m) { core.directory_.on_promote(m); }
    void operator()(const wire::MovePrepare& m) { core.mover_.on_prepare(from, m, now); }
    void operator()(const wire::MoveMore& m) { core.mover_.on_more(from, m); }
    void operator()(const wire::MoveReady& m) { core.mover_.on_ready(from, m, now); }
    void operator()(const wire::MoveDecision& m) { core.mover_.on_decision(from, m, now); }
    void operator()(const wire::MoveQuery& m) { core.mover_.on_query(from, m); }
    void operator()(const wire::MoveSettled& m) { core.mover_.on_settled(from, m); }
    void operator()(const wire::CopyStart& m) { core.copier_.on_start(from, m); }
    void operator()(const wire::CopyEnd& m) { core.copier_.on_end(from, m); }
    void operator()(const wire::ExpressOffer& m) { core.express_.on_offer(from, m); }
    void operator()(const wire::ExpressReady& m) { core.express_.on_ready(from, m); }
  };
  std::visit(Visitor{*this, from, now}, message);
}

void NodeCore::on_link_up(NodeId node, bool has_restarted, TimePoint now) {
  now_ = now;
  copier_.on_node_broken(node, Errc::unreachable, !has_restarted);
  mover_.on_link_up(node, has_restarted, now);
  router_.on_link_up(node, now);
  directory_.on_link_up(node, has_restarted, now);
}

void NodeCore::on_link_down(NodeId node, TimePoint now) {
  now_ = now;
  copier_.on_node_broken(node, Errc::unreachable);
  mover_.on_link_down(node, now);
  router_.on_link_down(node);
  directory_.on_link_down(node);
}

void NodeCore::on_bulk_room(NodeId, TimePoint now) {
  now_ = now;
}

void NodeCore::install_view(const View& view, TimePoint now) {
  now_ = now;
  view_ = view;
  router_.on_view(view);
  if (!is_frozen_) directory_.install_view(view, now);
}

void NodeCore::set_frozen(bool is_frozen, TimePoint now) {
  now_ = now;
  if (is_frozen == std::exchange(is_frozen_, is_frozen)) return;
  if (is_frozen) {
    directory_.freeze(view_, now);
  } else {
    directory_.thaw(view_, now);
  }
}

void NodeCore::on_node_lost(NodeId node, TimePoint now) {
  now_ = now;
  copier_.on_node_broken(node, Errc::peer_died);
  mover_.on_node_lost(node, now);
  directory_.on_node_lost(node);  // before it is asked about those that lived there
  router_.on_node_lost(node, now);
}

// --- Clock and work ------------------------------------------------------------------------------

void NodeCore::on_tick(TimePoint now) {
  now_ = now;
  directory_.on_tick(now);
  mover_.on_tick(now);
}

TimePoint NodeCore::next_deadline() const {
  return std::min(directory_.next_deadline(), mover_.next_deadline());
}

bool NodeCore::work() {
  return copier_.work();
}

}  // namespace dvk::node

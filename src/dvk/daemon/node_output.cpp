// See node_output.hpp.
#include "dvk/daemon/node_output.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "dvk/daemon/log.hpp"

namespace dvk::daemon {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::fail;
using dvs::runtime::MemoryToRead;
using dvs::runtime::MemoryToWrite;
using wire::NodeMessageForm;

// --- Towards processes
// -------------------------------------------------------------------------------

void NodeOutput::to_process(Handle handle, const wire::ToProcess& message, BytesView state) {
  if (AttachedProcess* process = attach_->find(handle)) attach_->send(*process, message, state);
}

bool NodeOutput::to_ring(Handle handle, const wire::PacketHeader& header, BytesView payload) {
  AttachedProcess* process = attach_->find(handle);
  if (process == nullptr || process->is_doomed) return false;
  Result<bool> pushed = true;
  if (header.kind == wire::PacketKind::copy_result) {
    const auto result = process->push_result(header, payload);
    if (!result) pushed = std::unexpected(result.error());
  } else {
    pushed = process->push(header, payload);
  }
  if (!pushed) {
    attach_->doom(*process, pushed.error());
    return false;
  }
  if (*pushed) {
    attach_->mark_dirty(*process);
  } else {
    ++dropped_packets_;
  }
  return *pushed;
}

// Everything a pair of local endpoints needs to talk without the daemon.
struct NodeOutput::RingEnds {
  SharedFd first_to_second, second_to_first;  // rings
  SharedFd wakes_first, wakes_second;         // waker's ends
  SharedFd first_sleeps, second_sleeps;       // sleeper's ends

  static Result<RingEnds> create() {
    DVS_TRY(dvs::runtime::Fd there, ring::create_ring());
    DVS_TRY(dvs::runtime::Fd back, ring::create_ring());
    DVS_TRY(ring::Bell first, ring::create_bell());
    DVS_TRY(ring::Bell second, ring::create_bell());
    return RingEnds{share(std::move(there)),         share(std::move(back)),
                    share(std::move(first.waker)),   share(std::move(second.waker)),
                    share(std::move(first.sleeper)), share(std::move(second.sleeper))};
  }
};

void NodeOutput::open_ring(Handle first, Handle second, bool is_trusted) {
  AttachedProcess* one = attach_->find(first);
  AttachedProcess* two = attach_->find(second);
  if (one == nullptr || two == nullptr || one->is_doomed || two->is_doomed) return;
  const auto ends = RingEnds::create();
  const auto tell = [&](AttachedProcess& to, const AttachedProcess& peer,
                        std::vector<SharedFd> fds) {
    wire::Route route{.peer = peer.address(), .kind = wire::RouteKind::ring};
    route.node = self_;
    if (!ends) {
      route.kind = wire::RouteKind::gone;
      route.error = Errc::unreachable;
      return attach_->send(to, route, std::vector<SharedFd>{});
    }
    route.is_trusted = is_trusted;
    if (is_trusted) {
      fds.push_back(peer.grants_page());
      fds.push_back(peer.pidfd());
    }
    attach_->send(to, route, std::move(fds));
  };
  if (!ends) {
    spdlog::error("event=ring_failed error={}", log_text(ends.error()));
    tell(*one, *two, {});
    return tell(*two, *one, {});
  }
  tell(*one, *two,
       {ends->first_to_second, ends->second_to_first, two->doorbell_page(), ends->wakes_second,
        ends->first_sleeps});
  tell(*two, *one,
       {ends->second_to_first, ends->first_to_second, one->doorbell_page(), ends->wakes_first,
        ends->second_sleeps});
}

// --- Towards nodes
// -----------------------------------------------------------------------------------

void NodeOutput::send_control(NodeId node, link::Lane lane, const wire::NodeMessage& message) {
  if (links_ == nullptr || !links_->send_control(node, lane, wire::encode_node_message(message))) {
    unreachable_.insert(node);
  }
}

void NodeOutput::to_node(NodeId node, const wire::NodeMessage& message) {
  send_control(node, link::Lane::message, message);
}

void NodeOutput::copy_start_to_node(NodeId node, const wire::CopyStart& start) {
  send_control(node, link::Lane::bulk, start);
}

bool NodeOutput::packet_to_node(NodeId node, const wire::PacketHeader& header, BytesView payload) {
  if (links_ == nullptr || !links_->has_room(node, link::Lane::message)) {
    ++dropped_packets_;
    return false;
  }
  Bytes message = links_->take_buffer(1 + sizeof header + payload.size());
  message[0] = static_cast<std::byte>(NodeMessageForm::packet);
  std::memcpy(message.data() + 1, &header, sizeof header);
  if (!payload.empty()) {
    std::memcpy(message.data() + 1 + sizeof header, payload.data(), payload.size());
  }
  return links_->send(node, link::Lane::message, std::move(message));
}

bool NodeOutput::has_bulk_room(NodeId node) {
  return links_ != nullptr && links_->has_room(node, link::Lane::bulk);
}

// --- Express
// -----------------------------------------------------------------------------------------

namespace {

link::ExpressToken to_token(const Bytes& bytes) {
  link::ExpressToken token{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), token.size()), token.begin());
  return token;
}

}  // namespace

Bytes NodeOutput::fresh_token() {
  Bytes token(std::tuple_size_v<link::ExpressToken>);
  if (links_ == nullptr ||
      getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size())) {
    token.clear();
  }
  return token;
}

NodeLinks::ThenSocket NodeOutput::hand_to(Handle handle, const wire::Route& route) {
  return [this, handle, route](dvs::runtime::Fd socket) {
    AttachedProcess* process = attach_->find(handle);
    if (process != nullptr) attach_->send(*process, route, {share(std::move(socket))});
  };
}

void NodeOutput::dial_express(NodeId node, const Bytes& token, Handle handle,
                              const wire::Route& route) {
  links_->dial_express(node, to_token(token), hand_to(handle, route));
}

void NodeOutput::expect_express(const Bytes& token, Handle handle, const wire::Route& route) {
  if (token.size() != std::tuple_size_v<link::ExpressToken>) return;
  links_->expect_express(to_token(token), hand_to(handle, route));
}

// --- Memory
// ------------------------------------------------------------------------------------------

namespace {

// Finds the memory that a side of a copy means, and the right to it.
struct Place {
  const ProcessMemory* memory;
  std::uint64_t address;
};
Result<Place> find_place(AttachServer& attach, const node::MemoryPlace& place, std::size_t bytes,
                         grant::Access access) {
  AttachedProcess* process = attach.find(place.owner);
  if (process == nullptr) return fail(Errc::peer_died, "the endpoint has ended");
  DVS_TRY(const std::uint64_t address,
          check_access(process->grants(), process->address(), place.orderer, place.side,
                       place.position, bytes, access));
  DVS_TRY(const ProcessMemory* memory, process->memory());
  return Place{memory, address};
}

// Calls `move` for each run of pieces in the same memory, with their indices. Pieces of a run that
// failed are tried one by one, to know which ones it was.
template <class Piece, class Move>
void move_runs(std::span<Piece> pieces, const std::vector<const ProcessMemory*>& memory,
               const Move& move) {
  const auto move_run = [&](std::size_t begin, std::size_t end) {
    const Result<void> result = move(begin, end);
    for (std::size_t i = begin; i < end; ++i) {
      pieces[i].result = !result && end - begin > 1 ? move(i, i + 1) : result;
    }
  };
  for (std::size_t begin = 0; begin < pieces.size();) {
    std::size_t end = begin + 1;
    if (memory[begin] != nullptr) {
      while (end < pieces.size() && memory[end] == memory[begin]) ++end;
      move_run(begin, end);
    }
    begin = end;
  }
}

// Takes those that could not be read out of the message.
void drop_failed(Bytes& message, std::span<const node::PieceToSend> pieces) {
  std::size_t at = 1;
  for (const node::PieceToSend& piece : pieces) {
    const auto begin = message.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t bytes = sizeof piece.head + piece.head.bytes;
    if (piece.result) {
      at += bytes;
    } else {
      message.erase(begin, begin + static_cast<std::ptrdiff_t>(bytes));
    }
  }
}

}  // namespace

Result<void> NodeOutput::read_memory(const node::MemoryPlace& place, std::span<std::byte> into) {
  DVS_TRY(const Place found, find_place(*attach_, place, into.size(), grant::Access::read));
  return found.memory->read(found.address, into);
}

void NodeOutput::write_pieces(std::span<node::PieceToWrite> pieces) {
  std::vector<const ProcessMemory*> memory(pieces.size());
  std::vector<MemoryToWrite> writes(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    node::PieceToWrite& piece = pieces[i];
    const auto place = find_place(*attach_, piece.to, piece.bytes.size(), grant::Access::write);
    if (place) {
      memory[i] = place->memory;
      writes[i] = {place->address, piece.bytes};
    } else {
      piece.result = std::unexpected(place.error());
    }
  }
  move_runs(pieces, memory, [&](std::size_t begin, std::size_t end) {
    return memory[begin]->write(std::span(writes).subspan(begin, end - begin));
  });
}

void NodeOutput::send_pieces(NodeId node, std::span<node::PieceToSend> pieces) {
  std::vector<const ProcessMemory*> memory(pieces.size());
  std::vector<MemoryToRead> reads(pieces.size());
  std::size_t bytes = 1;
  for (const node::PieceToSend& piece : pieces) bytes += sizeof piece.head + piece.head.bytes;
  Bytes message = links_->take_buffer(bytes);
  message[0] = static_cast<std::byte>(NodeMessageForm::copy_data);
  std::span<std::byte> rest = std::span(message).subspan(1);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    node::PieceToSend& piece = pieces[i];
    std::memcpy(rest.data(), &piece.head, sizeof piece.head);
    reads[i].into = rest.subspan(sizeof piece.head, piece.head.bytes);
    rest = rest.subspan(sizeof piece.head + piece.head.bytes);
    const auto place = find_place(*attach_, piece.from, piece.head.bytes, grant::Access::read);
    if (place) {
      memory[i] = place->memory;
      reads[i].address = place->address;
    } else {
      piece.result = std::unexpected(place.error());
    }
  }
  move_runs(pieces, memory, [&](std::size_t begin, std::size_t end) {
    return memory[begin]->read(std::span(reads).subspan(begin, end - begin));
  });
  drop_failed(message, pieces);
  if (message.size() > 1 && !links_->send(node, link::Lane::bulk, std::move(message))) {
    for (node::PieceToSend& piece : pieces) {
      if (piece.result) piece.result = fail(Errc::unreachable, "the link is down");
    }
  }
}

// --- Identity
// ----------------------------------------------------------------------------------------

// Going on without fresh numbers would break the law that none is given twice: better to stop.
std::uint64_t NodeOutput::fresh_serial() {
  const auto serial = serials_.give();
  if (serial) return *serial;
  spdlog::critical("event=out_of_serials error={}", log_text(serial.error()));
  std::_Exit(1);
}

}  // namespace dvk::daemon

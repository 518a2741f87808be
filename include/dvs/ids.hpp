// Strong identifiers. An id of one kind never converts to another by accident.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

#include <dvs/export.hpp>

namespace dvs {

enum class NodeId : std::uint16_t {};       // 1..65535 within a cluster; 0 is "no node"
enum class ContainerId : std::uint32_t {};  // never reused within a cluster; 0 is "none"
enum class EndpointId : std::uint64_t {};   // identity of a service: kept by moves and promotions
enum class Incarnation : std::uint64_t {};  // one life of an endpoint; unique over all lives

constexpr NodeId no_node{0};

template <class E>
  requires std::is_enum_v<E>
constexpr std::underlying_type_t<E> raw(E id) noexcept {
  return static_cast<std::underlying_type_t<E>>(id);
}

// Endpoint ids and incarnations are both drawn from one counter per node, kept on disk:
// the node that made them in the upper 16 bits, its serial number below.
constexpr std::uint64_t serial_bits = 48;
// Where this life began: the first guess where the endpoint is.
constexpr NodeId birth_node(Incarnation incarnation) noexcept {
  return static_cast<NodeId>(raw(incarnation) >> serial_bits);
}

// Address of one life of one endpoint. Two addresses with the same id and different incarnations
// are the same service before and after a restart or a promotion.
struct Address {
  ContainerId container{};
  EndpointId id{};
  Incarnation incarnation{};

  friend constexpr auto operator<=>(const Address&, const Address&) = default;
  constexpr explicit operator bool() const noexcept { return raw(id) != 0; }
};

// "c1:2.17#2.18": container, birth node and serial of the id, birth node and serial of the life.
DVS_EXPORT std::string to_string(const Address& address);

}  // namespace dvs

template <>
struct std::hash<dvs::Address> {
  std::size_t operator()(const dvs::Address& address) const noexcept {
    const std::uint64_t mixed = dvs::raw(address.id) * 0x9E3779B97F4A7C15U ^
                                dvs::raw(address.incarnation) * 0xC2B2AE3D27D4EB4FU ^
                                dvs::raw(address.container);
    return static_cast<std::size_t>(mixed ^ (mixed >> 29));
  }
};

// For tests of message structs: gives every field a value of its own, counts fields, and checks
// what holds for the encoding of any message.
#pragma once

#include <cstddef>
#include <utility>

#include <gtest/gtest.h>

#include "dvk/wire/codec.hpp"

namespace dvk::wire {

// Fills fields with values that are all different and never the default.
class FieldFiller {
 public:
  template <class... T>
  void operator()(T&... values) {
    (fill(values), ...);
  }

 private:
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = true;
    } else {
      ++next_;
      auto* bytes = reinterpret_cast<unsigned char*>(&value);
      for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<unsigned char>(next_ + i);
    }
  }
  void fill(std::string& text) { text = "text " + std::to_string(++next_); }
  void fill(dvs::Bytes& bytes) { bytes.assign(3, static_cast<std::byte>(++next_)); }
  void fill(dvs::Address& address) { (*this)(address.container, address.id, address.incarnation); }
  template <class T>
  void fill(std::vector<T>& items) {
    items.resize(2);
    for (T& item : items) fill(item);
  }
  template <class T>
    requires requires(T value, FieldFiller& filler) { value.fields(filler); }
  void fill(T& value) {
    value.fields(*this);
  }

  unsigned next_ = 0;
};

struct FieldCounter {
  std::size_t count = 0;
  template <class... T>
  void operator()(T&...) {
    count += sizeof...(T);
  }
};

struct AnyField {
  template <class T>
  operator T() const;
};
// How many members a struct has.
template <class T, class... Members>
consteval std::size_t member_count() {
  if constexpr (requires { T{Members{}..., AnyField{}}; }) {
    return member_count<T, Members..., AnyField>();
  } else {
    return sizeof...(Members);
  }
}

template <class T>
void expect_all_members_listed() {
  T value;
  FieldCounter counter;
  value.fields(counter);
  EXPECT_EQ(counter.count, member_count<T>()) << "a member is missing in fields(), or listed twice";
}

// What decodes, is the one encoding of what it decodes to.
template <class Variant>
void expect_canonical_or_refused(dvs::BytesView bytes) {
  const auto decoded = decode_variant<Variant>(bytes);
  if (decoded) {
    EXPECT_EQ(encode_variant(*decoded), dvs::to_bytes(bytes));
  } else {
    EXPECT_EQ(decoded.error().code, dvs::Errc::protocol_violation);
  }
}

// A filled message of this kind: there and back, cut everywhere, and with every byte spoilt.
template <class Variant, class Message>
void check_message() {
  expect_all_members_listed<Message>();
  Message message;
  FieldFiller filler;
  message.fields(filler);
  dvs::Bytes bytes = encode_variant(Variant(message));
  const auto decoded = decode_variant<Variant>(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_TRUE(std::holds_alternative<Message>(*decoded));
  EXPECT_EQ(encode_variant(*decoded), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = decode_variant<Variant>(dvs::BytesView(bytes).first(size));
    ASSERT_FALSE(cut.has_value()) << size;
    EXPECT_EQ(cut.error().code, dvs::Errc::protocol_violation);
  }
  for (std::size_t position = 0; position < bytes.size(); ++position) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      dvs::Bytes spoilt = bytes;
      spoilt[position] ^= std::byte{1} << bit;
      expect_canonical_or_refused<Variant>(spoilt);
    }
  }
  bytes.push_back({});
  EXPECT_FALSE(decode_variant<Variant>(bytes).has_value());
}

template <class Variant>
void check_all_messages() {
  [&]<std::size_t... index>(std::index_sequence<index...>) {
    (
        [] {
          SCOPED_TRACE("alternative " + std::to_string(index));
          check_message<Variant, std::variant_alternative_t<index, Variant>>();
        }(),
        ...);
  }(std::make_index_sequence<std::variant_size_v<Variant>>());
  const std::size_t unknown = std::variant_size_v<Variant>;
  for (std::size_t which = unknown; which < 256; ++which) {
    EXPECT_FALSE(decode_variant<Variant>(dvs::Bytes{static_cast<std::byte>(which)}).has_value());
  }
}

}  // namespace dvk::wire

// Encoding of control messages: each message struct lists its fields once, and the same list writes
// and reads it. Reading checks every length against what is left; a message must be used up
// exactly.
//
//   struct Lookup {
//     std::uint64_t request; std::string name;
//     void fields(auto&& field) { field(request, name); }
//   };
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"

namespace dvk::wire {

constexpr std::size_t max_name_bytes = 255;

class Writer {
 public:
  explicit Writer(dvs::Bytes& out) : out_(out) {}

  template <class... T>
  void operator()(T&... values) {
    (write(values), ...);
  }

 private:
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void write(T value) {
    append(&value, sizeof(T));
  }
  void append(const void* from, std::size_t bytes) {
    const std::size_t end = out_.size();
    out_.resize(end + bytes);
    if (bytes != 0) std::memcpy(out_.data() + end, from, bytes);
  }
  void write_size(std::size_t size) { write(static_cast<std::uint32_t>(size)); }
  void write(std::string& text) {
    write_size(text.size());
    append(text.data(), text.size());
  }
  void write(dvs::Bytes& bytes) {
    write_size(bytes.size());
    append(bytes.data(), bytes.size());
  }
  void write(dvs::Address& address) { (*this)(address.container, address.id, address.incarnation); }
  template <class T>
  void write(std::vector<T>& items) {
    write_size(items.size());
    for (T& item : items) write(item);
  }
  template <class T>
    requires requires(T value, Writer& writer) { value.fields(writer); }
  void write(T& value) {
    value.fields(*this);
  }

  dvs::Bytes& out_;
};

class Reader {
 public:
  explicit Reader(dvs::BytesView in) : in_(in) {}

  template <class... T>
  void operator()(T&... values) {
    (read(values), ...);
  }
  bool is_good() const { return good_; }
  // Everything read was there, and nothing is left over.
  bool is_complete() const { return good_ && in_.empty(); }

 private:
  bool take(void* target, std::size_t size) {
    if (!good_ || in_.size() < size) return good_ = false;
    if (size != 0) std::memcpy(target, in_.data(), size);
    in_ = in_.subspan(size);
    return true;
  }
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void read(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t number = 0;
      if (take(&number, 1)) {
        value = number == 1;
        if (number > 1) good_ = false;
      }
    } else {
      take(&value, sizeof(T));
    }
  }
  // A length that may be believed: that many bytes at least are there.
  std::size_t read_size(std::size_t least_bytes_each) {
    std::uint32_t size = 0;
    read(size);
    if (!good_ || size > in_.size() / least_bytes_each) {
      good_ = false;
      return 0;
    }
    return size;
  }
  void read(std::string& text) {
    const std::size_t size = read_size(1);
    if (size > max_text_bytes) good_ = false;
    if (!good_) return;
    text.resize(size);
    take(text.data(), size);
  }
  void read(dvs::Bytes& bytes) {
    bytes.resize(read_size(1));
    take(bytes.data(), bytes.size());
  }
  void read(dvs::Address& address) { (*this)(address.container, address.id, address.incarnation); }
  template <class T>
  void read(std::vector<T>& items) {
    const std::size_t size = read_size(1);
    items.clear();
    for (std::size_t i = 0; i < size && good_; ++i) read(items.emplace_back());
  }
  template <class T>
    requires requires(T value, Reader& reader) { value.fields(reader); }
  void read(T& value) {
    value.fields(*this);
  }

  static constexpr std::size_t max_text_bytes = 4096;
  dvs::BytesView in_;
  bool good_ = true;
};

// A variant of message structs as bytes: one byte for which, then its fields.
template <class Variant>
dvs::Bytes encode_variant(const Variant& message) {
  dvs::Bytes bytes;
  bytes.push_back(static_cast<std::byte>(message.index()));
  Writer writer(bytes);
  // The field lists are shared with the reader, hence not const; the writer changes nothing.
  std::visit([&](auto& body) { body.fields(writer); }, const_cast<Variant&>(message));
  return bytes;
}

namespace detail {
template <class Variant, std::size_t index = 0>
bool decode_alternative(std::size_t wanted, Reader& reader, Variant& out) {
  if constexpr (index < std::variant_size_v<Variant>) {
    if (wanted != index) return decode_alternative<Variant, index + 1>(wanted, reader, out);
    out.template emplace<index>().fields(reader);
    return reader.is_complete();
  } else {
    return false;
  }
}
}  // namespace detail

template <class Variant>
dvs::Result<Variant> decode_variant(dvs::BytesView bytes) {
  Variant message;
  if (bytes.empty()) return dvs::fail(dvs::Errc::protocol_violation, "empty message");
  const auto which = static_cast<std::size_t>(bytes[0]);
  Reader reader(bytes.subspan(1));
  if (!detail::decode_alternative(which, reader, message)) {
    return dvs::fail(dvs::Errc::protocol_violation,
                     "malformed control message of type " + std::to_string(which));
  }
  return message;
}

// One struct that lists its fields, by itself. Errors of decoding: protocol_violation.
template <class T>
dvs::Bytes encode_fields(T value) {
  dvs::Bytes bytes{};
  Writer writer(bytes);
  value.fields(writer);
  return bytes;
}
template <class T>
dvs::Result<T> decode_fields(dvs::BytesView bytes) {
  T value;
  Reader reader(bytes);
  value.fields(reader);
  if (!reader.is_complete()) return dvs::fail(dvs::Errc::protocol_violation, "malformed fields");
  return value;
}

}  // namespace dvk::wire

// Writing and reading of fields, and what a reader does with lengths that lie.
#include "dvk/wire/codec.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace dvk::wire {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;

template <class... T>
Bytes write(T... values) {
  Bytes bytes;
  Writer writer(bytes);
  writer(values...);
  return bytes;
}
Bytes raw_bytes(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}
// Reads one value; false if the reader refuses.
template <class T>
bool reads(BytesView bytes, T& value) {
  Reader reader(bytes);
  reader(value);
  return reader.is_complete();
}

TEST(Codec, NumbersLieAsInMemory) {
  EXPECT_EQ(write(std::uint16_t{0x1234}, std::uint8_t{5}), raw_bytes({0x34, 0x12, 5}));
  EXPECT_EQ(write(std::uint64_t{1} << 56), raw_bytes({0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(write(Errc::name_in_use), raw_bytes({4, 0}));
  EXPECT_EQ(write(true, false), raw_bytes({1, 0}));
}

TEST(Codec, TextsAndListsCarryTheirLength) {
  EXPECT_EQ(write(std::string("ab")), raw_bytes({2, 0, 0, 0, 'a', 'b'}));
  EXPECT_EQ(write(Bytes{std::byte{9}}), raw_bytes({1, 0, 0, 0, 9}));
  EXPECT_EQ(write(std::vector<std::uint16_t>{7, 8}), raw_bytes({2, 0, 0, 0, 7, 0, 8, 0}));
  EXPECT_EQ(write(std::string(), Bytes(), std::vector<std::string>()), Bytes(12));
}

TEST(Codec, ReadsWhatWasWritten) {
  const Address address{dvs::ContainerId{1}, dvs::EndpointId{2}, dvs::Incarnation{3}};
  const Bytes bytes = write(std::uint8_t{200}, std::string("text"), address,
                            std::vector<std::string>{"", "x"}, Bytes(3, std::byte{1}), true);
  std::uint8_t number = 0;
  std::string text;
  Address place;
  std::vector<std::string> texts{"left over"};
  Bytes blob(10);
  bool flag = false;
  Reader reader(bytes);
  reader(number, text, place, texts);
  EXPECT_TRUE(reader.is_good());
  EXPECT_FALSE(reader.is_complete());
  reader(blob, flag);
  EXPECT_TRUE(reader.is_complete());
  EXPECT_EQ(number, 200);
  EXPECT_EQ(text, "text");
  EXPECT_EQ(place, address);
  EXPECT_EQ(texts, (std::vector<std::string>{"", "x"}));
  EXPECT_EQ(blob, Bytes(3, std::byte{1}));
  EXPECT_TRUE(flag);
}

TEST(Codec, AReaderThatFailedStaysFailed) {
  const Bytes bytes = raw_bytes({1, 2, 3});
  Reader reader(bytes);
  std::uint32_t large = 77;
  std::uint8_t small = 77;
  reader(large);
  EXPECT_FALSE(reader.is_good());
  EXPECT_EQ(large, 77U);
  reader(small);  // would have been there
  EXPECT_EQ(small, 77U);
  EXPECT_FALSE(reader.is_complete());
}

TEST(Codec, ATruthIsZeroOrOne) {
  bool value = false;
  EXPECT_TRUE(reads(raw_bytes({1}), value));
  EXPECT_TRUE(value);
  EXPECT_TRUE(reads(raw_bytes({0}), value));
  EXPECT_FALSE(value);
  EXPECT_FALSE(reads(raw_bytes({2}), value));
  EXPECT_FALSE(reads(raw_bytes({255}), value));
  EXPECT_FALSE(reads({}, value));
}

TEST(Codec, ALengthBeyondWhatIsThereIsRefused) {
  for (const int length : {3, 255}) {
    const Bytes bytes = raw_bytes({length, 0, 0, 0, 1, 1});
    std::string text;
    Bytes blob;
    std::vector<std::uint8_t> list;
    EXPECT_FALSE(reads(bytes, text));
    EXPECT_FALSE(reads(bytes, blob));
    EXPECT_FALSE(reads(bytes, list));
    EXPECT_TRUE(blob.empty());
    EXPECT_TRUE(list.empty());
  }
}

// No memory is taken for what cannot be there.
TEST(Codec, AHugeLengthCostsNothing) {
  Bytes bytes = write(std::numeric_limits<std::uint32_t>::max());
  bytes.resize(100);
  std::string text;
  Bytes blob;
  std::vector<Address> list;
  EXPECT_FALSE(reads(bytes, text));
  EXPECT_FALSE(reads(bytes, blob));
  EXPECT_FALSE(reads(bytes, list));
  EXPECT_EQ(text.capacity(), std::string().capacity());
  EXPECT_EQ(blob.capacity(), 0U);
  EXPECT_EQ(list.capacity(), 0U);
}

// As many items as bytes left may be announced, so the list must end with the bytes.
TEST(Codec, AListEndsWhereTheBytesEnd) {
  Bytes bytes = write(std::uint32_t{96});
  bytes.resize(4 + 96);
  std::vector<Address> list;
  EXPECT_FALSE(reads(bytes, list));
  EXPECT_LE(list.size(), 5U);  // 20 bytes each
}

TEST(Codec, ATextHasAtMost4096Bytes) {
  std::string text;
  EXPECT_TRUE(reads(write(std::string(4096, 'x')), text));
  EXPECT_EQ(text.size(), 4096U);
  EXPECT_FALSE(reads(write(std::string(4097, 'x')), text));
}

TEST(Codec, ATextMayHoldAnyByte) {
  std::string all;
  for (int value = 0; value < 256; ++value) all.push_back(static_cast<char>(value));
  std::string text;
  EXPECT_TRUE(reads(write(all), text));
  EXPECT_EQ(text, all);
}

struct One {
  std::uint8_t value = 0;
  void fields(auto&& field) { field(value); }
};
struct Nested {
  std::vector<One> items;
  One last;
  void fields(auto&& field) { field(items, last); }
};
struct Empty {
  void fields(auto&&) {}
};
using Either = std::variant<One, Nested, Empty>;

TEST(Codec, AVariantIsOneByteAndItsFields) {
  EXPECT_EQ(encode_variant(Either(One{7})), raw_bytes({0, 7}));
  EXPECT_EQ(encode_variant(Either(Nested{{One{1}, One{2}}, One{3}})),
            raw_bytes({1, 2, 0, 0, 0, 1, 2, 3}));
  EXPECT_EQ(encode_variant(Either(Empty{})), raw_bytes({2}));
  const auto decoded = decode_variant<Either>(raw_bytes({1, 2, 0, 0, 0, 1, 2, 3}));
  ASSERT_TRUE(decoded.has_value());
  ASSERT_TRUE(std::holds_alternative<Nested>(*decoded));
  EXPECT_EQ(std::get<Nested>(*decoded).items.at(1).value, 2);
  EXPECT_EQ(std::get<Nested>(*decoded).last.value, 3);
  EXPECT_TRUE(std::holds_alternative<Empty>(*decode_variant<Either>(raw_bytes({2}))));
}

TEST(Codec, AVariantIsUsedUpExactly) {
  for (const auto& bytes : {raw_bytes({}), raw_bytes({0}), raw_bytes({0, 1, 2}), raw_bytes({2, 0}),
                            raw_bytes({3}), raw_bytes({255}), raw_bytes({1, 1, 0, 0, 0, 1})}) {
    const auto decoded = decode_variant<Either>(bytes);
    ASSERT_FALSE(decoded.has_value()) << bytes.size();
    EXPECT_EQ(decoded.error().code, Errc::protocol_violation);
  }
}

}  // namespace
}  // namespace dvk::wire

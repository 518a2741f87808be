#include <dvs/error.hpp>
#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include <gtest/gtest.h>

namespace dvs {
namespace {

TEST(Error, EveryCodeHasANameAndTheClassOfItsRange) {
  EXPECT_EQ(class_of(Errc::unknown_endpoint), ErrorClass::refused);
  EXPECT_EQ(class_of(Errc::queue_full), ErrorClass::retry);
  EXPECT_EQ(class_of(Errc::unreachable), ErrorClass::outcome_unknown);
  EXPECT_EQ(class_of(Errc::system), ErrorClass::fatal);
  EXPECT_EQ(name_of(Errc::grant_revoked), "grant_revoked");
}

TEST(Error, TextNamesCodeClassDetailAndCause) {
  const Error error{Errc::system, ENOENT, "open /x"};
  EXPECT_EQ(to_string(error), "system (fatal): open /x: No such file or directory");
}

Result<int> doubled(Result<int> input) {
  DVS_TRY(const int value, std::move(input));
  return value * 2;
}

TEST(Result, TryPassesValuesAndErrorsOn) {
  EXPECT_EQ(doubled(21).value(), 42);
  EXPECT_EQ(doubled(fail(Errc::would_block)).error().code, Errc::would_block);
}

TEST(Address, NamesNodesAndSerials) {
  const Address address{ContainerId{1}, EndpointId{(2ULL << serial_bits) | 17},
                        Incarnation{(2ULL << serial_bits) | 18}};
  EXPECT_EQ(to_string(address), "c1:2.17#2.18");
  EXPECT_EQ(birth_node(address.incarnation), NodeId{2});
}

}  // namespace
}  // namespace dvs

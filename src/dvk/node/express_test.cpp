// Express connections are only set up between ends that have an open conversation with each other.
#include "dvk/node/express.hpp"

#include <gtest/gtest.h>

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

class ExpressTest : public ClusterTest {
 protected:
  ExpressTest() : a(open(1)), b(open(2)) {
    for (unsigned number = 1; number <= node_count; ++number) node(number).has_express = true;
    join(a, b);
  }
  Process a, b;
};

TEST_F(ExpressTest, BothSidesGetTheSameTokenAndSecret) {
  tell(a, wire::ExpressQuery{b.address});
  settle();
  ASSERT_EQ(node(2).expected.size(), 1U);
  ASSERT_EQ(node(1).dialled.size(), 1U);
  const auto& expected = node(2).expected[0];
  const auto& dialled = node(1).dialled[0];
  EXPECT_EQ(dialled.node, id(2));
  EXPECT_EQ(dialled.token, expected.token);
  EXPECT_EQ(dialled.handle, a.handle);
  EXPECT_EQ(expected.handle, b.handle);
  EXPECT_EQ(dialled.route.kind, Kind::express);
  EXPECT_EQ(dialled.route.peer, b.address);
  EXPECT_EQ(expected.route.peer, a.address);
  EXPECT_TRUE(dialled.route.is_initiator);
  EXPECT_FALSE(expected.route.is_initiator);
  EXPECT_EQ(dialled.route.secret, expected.route.secret);
  EXPECT_NE(dialled.route.secret, dialled.token);
  EXPECT_TRUE(both_ways(a, b));  // the relay stays
}

TEST_F(ExpressTest, NotWithoutAnOpenConversation) {
  const Process c = open(1), near = open(1);
  tell(c, wire::ExpressQuery{b.address});
  query(a, near.address);
  tell(a, wire::ExpressQuery{near.address});
  tell(a, wire::ExpressQuery{a.address});
  settle();
  for (unsigned number = 1; number <= node_count; ++number) {
    EXPECT_TRUE(node(number).expected.empty());
    EXPECT_TRUE(node(number).dialled.empty());
  }
}

TEST_F(ExpressTest, AnOfferOfAnotherNodeOrToNobodyIsIgnored) {
  const Bytes token(32, std::byte{1});
  EXPECT_TRUE(inject(3, 2, wire::ExpressOffer{a.address, b.address, token, token}).has_value());
  EXPECT_TRUE(inject(1, 2, wire::ExpressOffer{b.address, a.address, token, token}).has_value());
  const Address nobody{ContainerId{1}, EndpointId{9}, Incarnation{9}};
  EXPECT_TRUE(inject(1, 2, wire::ExpressOffer{a.address, nobody, token, token}).has_value());
  EXPECT_TRUE(inject(1, 2, wire::ExpressOffer{nobody, b.address, token, token}).has_value());
  settle();
  EXPECT_TRUE(node(2).expected.empty());
}

TEST_F(ExpressTest, OnlyTheNodeThatWasAskedMakesItDialAndOnce) {
  tell(a, wire::ExpressQuery{b.address});
  const auto offers = node(1).under_way<wire::ExpressOffer>(id(2));
  ASSERT_EQ(offers.size(), 1U);
  const wire::ExpressReady ready{a.address, b.address, offers[0].token};
  EXPECT_TRUE(inject(3, 1, ready).has_value());
  EXPECT_TRUE(inject(2, 1, wire::ExpressReady{a.address, b.address, Bytes(32)}).has_value());
  EXPECT_TRUE(node(1).dialled.empty());
  EXPECT_TRUE(inject(2, 1, ready).has_value());
  EXPECT_TRUE(inject(2, 1, ready).has_value());
  EXPECT_EQ(node(1).dialled.size(), 1U);
}

TEST_F(ExpressTest, EndsThatAreGoneGetNoConnection) {
  tell(a, wire::ExpressQuery{b.address});
  deliver(1, 2);
  close(a);
  settle();
  EXPECT_TRUE(node(1).dialled.empty());
}

}  // namespace
}  // namespace dvk::node

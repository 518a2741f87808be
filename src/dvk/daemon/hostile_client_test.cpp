// Processes that do what they like on the attach socket and in their rings: each may lose its own
// connection, and nothing else may happen. After every attack an honest process must still be
// served.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "dvk/daemon/dvsd_process.hpp"
#include "dvk/daemon/raw_client.hpp"
#include "dvk/ring/layout.hpp"
#include "runtime/memory.hpp"
#include "runtime/unix_socket.hpp"

namespace dvk::daemon::test {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::runtime::Fd;

class HostileClient : public testing::Test {
 protected:
  void SetUp() override {
    auto started = DvsdProcess::start(directory_.path());
    ASSERT_TRUE(started) << started.error().detail;
    dvsd_ = std::move(*started);
    auto honest = RawClient::attach(dvsd_->socket());
    ASSERT_TRUE(honest) << dvs::to_string(honest.error());
    honest_.emplace(std::move(*honest));
  }

  // The daemon lives, an old connection works, and new ones are let in.
  void TearDown() override {
    ASSERT_TRUE(dvsd_->is_running()) << dvsd_->log();
    ASSERT_TRUE(honest_->say(wire::NodesQuery{77}));
    const auto nodes = honest_->hear_one<wire::NodesResult>();
    ASSERT_TRUE(nodes) << dvs::to_string(nodes.error());
    EXPECT_EQ(nodes->request, 77U);
    auto other = RawClient::attach(dvsd_->socket());
    ASSERT_TRUE(other) << dvs::to_string(other.error());
    EXPECT_TRUE(other->route_to(honest_->address, wire::RouteKind::ring));
    EXPECT_EQ(dvsd_->end(SIGTERM), 0) << dvsd_->log();
  }

  RawClient connected() { return *RawClient::connect(dvsd_->socket()); }
  RawClient attached() { return *RawClient::attach(dvsd_->socket()); }
  void expect_refused(RawClient& client, Errc error) {
    const auto refused = client.hear_one<wire::Refused>();
    ASSERT_TRUE(refused) << dvs::to_string(refused.error());
    EXPECT_EQ(refused->error, error) << refused->detail;
    EXPECT_TRUE(client.is_closed());
  }

  // Runs the attack in a process of its own, which then ends however it likes.
  void in_process(const std::function<void()>& attack) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      attack();
      ::_exit(0);
    }
    ::waitpid(pid, nullptr, 0);
  }

  TemporaryDirectory directory_;
  std::unique_ptr<DvsdProcess> dvsd_;
  std::optional<RawClient> honest_;
};

TEST_F(HostileClient, GoesAwayWithoutAWord) {
  for (int i = 0; i < 50; ++i) in_process([&] { auto client = connected(); });
  EXPECT_TRUE(dvsd_->wait_for_status("\"connections\":1,"));
}

TEST_F(HostileClient, SaysNothingAndIsClosed) {
  auto client = connected();
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HostileClient, BeginsWithSomethingElse) {
  auto client = connected();
  ASSERT_TRUE(client.say(wire::NodesQuery{1}));
  expect_refused(client, Errc::protocol_violation);
}

TEST_F(HostileClient, SaysEveryBeginningOfHello) {
  wire::Hello hello;
  hello.name = "name";
  const Bytes whole = wire::encode_variant(wire::ToDaemon{hello});
  for (std::size_t size = 1; size < whole.size(); ++size) {
    auto client = connected();
    ASSERT_TRUE(client.say_bytes(BytesView(whole).first(size),
                                 {client.waiter.page_fd(), client.grants.page_fd()}));
    expect_refused(client, Errc::protocol_violation);
  }
}

TEST_F(HostileClient, SpeaksAnotherVersion) {
  auto client = connected();
  wire::Hello hello;
  hello.version = 999;
  ASSERT_TRUE(client.say(hello));
  expect_refused(client, Errc::version_mismatch);
}

TEST_F(HostileClient, HandsOverTheWrongDescriptors) {
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const Fd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 65536), 0);
  const auto small = dvs::runtime::create_shared_memory("small", 8192);
  ASSERT_TRUE(small);
  for (int variant = 0; variant < 8; ++variant) {
    auto client = connected();
    const int page = client.waiter.page_fd(), grants = client.grants.page_fd();
    const std::vector<std::vector<int>> choices = {{},
                                                   {page},
                                                   {page, grants, page},
                                                   {grants, page},
                                                   {null.get(), grants},
                                                   {page, null.get()},
                                                   {page, unsealed.get()},
                                                   {small->get(), grants}};
    ASSERT_TRUE(client.say(wire::Hello{}, choices[static_cast<std::size_t>(variant)]));
    expect_refused(client, Errc::invalid_argument);
  }
}

TEST_F(HostileClient, SendsMoreDescriptorsThanAnyMessageHas) {
  auto client = connected();
  ASSERT_TRUE(client.say(wire::Hello{}, std::vector<int>(16, client.grants.page_fd())));
  expect_refused(client, Errc::invalid_argument);
  auto other = attached();
  ASSERT_TRUE(other.say(wire::NodesQuery{1}, {other.grants.page_fd()}));
  expect_refused(other, Errc::protocol_violation);
}

TEST_F(HostileClient, SaysRubbish) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    auto client = i % 2 == 0 ? connected() : attached();
    Bytes rubbish(1 + random() % 200);
    for (std::byte& byte : rubbish) byte = static_cast<std::byte>(random());
    rubbish[0] = static_cast<std::byte>(random() % 10);
    ASSERT_TRUE(client.say_bytes(rubbish));
  }
  auto client = attached();
  ASSERT_TRUE(client.say_bytes(Bytes(100'000)));
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HostileClient, SaysHelloTwice) {
  auto client = attached();
  ASSERT_TRUE(client.say(wire::Hello{}));
  expect_refused(client, Errc::protocol_violation);
}

TEST_F(HostileClient, MovesOutWithoutAState) {
  auto client = attached();
  ASSERT_TRUE(client.say(wire::MoveOut{dvs::NodeId{2}, 100}));
  expect_refused(client, Errc::protocol_violation);
  auto second = attached();
  const auto memory = dvs::runtime::create_shared_memory("state", 4096);
  ASSERT_TRUE(second.say(wire::MoveOut{dvs::NodeId{2}, 100'000}, {memory->get()}));
  expect_refused(second, Errc::invalid_argument);
  auto third = attached();
  ASSERT_TRUE(third.say(wire::MoveOut{dvs::NodeId{2}, ~std::uint64_t{0}}, {memory->get()}));
  expect_refused(third, Errc::protocol_violation);
}

TEST_F(HostileClient, WritesRubbishIntoItsRing) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 50; ++i) {
    auto client = attached();
    Bytes record(random() % 300);
    for (std::byte& byte : record) byte = static_cast<std::byte>(random());
    ASSERT_TRUE(client.send_bytes(record));
    EXPECT_TRUE(client.is_closed());
  }
}

TEST_F(HostileClient, LiesAboutTheLengthOfAPacket) {
  auto client = attached();
  wire::PacketHeader header = message_header(client.address, honest_->address, 1, 1000);
  ASSERT_TRUE(
      client.send_bytes(BytesView(reinterpret_cast<const std::byte*>(&header), sizeof header)));
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HostileClient, SendsCopyOrdersThatMakeNoSense) {
  auto client = attached();
  wire::PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  ASSERT_TRUE(client.send(header, Bytes(3)));
  const auto order = [&](wire::CopyOrder what) {
    header.token = 5;
    EXPECT_TRUE(client.send(header, wire::encode_fields(what)));
    const auto result = client.receive();
    EXPECT_TRUE(result);
    EXPECT_EQ(result->first.kind, wire::PacketKind::copy_result);
    EXPECT_EQ(result->first.token, 5U);
    return wire::decode_fields<wire::CopyOutcome>(result->second)->error;
  };
  ASSERT_TRUE(client.route_to(honest_->address, wire::RouteKind::ring));
  wire::CopyOrder what{.source = honest_->address, .target = client.address};
  what.bytes = 100;
  EXPECT_EQ(order(what), Errc::grant_denied);  // no grant for another's memory
  what.source_grant = 12345;
  EXPECT_EQ(order(what), Errc::grant_denied);
  what = {.source = client.address, .target = client.address};
  what.bytes = 100;
  what.source_offset = 16;  // its own memory, but nothing is there
  EXPECT_EQ(order(what), Errc::bad_address);
  what.source_offset = ~std::uint64_t{0} - 50;
  EXPECT_EQ(order(what), Errc::bad_address);
}

// Orders without end, and never a result taken: the daemon must stop taking orders, not pile up
// results.
TEST_F(HostileClient, OrdersCopiesAndNeverTakesTheResults) {
  auto client = attached();
  wire::PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  const Bytes payload = wire::encode_fields(wire::CopyOrder{});
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  const Bytes record = wire::encode_packet(header, payload);
  // More than both rings and a generous queue hold: at some point it is not taken any more.
  std::size_t sent = 0;
  for (int misses = 0; misses < 200 && sent < 200'000;) {
    const bool is_sent = client.producer->try_push(record).value_or(false);
    client.waker->wake();
    misses = is_sent ? 0 : misses + 1;
    sent += is_sent;
    if (!is_sent) ::usleep(1000);
  }
  EXPECT_LT(sent, 200'000U);
  // And waiting for room does not keep the daemon busy.
  const long long before = dvsd_->status("turns");
  ::usleep(200'000);
  EXPECT_LT(dvsd_->status("turns") - before, 100);
  // When they are taken, all of them come.
  for (std::size_t i = 0; i < sent; ++i) ASSERT_TRUE(client.receive()) << i;
}

TEST_F(HostileClient, FloodsControlMessages) {
  in_process([&] {
    auto client = attached();
    (void)dvs::runtime::set_blocking(client.socket.get(), false);
    for (int i = 0; i < 20'000; ++i) {
      (void)client.say(wire::RouteQuery{honest_->address});
      (void)client.say(wire::RouteQuery{{honest_->address.container, dvs::EndpointId{1},
                                         dvs::Incarnation{static_cast<std::uint64_t>(i)}}});
    }
  });
}

// The victim sleeps while it is bothered; it must not lose its connection for that.
TEST_F(HostileClient, CannotHaveAnotherThrownOutByFillingItsQueue) {
  auto victim = attached();
  auto client = attached();
  (void)dvs::runtime::set_blocking(client.socket.get(), false);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  int sent = 0;
  Bytes buffer(4096);
  while (std::chrono::steady_clock::now() < end) {
    sent += client.say(wire::RouteQuery{victim.address}).has_value();
    while (dvs::runtime::receive_packet(client.socket.get(), buffer, dvs::runtime::Wait::no)) {
    }
  }
  EXPECT_GT(sent, 1024);
  ASSERT_TRUE(victim.say(wire::NodesQuery{5}));
  EXPECT_TRUE(victim.hear_one<wire::NodesResult>());
}

TEST_F(HostileClient, NeverReadsAndIsThrownOut) {
  auto client = attached();
  (void)dvs::runtime::set_blocking(client.socket.get(), false);
  // Answers that are never taken; sooner or later the daemon has had enough.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  bool is_closed = false;
  while (!is_closed && std::chrono::steady_clock::now() < deadline) {
    const auto said = client.say(wire::NodesQuery{1});
    if (said) continue;
    is_closed = said.error() != Errc::would_block;
    ::usleep(100);
  }
  EXPECT_TRUE(is_closed);
}

// A child inherits the connection and keeps filling the ring after its parent has closed the
// socket.
TEST_F(HostileClient, DiesInTheMiddleOfSending) {
  for (int i = 0; i < 20; ++i) {
    in_process([&] {
      auto client = attached();
      const auto header = message_header(client.address, honest_->address, 1, 5000);
      const Bytes record = wire::encode_packet(header, Bytes(5000));
      for (int n = 0; n < 1000; ++n) {
        (void)client.producer->push(record);
        if (n % 10 == 9) client.producer->publish();
      }
      client.waker->wake();
    });
  }
  EXPECT_TRUE(dvsd_->wait_for_status("\"connections\":1,"));
}

TEST_F(HostileClient, MovesTheTailOfItsRingAsItLikes) {
  auto client = connected();
  ASSERT_TRUE(client.say_hello());
  auto welcome = client.hear();
  ASSERT_TRUE(welcome);
  auto memory = ring::Memory::map(welcome->fds.at(0).get());
  ASSERT_TRUE(memory);
  (*memory)->control().tail.store(~std::uint64_t{0} - 7);
  auto waker = ring::Waker::attach(welcome->fds[2].get(), std::move(welcome->fds[3]));
  waker->wake();
  EXPECT_TRUE(client.is_closed());
}

TEST(AttachLimits, AContainerAndTheNodeTakeOnlySoMany) {
  const TemporaryDirectory directory;
  const auto config = directory.path() / "dvsd.toml";
  FILE* file = std::fopen(config.c_str(), "w");
  std::fprintf(file,
               "endpoints_max = 5\n[[containers]]\nid = 1\nname = \"one\"\nendpoints_max = 3\n"
               "[[containers]]\nid = 2\nname = \"two\"\n");
  std::fclose(file);
  auto dvsd = DvsdProcess::start(directory.path(), {"--config", config.string()});
  ASSERT_TRUE(dvsd) << dvsd.error().detail;
  const std::string one = (*dvsd)->socket("dvk-one.sock"), two = (*dvsd)->socket("dvk-two.sock");
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(*RawClient::attach(one));
  EXPECT_EQ(RawClient::attach(one).error(), Errc::queue_full);
  for (int i = 0; i < 2; ++i) clients.push_back(*RawClient::attach(two));
  EXPECT_EQ(RawClient::attach(two).error(), Errc::queue_full);
  EXPECT_EQ(clients.back().address.container, dvs::ContainerId{2});
  clients.erase(clients.begin());
  ASSERT_TRUE((*dvsd)->wait_for_status("\"connections\":4,"));
  EXPECT_TRUE(RawClient::attach(one));
}

}  // namespace
}  // namespace dvk::daemon::test

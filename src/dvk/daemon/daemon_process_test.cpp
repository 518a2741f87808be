// The real dvsd in processes of its own: beginning, ending, directories, and what one node does
// alone.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

#include "dvk/daemon/dvsd_process.hpp"
#include "dvk/daemon/raw_client.hpp"

namespace dvk::daemon::test {
namespace {

using dvs::Bytes;
using dvs::Errc;
namespace fs = std::filesystem;

TEST(Dvsd, EndsInOrderOnEverySignalAndOnCommand) {
  const TemporaryDirectory directory;
  std::uint64_t last = 0;
  for (const int signal : {SIGTERM, SIGINT, 0}) {
    auto dvsd = DvsdProcess::start(directory.path());
    ASSERT_TRUE(dvsd) << dvsd.error().detail;
    auto client = RawClient::attach((*dvsd)->socket());
    ASSERT_TRUE(client) << dvs::to_string(client.error());
    // Nothing is skipped by a clean stop: boot, then id and incarnation.
    const std::uint64_t serial = dvs::raw(client->address.incarnation) & 0xFFFFFFFFFFFF;
    EXPECT_EQ(serial, last + 3);
    last = serial;
    if (signal == 0) {
      EXPECT_EQ((*dvsd)->ask("stop"), "{\"ok\":true}\n");
    }
    EXPECT_EQ((*dvsd)->end(signal), 0) << (*dvsd)->log();
    EXPECT_TRUE(client->is_closed());
    EXPECT_FALSE(fs::exists(directory.path() / "run" / "dvk.sock"));
    EXPECT_FALSE(fs::exists(directory.path() / "run" / "control.sock"));
  }
}

TEST(Dvsd, IgnoresALostTerminal) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path());
  ASSERT_TRUE(dvsd);
  ::kill((*dvsd)->pid(), SIGHUP);
  EXPECT_TRUE(RawClient::attach((*dvsd)->socket()));
  EXPECT_TRUE((*dvsd)->is_running());
}

TEST(Dvsd, AfterAKillNoNumberIsGivenAgain) {
  const TemporaryDirectory directory;
  dvs::Incarnation last{};
  for (int life = 0; life < 3; ++life) {
    auto dvsd = DvsdProcess::start(directory.path());
    ASSERT_TRUE(dvsd) << dvsd.error().detail;
    for (int i = 0; i < 5; ++i) {
      const auto client = RawClient::attach((*dvsd)->socket());
      ASSERT_TRUE(client);
      EXPECT_GT(client->address.incarnation, last);
      last = client->address.incarnation;
    }
    (*dvsd)->end(SIGKILL);
  }
}

TEST(Dvsd, ASecondOneOnTheSameDirectoriesNamesTheFirst) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path());
  ASSERT_TRUE(dvsd);
  const std::string state = directory.path() / "state", run = directory.path() / "run";
  for (const auto& [state_dir, run_dir] :
       {std::pair{state, run + "2"}, std::pair{state + "2", run}}) {
    const Outcome second = run_dvsd({"--state-dir", state_dir, "--run-dir", run_dir});
    EXPECT_EQ(second.exit_code, 1);
    EXPECT_NE(second.output.find("pid " + std::to_string((*dvsd)->pid())), std::string::npos)
        << second.output;
  }
  EXPECT_TRUE(RawClient::attach((*dvsd)->socket()));
}

TEST(Dvsd, AStateDirectoryOfANewerOneIsLeftAlone) {
  const TemporaryDirectory directory;
  fs::create_directories(directory.path() / "state");
  std::ofstream(directory.path() / "state" / "version") << "1000\n";
  const Outcome outcome =
      run_dvsd({"--state-dir", directory.path() / "state", "--run-dir", directory.path() / "run"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.output.find("newer dvsd"), std::string::npos) << outcome.output;
}

TEST(Dvsd, TellsUsageFromFailure) {
  EXPECT_EQ(run_dvsd({"--version"}).exit_code, 0);
  EXPECT_EQ(run_dvsd({"--help"}).exit_code, 0);
  EXPECT_EQ(run_dvsd({"--no-such-option"}).exit_code, 2);
  EXPECT_EQ(run_dvsd({"--config", "/no/such/file"}).exit_code, 2);
  EXPECT_EQ(run_dvsd({"--node", "0"}).exit_code, 2);
  EXPECT_EQ(run_dvsd({"--peer", "2=127.0.0.1:1"}).exit_code, 2);
  EXPECT_EQ(run_dvsd({"--check-config"}).exit_code, 0);
  EXPECT_EQ(run_dvsd({"pki"}).exit_code, 2);
  const TemporaryDirectory directory;
  EXPECT_EQ(run_dvsd({"pki", "issue", "--dir", directory.path(), "--node", "1"}).exit_code, 2);
  EXPECT_EQ(run_dvsd({"control", "--run-dir", directory.path(), "status"}).exit_code, 1);
}

TEST(Dvsd, TellsTheServiceManagerWhenItIsReady) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() / "notify";
  const dvs::runtime::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  auto dvsd = DvsdProcess::start(directory.path());
  ::unsetenv("NOTIFY_SOCKET");
  ASSERT_TRUE(dvsd);
  char text[64] = {};
  ASSERT_GT(::recv(socket.get(), text, sizeof text, 0), 0);
  EXPECT_STREQ(text, "READY=1");
}

TEST(Dvsd, AnswersControlCommands) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path(), {"--node", "7"});
  ASSERT_TRUE(dvsd);
  EXPECT_EQ((*dvsd)->status("node"), 7);
  EXPECT_EQ((*dvsd)->status("endpoints"), 0);
  const auto client = RawClient::attach((*dvsd)->socket());
  EXPECT_EQ((*dvsd)->status("endpoints"), 1);
  EXPECT_EQ((*dvsd)->ask("cut 2"), "{\"ok\":true,\"was_connected\":false}\n");
  EXPECT_NE((*dvsd)->ask("dance").find("unknown command"), std::string::npos);
  struct stat status {};
  ASSERT_EQ(::stat((*dvsd)->socket("control.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

// An idle daemon sleeps: it must not turn round and round.
TEST(Dvsd, SleepsWhenThereIsNothingToDo) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path());
  ASSERT_TRUE(dvsd);
  const auto client = RawClient::attach((*dvsd)->socket());
  ASSERT_TRUE(client);
  const long long before = (*dvsd)->status("turns");
  ::usleep(300'000);
  EXPECT_LT((*dvsd)->status("turns") - before, 100);
}

TEST(LoneNode, JoinsTwoEndpointsByARing) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path());
  ASSERT_TRUE(dvsd);
  wire::Hello hello;
  hello.name = "server";
  auto server = RawClient::attach((*dvsd)->socket(), hello);
  auto client = RawClient::attach((*dvsd)->socket());
  ASSERT_TRUE(server && client);
  EXPECT_EQ(RawClient::attach((*dvsd)->socket(), hello).error(), Errc::name_in_use);
  ASSERT_TRUE(client->say(wire::NameQuery{9, "server"}));
  const auto found = client->hear_one<wire::NameResult>();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address, server->address);
  ASSERT_TRUE(client->say(wire::RouteQuery{server->address}));
  auto near = client->hear();
  auto far = server->hear();
  ASSERT_TRUE(near && far);
  EXPECT_TRUE(std::get<wire::Route>(near->message).is_trusted);
  ASSERT_EQ(near->fds.size(), 7U);
  ASSERT_EQ(far->fds.size(), 7U);
  // What the one puts in the other takes out, and its waiter is woken.
  ring::RingProducer producer(*ring::Memory::map(near->fds[0].get()));
  ring::RingConsumer consumer(*ring::Memory::map(far->fds[1].get()));
  auto waker = ring::Waker::attach(near->fds[2].get(), std::move(near->fds[3]));
  ASSERT_TRUE(waker && server->waiter.add_bell(std::move(far->fds[4])));
  ASSERT_TRUE(producer.try_push(dvs::as_bytes("hello")));
  waker->wake();
  const auto outcome = server->waiter.wait([&] { return consumer.is_ready(); },
                                           std::chrono::steady_clock::now() + patience);
  EXPECT_EQ(outcome, ring::Waiter::Outcome::ready);
  Bytes record;
  EXPECT_EQ(consumer.pop_copy(record), true);
  EXPECT_EQ(dvs::as_text(record), "hello");
  // The end of the one is told to the other.
  server->socket.close();
  const auto gone = client->hear_one<wire::Route>();
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->error, Errc::peer_died);
}

TEST(LoneNode, CopiesMemoryUnderAGrant) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path());
  ASSERT_TRUE(dvsd);
  auto owner = RawClient::attach((*dvsd)->socket());
  auto orderer = RawClient::attach((*dvsd)->socket());
  ASSERT_TRUE(owner && orderer);
  const std::size_t size = 1'000'000;
  Bytes source(size), target(size);
  for (std::size_t i = 0; i < size; ++i) source[i] = static_cast<std::byte>(i * 7);
  const auto grant = owner->grants.give(reinterpret_cast<std::uint64_t>(source.data()), size,
                                        grant::Access::read, orderer->address);
  ASSERT_TRUE(grant && orderer->route_to(owner->address, wire::RouteKind::ring));
  wire::CopyOrder order{.source = owner->address, .target = orderer->address};
  order.source_grant = *grant;
  order.target_offset = reinterpret_cast<std::uint64_t>(target.data());
  order.bytes = size;
  wire::PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  header.token = 3;
  ASSERT_TRUE(orderer->send(header, wire::encode_fields(order)));
  auto result = orderer->receive();
  ASSERT_TRUE(result);
  EXPECT_EQ(wire::decode_fields<wire::CopyOutcome>(result->second)->error, Errc{});
  EXPECT_EQ(source, target);
  ASSERT_TRUE(owner->grants.revoke(*grant));
  ASSERT_TRUE(orderer->send(header, wire::encode_fields(order)));
  result = orderer->receive();
  EXPECT_EQ(wire::decode_fields<wire::CopyOutcome>(result->second)->error, Errc::grant_revoked);
}

// There is no way to that node, and there never will be: whoever asks must be told.
TEST(LoneNode, AnEndpointOfANodeThatIsNotThereIsUnreachable) {
  const TemporaryDirectory directory;
  auto dvsd = DvsdProcess::start(directory.path());
  auto client = RawClient::attach((*dvsd)->socket());
  ASSERT_TRUE(client);
  dvs::Address peer = client->address;
  peer.incarnation = dvs::Incarnation{std::uint64_t{99} << dvs::serial_bits | 5};
  const auto route = client->route_to(peer, wire::RouteKind::relay);
  ASSERT_FALSE(route);
  EXPECT_EQ(route.error(), Errc::unreachable);
}

}  // namespace
}  // namespace dvk::daemon::test

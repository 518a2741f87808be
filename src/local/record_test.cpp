#include "local/record.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "local/record_store.hpp"

#include "runtime/temporary_directory.hpp"

namespace dvs::local {
namespace {

Record sample() {
  return {.plan = {.name = "test", .directory = "/d", .nodes = 2, .cores_per_node = 1},
          .boot_id = "boot",
          .daemon = "/usr/sbin/dvsd",
          .made_namespace_folder = true,
          .is_complete = false,
          .daemons = {{12, 345}, {0, 0}}};
}

void expect_sample(const Record& record) {
  EXPECT_EQ(record.plan.name, "test");
  EXPECT_EQ(record.plan.directory, "/d");
  EXPECT_EQ(record.plan.nodes, 2);
  EXPECT_EQ(record.plan.cores_per_node, 1);
  EXPECT_EQ(record.boot_id, "boot");
  EXPECT_EQ(record.daemon, "/usr/sbin/dvsd");
  EXPECT_TRUE(record.made_namespace_folder);
  EXPECT_FALSE(record.is_complete);
  EXPECT_EQ(record.daemon_of(1).pid, 12);
  EXPECT_EQ(record.daemon_of(1).start_time, 345U);
  EXPECT_EQ(record.daemon_of(2).pid, 0);
}

TEST(LocalRecord, IsReadAsItWasWritten) {
  const auto record = parse_record(to_text(sample()));
  ASSERT_TRUE(record);
  expect_sample(*record);
}

TEST(LocalRecord, AnythingElseIsRefused) {
  const std::string good = to_text(sample());
  for (std::size_t size = 0; size + 1 < good.size(); ++size) {
    EXPECT_FALSE(parse_record(good.substr(0, size))) << size;
  }
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return parse_record(text);
  };
  EXPECT_EQ(with("\"version\":1", "\"version\":2").error().code, Errc::version_mismatch);
  EXPECT_FALSE(with("\"nodes\":2", "\"nodes\":3")) << "more nodes than daemons";
  EXPECT_FALSE(with("\"nodes\":2", "\"nodes\":-2"));
  EXPECT_FALSE(with("\"pid\":12", "\"pid\":-12"));
  EXPECT_FALSE(with("\"pid\":12", "\"pid\":\"12\""));
  EXPECT_FALSE(with("\"name\":\"test\"", "\"name\":\"../x\""));
  EXPECT_FALSE(with("\"directory\":\"/d\"", "\"directory\":\"d\""));
}

class LocalRecordStore : public testing::Test {
 protected:
  dvs::runtime::TemporaryDirectory directory_;
  const std::filesystem::path top_ = directory_.path();
};

TEST_F(LocalRecordStore, KeepsRecordsAndLeavesNothing) {
  const RecordStore store(top_ / "dvs/local");
  EXPECT_FALSE(*store.read("test"));
  {
    const auto lock = store.lock();
    ASSERT_TRUE(lock);
    ASSERT_TRUE(store.write(sample()));
    const auto record = store.read("test");
    ASSERT_TRUE(record && *record);
    expect_sample(**record);
    EXPECT_FALSE(*store.read("other"));
    ASSERT_TRUE(store.remove("test"));
    EXPECT_FALSE(*store.read("test"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(top_));
}

TEST_F(LocalRecordStore, TheFolderStaysWhileAnotherRecordIsThere) {
  const RecordStore store(top_ / "dvs/local");
  const auto lock = store.lock();
  Record other = sample();
  other.plan.name = "other";
  ASSERT_TRUE(store.write(sample()) && store.write(other));
  ASSERT_TRUE(store.remove("test"));
  EXPECT_TRUE(*store.read("other"));
}

}  // namespace
}  // namespace dvs::local

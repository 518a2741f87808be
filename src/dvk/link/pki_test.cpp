// Certificates are made, read back and refused where they must be.
#include "dvk/link/pki.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

namespace dvk::link {
namespace {

namespace fs = std::filesystem;
using dvs::Errc;
using dvs::NodeId;

class PkiTest : public ::testing::Test {
 protected:
  PkiTest() {
    std::string pattern = (fs::temp_directory_path() / "pki_test.XXXXXX").string();
    root = ::mkdtemp(pattern.data());
  }
  ~PkiTest() override { fs::remove_all(root); }

  static mode_t mode_of(const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
  }

  fs::path root;
};

TEST_F(PkiTest, AuthorityNamesItsClusterAndKeysArePrivate) {
  const auto cluster = create_authority(root / "ca", "test");
  ASSERT_TRUE(cluster.has_value()) << dvs::to_string(cluster.error());
  ASSERT_TRUE(issue_node(root / "n1", root / "ca", NodeId{1}).has_value());
  EXPECT_EQ(read_cluster_id(root / "ca" / "authority.pem").value(), *cluster);
  EXPECT_EQ(read_cluster_id(NodeFiles::in(root / "n1").authority).value(), *cluster);
  EXPECT_EQ(mode_of(root / "ca" / "authority.key"), 0600U);
  EXPECT_EQ(mode_of(NodeFiles::in(root / "n1").key), 0600U);
}

TEST_F(PkiTest, TwoClustersOfOneNameDiffer) {
  const auto one = create_authority(root / "one", "test");
  const auto other = create_authority(root / "other", "test");
  ASSERT_TRUE(one.has_value() && other.has_value());
  EXPECT_NE(*one, *other);
}

TEST_F(PkiTest, AnAuthorityIsNeverReplaced) {
  ASSERT_TRUE(create_authority(root / "ca", "test").has_value());
  EXPECT_EQ(create_authority(root / "ca", "test").error().code, Errc::invalid_argument);
  EXPECT_EQ(create_authority(root / "nameless", "").error().code, Errc::invalid_argument);
}

TEST_F(PkiTest, ANodeCertificateCanBeRenewedAndIsNoAuthority) {
  ASSERT_TRUE(create_authority(root / "ca", "test").has_value());
  ASSERT_TRUE(issue_node(root / "n1", root / "ca", NodeId{1}).has_value());
  ASSERT_TRUE(issue_node(root / "n1", root / "ca", NodeId{1}).has_value());
  EXPECT_EQ(read_cluster_id(NodeFiles::in(root / "n1").certificate).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(issue_node(root / "n2", root / "n1", NodeId{2}).error().code, Errc::invalid_argument);
  EXPECT_EQ(issue_node(root / "n2", root / "ca", dvs::no_node).error().code,
            Errc::invalid_argument);
}

TEST_F(PkiTest, RubbishIsNamedInTheError) {
  fs::create_directories(root / "ca");
  std::ofstream(root / "ca" / "authority.pem") << "rubbish";
  const auto result = issue_node(root / "n1", root / "ca", NodeId{1});
  ASSERT_FALSE(result.has_value());
  EXPECT_NE(result.error().detail.find("authority.pem"), std::string::npos);
}

}  // namespace
}  // namespace dvk::link

#include "runtime/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace dvs::runtime {
namespace {

constexpr std::size_t page = 4096;

TEST(SharedMemory, SizeCannotBeChanged) {
  auto fd = create_shared_memory("test", 2 * page);
  ASSERT_TRUE(fd);
  EXPECT_EQ(shared_memory_size(fd->get()), 2 * page);
  EXPECT_NE(::ftruncate(fd->get(), page), 0);
  EXPECT_NE(::ftruncate(fd->get(), 3 * page), 0);
  EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(SharedMemory, RefusesNoBytes) {
  EXPECT_EQ(create_shared_memory("test", 0).error(), Errc::invalid_argument);
}

TEST(SharedMemory, TwoMappingsShowTheSameBytes) {
  auto fd = create_shared_memory("test", page);
  ASSERT_TRUE(fd);
  auto writer = Mapping::map(fd->get(), page, Access::read_write);
  auto reader = Mapping::map(fd->get(), page, Access::read_only);
  ASSERT_TRUE(writer && reader);
  fd->close();
  writer->bytes()[17] = std::byte{42};
  EXPECT_EQ(reader->bytes()[17], std::byte{42});
}

TEST(Mapping, RefusesAnotherSize) {
  auto fd = create_shared_memory("test", 2 * page);
  ASSERT_TRUE(fd);
  EXPECT_EQ(Mapping::map(fd->get(), page, Access::read_write).error(), Errc::invalid_argument);
  EXPECT_EQ(Mapping::map(fd->get(), 3 * page, Access::read_write).error(), Errc::invalid_argument);
}

TEST(Mapping, RefusesMemoryThatCouldBeCut) {
  const Fd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), page), 0);
  EXPECT_EQ(Mapping::map(unsealed.get(), page, Access::read_write).error(), Errc::invalid_argument);
  ASSERT_EQ(::fcntl(unsealed.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  EXPECT_EQ(Mapping::map(unsealed.get(), page, Access::read_write).error(), Errc::invalid_argument);
}

TEST(Mapping, RefusesWhatIsNotMemory) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  EXPECT_EQ(Mapping::map(reader.get(), page, Access::read_only).error(), Errc::invalid_argument);
  EXPECT_EQ(Mapping::map(-1, page, Access::read_only).error(), Errc::system);
}

TEST(Mapping, MirrorContinuesAtTheBeginning) {
  auto fd = create_shared_memory("test", 3 * page);
  ASSERT_TRUE(fd);
  auto mapping = Mapping::map_mirrored(fd->get(), 3 * page, page);
  ASSERT_TRUE(mapping);
  ASSERT_EQ(mapping->size(), 5 * page);
  const auto bytes = mapping->bytes();
  bytes[page] = std::byte{1};            // first of the mirrored part
  bytes[3 * page - 1] = std::byte{2};    // its last
  bytes[3 * page + 100] = std::byte{3};  // its 100th, through the mirror
  EXPECT_EQ(bytes[3 * page], std::byte{1});
  EXPECT_EQ(bytes[5 * page - 1], std::byte{2});
  EXPECT_EQ(bytes[page + 100], std::byte{3});
}

TEST(Mapping, MovesItsMemory) {
  auto fd = create_shared_memory("test", page);
  ASSERT_TRUE(fd);
  auto first = Mapping::map(fd->get(), page, Access::read_write);
  ASSERT_TRUE(first);
  const std::byte* data = first->data();
  Mapping second = std::move(*first);
  EXPECT_FALSE(*first);
  EXPECT_EQ(second.data(), data);
  second.bytes()[0] = std::byte{1};
}

TEST(PublishedMemory, OnlyItsCreatorCanWriteIt) {
  auto memory = create_published_memory("test", page);
  ASSERT_TRUE(memory);
  auto reader = Mapping::map(memory->fd.get(), page, Access::read_only);
  ASSERT_TRUE(reader);
  memory->mapping.bytes()[5] = std::byte{7};
  EXPECT_EQ(reader->bytes()[5], std::byte{7});

  EXPECT_EQ(Mapping::map(memory->fd.get(), page, Access::read_write).error(), Errc::system);
  EXPECT_NE(::mprotect(reader->data(), page, PROT_READ | PROT_WRITE), 0);
  EXPECT_LT(::pwrite(memory->fd.get(), "x", 1, 0), 0);
}

}  // namespace
}  // namespace dvs::runtime

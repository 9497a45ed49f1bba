#include "base/unix_address.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull {
namespace {

TEST(UnixAddress, HasAsManyBytesAsLinuxAllows) {
    const test::TemporaryFolder folder;
    std::string path = folder.path() / "";
    path.append(UnixAddress::kMostPath - path.size(), 'x');
    const UniqueFd listener = test::listen_unix(path);
    EXPECT_TRUE(std::filesystem::is_socket(path)) << "the whole name, and nothing behind it";
    EXPECT_TRUE(test::connect_unix(path).valid());
    for (const std::string& bad : {std::string{}, path + "x"}) {
        const auto address = UnixAddress::at(bad);
        ASSERT_FALSE(address);
        EXPECT_EQ(address.error(), "a socket's path has 1 to 107 bytes");
    }
}

TEST(UnixAddress, SaysWhyThereIsNoConnection) {
    const test::TemporaryFolder folder;
    const UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    EXPECT_EQ(UnixAddress::at(folder.path() / "x")->connect(fd.get()), ENOENT);
    EXPECT_EQ(UnixAddress::at(folder.path())->bind(fd.get()), EADDRINUSE);
}

}  // namespace
}  // namespace hull

// Layers of images as a guest joins them: the partitions of one disk, by overlayfs.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/unique_fd.h"
#include "container/layer/convert.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/tar_builder.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

std::string disk_of(const TemporaryFolder& folder, const std::string& name, const std::string& archive) {
    std::string path = folder.path() / name;
    const UniqueFd file{open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    container::convert_layer(source_of(archive), file.get(), uint64_t{1} << 30);
    return path;
}

TEST(LayerDisk, AreMountedAndJoinedByAGuest) {
    const TemporaryFolder folder;
    std::string many;
    for (int number = 0; number < 1000; ++number) {
        many += TarPart{.name = "many/with-a-name-of-some-length-" + std::to_string(number)}.bytes();
    }
    const std::string below = disk_of(
        folder, "below",
        many +
            TarPart{
                .name = "file", .content = std::string(10'000, 'x'), .mode = 04755, .uid = 70000, .gid = 3}
                .bytes() +
            TarPart{.type = '1', .name = "hard", .link = "file"}.bytes() +
            TarPart{.type = '2', .name = "symbolic", .link = "file"}.bytes() +
            TarPart{.type = '3', .name = "device", .mode = 0600, .major = 5, .minor = 300}.bytes() +
            TarPart{.name = "folder/kept", .content = "kept\n"}.bytes() +
            TarPart{.name = "folder/gone"}.bytes() + TarPart{.name = "hidden/below"}.bytes() +
            TarPart{.name = "replaced/below"}.bytes());
    const std::string above = disk_of(
        folder, "above",
        TarPart{.type = '5', .name = "./", .mode = 0711}.bytes() +
            TarPart{.name = "folder/.wh.gone"}.bytes() + TarPart{.name = "hidden/.wh..wh..opq"}.bytes() +
            TarPart{.name = "hidden/above"}.bytes() + TarPart{.name = ".wh.replaced"}.bytes() +
            TarPart{.type = '5', .name = "replaced", .mode = 0700}.bytes());
    HullProcess hull{boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "",
                          {"--disk", "part=" + below + ",part=" + above + ",readonly"}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "mkdir b a m; mount -t erofs -o ro /dev/vda1 b && mount -t erofs -o ro /dev/vda2 a && "
        "mount -t overlay -o lowerdir=a:b none m; cd m\n"
        "stat -c '%n %F %a %h %u:%g %s %Y' . file hard symbolic; stat -c '%n %F %a %t:%T' device\n"
        "cat hard | md5sum; readlink symbolic; cat folder/kept; ls many | wc -l\n"
        "stat -c %s many/with-a-name-of-some-length-777\n"
        "echo : $(ls) : $(ls folder) : $(ls hidden) : $(ls -A replaced) :\n"
        "poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    for (const char* line :
         {". directory 711 1 0:0 ", "file regular file 4755 2 70000:3 10000 1000000000\r\n",
          "hard regular file 4755 2 70000:3 10000 1000000000\r\n",
          "symbolic symbolic link 777 1 0:0 4 1000000000\r\n", "device character special file 600 5:12c\r\n",
          "b567fcb68d8555227123ab87e255872e", "\r\nfile\r\nkept\r\n1000\r\n", "\r\n0\r\nhull#",
          ": device file folder hard hidden many replaced symbolic : kept : above : :\r\n"}) {
        EXPECT_THAT(hull.out(), HasSubstr(line));
    }
}

}  // namespace
}  // namespace hull::test

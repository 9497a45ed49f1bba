// Real kernels' drivers on devices that other programs serve: disks by qemu-storage-daemon, folders by
// virtiofsd.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/noting_disk_server.h"
#include "tests/support/ordinary_user.h"
#include "tests/support/programs_disk.h"
#include "tests/support/sockets.h"
#include "tests/support/storage_daemon.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Way kSmall{"small", "small/bzImage", "initramfs-small", "acpi"};

bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

class ServedDisk : public testing::TestWithParam<Way> {};

TEST_P(ServedDisk, AQcow2ImageIsFormattedFilledAndReadBack) {
    const TemporaryFolder folder;
    const fs::path image = folder.path() / "image";
    const fs::path socket = folder.path() / "socket";
    ASSERT_TRUE(run("qemu-img create -f qcow2 '" + image.string() + "' 16M"));
    {
        const StorageDaemon daemon{image, socket};
        HullProcess hull{boot(GetParam(), "", {"--disk", "socket=" + socket.string() + ",queues=2"}),
                         HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        hull.type(
            "cat /sys/block/vda/size; ls /sys/block/vda/mq | wc -l\n"
            "mke2fs /dev/vda >/dev/null && mkdir m && mount /dev/vda m && cp /bin/busybox m && umount m\n"
            "d=$(basename $(readlink -f /sys/block/vda/device)); cd /sys/bus/virtio/drivers/virtio_blk\n"
            "echo $d >unbind; echo $d >bind; cd /\n"
            "echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda m && cmp m/busybox /bin/busybox && echo same\n"
            "echo kept >m/note; umount m; poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        EXPECT_THAT(hull.out(), HasSubstr("32768\r\n"));
        EXPECT_THAT(hull.out(), HasSubstr("same\r\n"));
        EXPECT_EQ(hull.err(), "");
    }
    EXPECT_TRUE(run("qemu-img check '" + image.string() + "'"));
    const fs::path raw = folder.path() / "raw";
    ASSERT_TRUE(run("qemu-img convert -O raw '" + image.string() + "' '" + raw.string() + "'"));
    EXPECT_TRUE(run("e2fsck -fn '" + raw.string() + "'"));
    EXPECT_TRUE(run("grep -q kept '" + raw.string() + "'"));
}

class ServedFormats : public testing::TestWithParam<Way> {};

TEST_P(ServedFormats, EachIsFormattedFilledAndReadBack) {
    const TemporaryFolder folder;
    const std::vector<std::string> formats{"vmdk", "vdi", "vhdx"};
    const auto image = [&](const std::string& format) { return folder.path() / ("image." + format); };
    {
        std::vector<std::unique_ptr<StorageDaemon>> daemons;
        std::vector<std::string> disks;
        for (const std::string& format : formats) {
            ASSERT_TRUE(run("qemu-img create -f " + format + " '" + image(format).string() + "' 16M"));
            const fs::path socket = folder.path() / format;
            daemons.push_back(std::make_unique<StorageDaemon>(image(format), socket, format));
            disks.insert(disks.end(), {"--disk", "socket=" + socket.string() + ",queues=2"});
        }
        HullProcess hull{boot(GetParam(), "", disks), HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        hull.type(
            "mkdir m; for d in vda vdb vdc; do mke2fs /dev/$d >/dev/null; mount /dev/$d m; cp /bin/busybox "
            "m; umount m; echo 3 >/proc/sys/vm/drop_caches; mount /dev/$d m; cmp m/busybox /bin/busybox && "
            "echo $d same; echo kept >m/note; umount m; done; poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        for (const char* disk : {"vda", "vdb", "vdc"}) {
            EXPECT_THAT(hull.out(), HasSubstr(std::string{disk} + " same\r\n"));
        }
        EXPECT_EQ(hull.err(), "");
    }
    for (const std::string& format : formats) {
        const std::string raw = folder.path() / (format + ".raw");
        ASSERT_TRUE(run("qemu-img convert -O raw '" + image(format).string() + "' '" + raw + "'")) << format;
        EXPECT_TRUE(run("e2fsck -fn '" + raw + "'")) << format;
        EXPECT_TRUE(run("grep -q kept '" + raw + "'")) << format;
    }
}

TEST_P(ServedDisk, WhoseServerDiesGivesErrorsAndIsFoundAgain) {
    const TemporaryFolder folder;
    const fs::path image = folder.path() / "image";
    const fs::path socket = folder.path() / "socket";
    const auto other = folder.file("other", std::string(size_t{1} << 20, 'o'));
    ASSERT_TRUE(run("qemu-img create -f qcow2 '" + image.string() + "' 64M"));
    StorageDaemon daemon{image, socket};
    HullProcess hull{boot(GetParam(), "", {"--disk", "socket=" + socket.string(), "--disk", other.string()}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "echo begun; while dd if=/dev/zero of=/dev/vda bs=64k count=100 conv=fsync 2>/dev/null; do "
        "echo written; done; echo an error came\n");
    ASSERT_TRUE(hull.wait_for("\nwritten\r\n"));
    daemon.end(SIGKILL);
    ASSERT_TRUE(hull.wait_for("\r\nan error came\r\n"));
    hull.type(
        "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=4k count=1 2>/dev/null || "
        "echo still away\nhead -c 5 /dev/vdb; echo .\n");
    ASSERT_TRUE(hull.wait_for("\r\nstill away\r\n"));
    ASSERT_TRUE(hull.wait_for("ooooo.\r\n"));
    const StorageDaemon next{image, socket};
    hull.type(
        "until dd if=/bin/busybox of=/dev/vda bs=4k count=16 conv=fsync 2>/dev/null; do sleep 1; done\n"
        "echo 3 >/proc/sys/vm/drop_caches; head -c 65536 /bin/busybox >b; head -c 65536 /dev/vda | cmp - b "
        "&& "
        "echo same; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("same\r\n"));
    EXPECT_THAT(hull.err(), HasSubstr("disk0: its server is lost"));
    EXPECT_THAT(hull.err(), HasSubstr("disk0: its server is back"));
}

/// A server of tests/support's in a process of its own.
class NotingDisk {
  public:
    NotingDisk(const fs::path& image, const fs::path& socket, std::atomic<int>& done_again) {
        fs::remove(socket);
        pid_ = fork();
        if (pid_ == 0) {
            const UniqueFd file{open(image.c_str(), O_RDWR | O_CLOEXEC)};
            const UniqueFd listener = listen_unix(socket);
            NotingDiskServer server{UniqueFd{accept(listener.get(), nullptr, nullptr)}, file.get(),
                                    fs::file_size(image) / 512, done_again};
            server.serve();
            _exit(0);
        }
        EXPECT_TRUE(wait_until([&] { return fs::exists(socket); }));
    }
    NotingDisk(const NotingDisk&) = delete;
    NotingDisk& operator=(const NotingDisk&) = delete;
    ~NotingDisk() {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }

  private:
    pid_t pid_ = -1;
};

TEST_P(ServedDisk, WhoseServerIsKilledUnderLoadDoesAllAgain) {
    const TemporaryFolder folder;
    const fs::path image = folder.file("image", "");
    fs::resize_file(image, 4 << 20);
    const fs::path socket = folder.path() / "socket";
    const UniqueFd memory{memfd_create("done-again", MFD_CLOEXEC)};
    ASSERT_EQ(ftruncate(memory.get(), sizeof(std::atomic<int>)), 0);
    const Mapping shared = Mapping::shared(memory.get(), sizeof(std::atomic<int>), "counter");
    auto& done_again = *new (shared.data()) std::atomic<int>{0};
    auto server = std::make_unique<NotingDisk>(image, socket, done_again);
    HullProcess hull{boot(GetParam(), "",
                          {"--disk", programs_disk(folder, {"fio"}).string() + ",readonly", "--disk",
                           "socket=" + socket.string()}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(mount_programs("/dev/vda") +
              "(while [ ! -e /stop ]; do chroot /programs fio --name=served --filename=/dev/vdb --thread "
              "--ioengine=libaio --iodepth=8 --direct=1 --rw=randrw --bsrange=512-16k --bs_unaligned=0 "
              "--size=4M --io_size=2M --fsync=32 --verify=crc32c --verify_fatal=1 --do_verify=1 "
              "--output-format=terse >>/tmp/fio 2>&1 || echo fio has failed; echo a round; done) &\n");
    ASSERT_TRUE(hull.wait_for("a round\r\n"));
    // At least once it had requests in hand, which is a matter of chance.
    constexpr int kRounds = 3;
    constexpr int kMostRounds = 20;
    for (int round = 0; round < kRounds || (done_again == 0 && round < kMostRounds); ++round) {
        usleep(700'000 + 300'000 * (round % 5));
        server.reset();
        server = std::make_unique<NotingDisk>(image, socket, done_again);
    }
    hull.type(
        "touch /stop; wait; head -c 2000 /tmp/fio; echo errors: $(dmesg | grep -c 'error.*vdb'); poweroff "
        "-f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), testing::Not(HasSubstr("fio has failed\r\n"))) << hull.out();
    EXPECT_THAT(hull.out(), HasSubstr("errors: 0\r\n"));
    EXPECT_GT(done_again, 0) << "it was killed with nothing in hand";
    EXPECT_THAT(hull.err(), HasSubstr("waits for another"));
    EXPECT_THAT(hull.err(), HasSubstr("disk1: its server is back"));
}

/// The virtiofsd processes that a keeper started, and theirs.
std::vector<pid_t> share_servers(pid_t keeper) {
    std::vector<pid_t> found;
    const auto parent_of = [](pid_t pid) {
        std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
        std::string line;
        std::getline(stat, line);
        const size_t end = line.rfind(") ");
        return end == std::string::npos ? pid_t{0} : static_cast<pid_t>(std::stoi(line.substr(end + 4)));
    };
    for (const auto& entry : fs::directory_iterator{"/proc"}) {
        const std::string name = entry.path().filename();
        std::ifstream comm{entry.path() / "comm"};
        std::string program;
        if (name.find_first_not_of("0123456789") == std::string::npos && std::getline(comm, program) &&
            program == "virtiofsd") {
            const pid_t pid = std::stoi(name);
            const pid_t parent = parent_of(pid);
            if (parent == keeper || parent_of(parent) == keeper) {
                found.push_back(pid);
            }
        }
    }
    return found;
}

bool all_end(const std::vector<pid_t>& processes) {
    return wait_until([&] {
        for (const pid_t pid : processes) {
            if (kill(pid, 0) == 0) {
                return false;
            }
        }
        return true;
    });
}

/// How many files the tree has, in 30 folders: 330, or $HULL_SHARE_FILES.
int tree_files() {
    const char* text = std::getenv("HULL_SHARE_FILES");
    return text == nullptr ? 330 : std::max(330, std::atoi(text));
}

class Share : public testing::TestWithParam<Way> {};

TEST_P(Share, ALargeTreeIsReadWrittenAndRenamedFromBothSides) {
    const TemporaryFolder folder;
    const fs::path tree = folder.path() / "a, tree";
    const int files = tree_files();
    for (int number = 0; number < files; ++number) {
        const fs::path sub = tree / std::to_string(number % 30);
        if (number < 30) {
            fs::create_directories(sub);
        }
        std::ofstream{sub / ("file" + std::to_string(number))} << "contents " << number << "\n";
    }
    HullProcess hull{boot(GetParam(), "",
                          {"--share", "tag=src,path=" + folder.path().string() + "/a,, tree", "--share",
                           "tag=kept,path=" + folder.path().string() + ",readonly"}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    const std::vector<pid_t> servers = share_servers(hull.keeper());
    EXPECT_GE(servers.size(), 2U);
    hull.type(
        "mkdir s k; mount -t virtiofs src s && mount -t virtiofs kept k && echo mounted\n"
        "echo read $(find s -type f | wc -l) $(cat s/*/file* | wc -l) $(cat s/17/file317)\n"
        "mkdir s/new; i=0; while [ $i -lt 100 ]; do echo guest $i >s/new/g$i; i=$((i + 1)); done\n"
        "mv s/0 s/new/moved; mv s/1/file31 s/1/renamed; rm -r s/2; cp /bin/busybox s/b; sync\n"
        "(echo x >'k/a, tree/3/file3') 2>/dev/null || echo no writing\n"
        "touch k/made 2>/dev/null || echo no making; mv 'k/a, tree' k/z 2>/dev/null || echo no moving\n"
        "mount -o remount,rw k 2>/dev/null; rm 'k/a, tree/4/file4' 2>/dev/null || echo no removing\n"
        "cat 'k/a, tree/3/file3'; echo guest is done\n");
    ASSERT_TRUE(hull.wait_for("\r\nguest is done\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("mounted\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("read " + std::to_string(files) + " " + std::to_string(files) +
                                      " contents 317\r\n"));
    // As answers, not in the commands that the terminal echoes.
    for (const std::string line : {"no writing", "no making\r\nno moving", "no removing", "contents 3"}) {
        EXPECT_THAT(hull.out(), HasSubstr("\r\n" + line + "\r\n"));
    }
    // The host sees what the guest did, and the other way round.
    const auto first_line = [](const fs::path& path) {
        std::ifstream file{path};
        std::string line;
        std::getline(file, line);
        return line;
    };
    EXPECT_EQ(first_line(tree / "new" / "g99"), "guest 99");
    EXPECT_EQ(first_line(tree / "new" / "moved" / "file30"), "contents 30");
    EXPECT_EQ(first_line(tree / "1" / "renamed"), "contents 31");
    EXPECT_FALSE(fs::exists(tree / "2"));
    EXPECT_TRUE(run("cmp '" + (tree / "b").string() + "' '" + "/bin/busybox'"));
    fs::rename(tree / "5", tree / "host");
    std::ofstream{tree / "host" / "file5"} << "the host's\n";
    fs::remove(tree / "6" / "file6");
    hull.type(
        "sleep 2; ls s | grep -c host; cat s/host/file5; ls s/6 | grep -c file6$; umount s k; mount -t "
        "virtiofs src s && echo again $(cat s/7/file7); poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("\r\n1\r\nthe host's\r\n0\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("again contents 7\r\n"));
    EXPECT_EQ(hull.err(), "");
    EXPECT_TRUE(all_end(servers));
}

TEST(ShareServer, EndsWhoeverIsKilled) {
    const TemporaryFolder folder;
    for (const bool keeper : {false, true}) {
        HullProcess hull{boot(kSmall, "", {"--share", "tag=t,path=" + folder.path().string()}),
                         HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        hull.type("mkdir m; mount -t virtiofs t m; touch m/f && echo in use\n");
        ASSERT_TRUE(hull.wait_for("\r\nin use\r\n"));
        const std::vector<pid_t> servers = share_servers(hull.keeper());
        ASSERT_FALSE(servers.empty());
        kill(keeper ? hull.keeper() : hull.machine(), SIGKILL);
        hull.wait();
        EXPECT_TRUE(all_end(servers)) << (keeper ? "the keeper" : "the machine");
    }
}

TEST(ShareServer, ThatIsKilledGivesErrorsAndTheGuestGoesOn) {
    const TemporaryFolder folder;
    folder.file("f", "contents\n");
    HullProcess hull{boot(kSmall, "", {"--share", "tag=t,path=" + folder.path().string(), "--rng"}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("mkdir m; mount -t virtiofs t m; cat m/f\n");
    ASSERT_TRUE(hull.wait_for("contents\r\n"));
    for (const pid_t pid : share_servers(hull.keeper())) {
        kill(pid, SIGKILL);
    }
    hull.type(
        "sleep 2; ls m/nothing || echo an error came; touch m/g || echo and another\n"
        "head -c 100 /dev/hwrng | wc -c; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("an error came\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\nand another\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n100\r\n"));
    EXPECT_THAT(hull.err(), HasSubstr("t: its server is lost"));
}

TEST(ShareServer, WorksForAnOrdinaryUser) {
    if (!OrdinaryUser::possible()) {
        GTEST_SKIP() << "only root can become another user; the tests above ran as one";
    }
    const OrdinaryUser user;
    user.folder().file("shared/f", "contents\n");
    user.give("shared");
    const auto hull = user.boot({"--share", "tag=t,path=" + user.path("shared")}, HullProcess::Input::pipe);
    ASSERT_TRUE(hull->wait_for("hull#"));
    hull->type("mkdir m; mount -t virtiofs t m; cat m/f; echo new >m/g; poweroff -f\n");
    EXPECT_EQ(hull->wait(), 0) << hull->err();
    EXPECT_THAT(hull->out(), HasSubstr("contents\r\n"));
    EXPECT_TRUE(fs::exists(user.path("shared/g")));
    EXPECT_EQ(hull->err(), "");
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, ServedDisk,
    testing::Values(Way{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                    Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                    Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                    Way{"small_mmio", "small/bzImage", "initramfs-small", "acpi", "mmio"}),
    [](const auto& way) { return std::string{way.param.name}; });

INSTANTIATE_TEST_SUITE_P(Kernels, ServedFormats,
                         testing::Values(Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi",
                                             "mmio"},
                                         Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"}),
                         [](const auto& way) { return std::string{way.param.name}; });

INSTANTIATE_TEST_SUITE_P(
    Kernels, Share,
    testing::Values(Way{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                    Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                    Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                    Way{"small_mmio", "small/bzImage", "initramfs-small", "acpi", "mmio"}),
    [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test

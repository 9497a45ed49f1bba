// Machines with real kernels that are paused, frozen and go on: hull ctl, hull restore, hull snapshot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

constexpr size_t kMiB = size_t{1} << 20;

struct Told {
    int status;
    std::string out;
    std::string err;
};

Told hull(std::vector<std::string> words) {
    HullProcess process{std::move(words)};
    const int status = process.wait();
    return {status, process.out(), process.err()};
}

class Snapshot : public testing::TestWithParam<Way> {
  protected:
    /// Boots it with these further words, to its prompt.
    std::unique_ptr<HullProcess> boot_up(std::vector<std::string> more = {}) {
        more.insert(more.end(), {"--api-socket", api(), "--memory", "128M"});
        auto machine =
            std::make_unique<HullProcess>(boot(GetParam(), "", std::move(more)), HullProcess::Input::pipe);
        EXPECT_TRUE(machine->wait_for("hull#"));
        return machine;
    }
    std::unique_ptr<HullProcess> restore() const {
        return std::make_unique<HullProcess>(
            std::vector<std::string>{"restore", "--jail", "strict", folder()}, HullProcess::Input::pipe);
    }
    Told control(std::vector<std::string> words) const {
        words.insert(words.begin(), {"ctl", api()});
        return hull(std::move(words));
    }
    [[nodiscard]] std::string api() const { return files_.path() / "api"; }
    [[nodiscard]] std::string folder() const { return files_.path() / "snapshot"; }

    const TemporaryFolder files_;
};

TEST_P(Snapshot, GoesOnWithItsDiskAndItsProgramsAsOftenAsAsked) {
    const fs::path disk = files_.file("disk", std::string(16 * kMiB, '\0'));
    auto machine = boot_up({"--disk", disk, "--rng", "--net", "user", "--vsock",
                            "cid=3,socket=" + (files_.path() / "vsock").string()});
    // A shell that counts, and writes each number to a file system with a flush.
    machine->type(
        "mke2fs -q /dev/vda && mkdir m && mount /dev/vda m; i=0; while [ ! -e /stop ]; do echo $i >>m/log; "
        "sync; "
        "head -c 8 /dev/hwrng >/dev/null; echo \"count $i.\"; i=$((i + 1)); done &\n");
    ASSERT_TRUE(machine->wait_for("count 20."));
    EXPECT_EQ(control({"status"}).out, "Running\n");
    EXPECT_EQ(control({"pause"}).status, 0);
    EXPECT_EQ(control({"status"}).out, "Paused\n");
    const Told taken = control({"snapshot", folder()});
    ASSERT_EQ(taken.status, 0) << taken.err;
    EXPECT_EQ(control({"status"}).out, "Paused\n") << "as it was before";
    EXPECT_TRUE(machine->read_for(500ms)) << "and it has ended";
    const size_t silent = machine->out().size();
    EXPECT_TRUE(machine->read_for(500ms));
    EXPECT_EQ(machine->out().size(), silent) << "a paused machine has printed";
    const size_t at = machine->out().rfind("count ");
    const int last = std::atoi(machine->out().c_str() + at + 6);
    // The machine is never heard of again: what the snapshot has is all that is left.
    kill(machine->machine(), SIGKILL);
    machine->wait();
    EXPECT_EQ(hull({"snapshot", "verify", folder()}).status, 0);
    fs::copy_file(disk, files_.path() / "as-it-was");
    for (int round = 0; round < 2; ++round) {
        fs::copy_file(files_.path() / "as-it-was", disk, fs::copy_options::overwrite_existing);
        const auto again = restore();
        ASSERT_TRUE(again->wait_for("count " + std::to_string(last + 20) + ".")) << again->err();
        again->type("touch /stop; wait; umount m; echo unmounted; poweroff -f\n");
        EXPECT_EQ(again->wait(), 0) << again->err();
        EXPECT_THAT(again->out(), HasSubstr("unmounted"));
        EXPECT_THAT(again->out(), Not(HasSubstr("rror")));
        EXPECT_EQ(std::system(("e2fsck -fn '" + disk.string() + "' >/dev/null 2>&1").c_str()), 0);
        // Each number once, in order.
        const int counted = std::atoi(again->out().c_str() + again->out().rfind("count ") + 6) + 1;
        std::string expected;
        for (int number = 0; number < counted; ++number) {
            expected += std::to_string(number) + "\n";
        }
        EXPECT_THAT(contents_of(disk), HasSubstr(expected.substr(0, 1000)));
    }
}

TEST_P(Snapshot, OfAMachineThatRunsLetsItGoOn) {
    auto machine = boot_up();
    machine->type("echo held >/kept; echo $((40 + 1))\n");
    ASSERT_TRUE(machine->wait_for("41"));
    const Told first = control({"snapshot", folder()});
    ASSERT_EQ(first.status, 0) << first.err;
    machine->type("echo more >>/kept; echo $((41 + 1))\n");
    ASSERT_TRUE(machine->wait_for("42"));
    EXPECT_EQ(control({"status"}).out, "Running\n");
    const Told second = control({"snapshot", folder() + "/"});
    ASSERT_EQ(second.status, 0) << second.err;
    EXPECT_FALSE(fs::exists(folder() + ".new"));
    EXPECT_EQ(control({"stop"}).status, 0);
    EXPECT_EQ(machine->wait(), 0) << machine->err();
    EXPECT_FALSE(fs::exists(api()));
    const auto again = restore();
    again->type("cat /kept; date; poweroff -f\n");
    EXPECT_EQ(again->wait(), 0) << again->err();
    EXPECT_THAT(again->out(), HasSubstr("held\r\nmore\r\n")) << "the second has replaced the first";
}

TEST_P(Snapshot, ThatIsInterruptedLeavesTheEarlierOne) {
    const char* given = std::getenv("HULL_SNAPSHOT_KILLS");
    const int rounds = given == nullptr ? 2 : std::atoi(given);
    std::mt19937 random{std::random_device{}()};
    {
        auto machine = boot_up();
        machine->type("echo $((40 + 1))\n");
        ASSERT_TRUE(machine->wait_for("41"));
        ASSERT_EQ(control({"snapshot", folder()}).status, 0);
    }
    for (int round = 0; round < rounds; ++round) {
        auto machine = boot_up();
        HullProcess snapshot{{"ctl", api(), "snapshot", folder()}};
        snapshot.read_for(std::chrono::milliseconds{random() % 400});
        const pid_t victim = round % 3 == 0   ? machine->machine()
                             : round % 3 == 1 ? machine->keeper()
                                              : snapshot.keeper();
        kill(victim, SIGKILL);
        snapshot.wait();
        const Told whole = hull({"snapshot", "verify", folder()});
        EXPECT_EQ(whole.status, 0) << whole.err;
        const auto again = restore();
        again->type("echo $((50 + 5)); poweroff -f\n");
        EXPECT_EQ(again->wait(), 0) << again->err();
        EXPECT_THAT(again->out(), HasSubstr("55\r\n"));
    }
}

TEST_P(Snapshot, ThatIsDamagedOrCannotBeIsRefusedInASentence) {
    {
        auto machine = boot_up();
        ASSERT_EQ(control({"snapshot", folder()}).status, 0);
        // What is refused leaves the machine as it was, and running.
        const Told nowhere = control({"snapshot", "/nowhere/at/all"});
        EXPECT_EQ(nowhere.status, 4);
        EXPECT_THAT(nowhere.err, HasSubstr("/nowhere/at/all"));
        const fs::path other = files_.file("other/photo", "mine");
        const Told occupied = control({"snapshot", other.parent_path()});
        EXPECT_EQ(occupied.status, 4);
        EXPECT_THAT(occupied.err, HasSubstr("'photo'"));
        EXPECT_EQ(contents_of(other), "mine");
        EXPECT_EQ(control({"status"}).out, "Running\n");
        EXPECT_EQ(control({"dance"}).status, 2);
        EXPECT_EQ(control({"snapshot"}).status, 2);
        EXPECT_EQ(control({"stop"}).status, 0);
        EXPECT_EQ(machine->wait(), 0);
    }
    const Told gone = control({"status"});
    EXPECT_EQ(gone.status, 4);
    EXPECT_THAT(gone.err, HasSubstr("cannot reach a machine"));

    const std::string state = contents_of(fs::path{folder()} / "state");
    std::string bad = state;
    bad[state.size() / 2] ^= 1;
    std::ofstream{fs::path{folder()} / "state", std::ios::binary} << bad;
    const Told damaged = hull({"restore", folder()});
    EXPECT_EQ(damaged.status, 4);
    EXPECT_THAT(damaged.err, HasSubstr("section"));
    EXPECT_EQ(std::count(damaged.err.begin(), damaged.err.end(), '\n'), 1) << damaged.err;
    std::ofstream{fs::path{folder()} / "state", std::ios::binary} << state;

    const fs::path memory = fs::path{folder()} / "memory";
    {
        std::fstream file{memory, std::ios::binary | std::ios::in | std::ios::out};
        file.seekp(5 * kMiB + 17);
        file.put('\x5a');
    }
    const Told found = hull({"snapshot", "verify", folder()});
    EXPECT_EQ(found.status, 4);
    EXPECT_THAT(found.err, HasSubstr("byte " + std::to_string(5 * kMiB)));
    fs::resize_file(memory, 100 * kMiB);
    const Told cut = hull({"restore", folder()});
    EXPECT_EQ(cut.status, 4);
    EXPECT_THAT(cut.err, HasSubstr("another size"));
    EXPECT_EQ(hull({"restore", "/nowhere"}).status, 4);
    EXPECT_EQ(hull({"restore"}).status, 2);
}

INSTANTIATE_TEST_SUITE_P(Ways, Snapshot,
                         testing::Values(Way{"small", "small/bzImage", "initramfs-small", "acpi", "mmio"},
                                         Way{"debian", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"}),
                         [](const auto& row) { return std::string{row.param.name}; });

/// `hull serve` and a client of it, which is curl.
class Served : public testing::Test {
  protected:
    /// The status, and behind a blank what was answered.
    std::string ask(const std::string& method, const std::string& target,
                    const std::string& body = "") const {
        return run_command("curl -sS --max-time 60 -o - -w ' %{http_code}' --unix-socket " + api() + " -X " +
                           method + (body.empty() ? "" : " -d '" + body + "'") + " http://localhost" + target)
            .out;
    }
    std::unique_ptr<HullProcess> serve() const {
        auto server = std::make_unique<HullProcess>(std::vector<std::string>{"serve", "--api-socket", api()},
                                                    HullProcess::Input::pipe);
        for (int tries = 0; tries < 1000 && !fs::exists(api()); ++tries) {
            std::this_thread::sleep_for(10ms);
        }
        return server;
    }
    [[nodiscard]] std::string api() const { return files_.path() / "api"; }

    const TemporaryFolder files_;
};

TEST_F(Served, MakesStartsFreezesAndRestoresWhatItsClientSays) {
    const std::string disk = files_.file("disk", "what the disk has" + std::string(kMiB - 17, '\0'));
    const std::string state = files_.path() / "state";
    const std::string memory = files_.path() / "memory";
    {
        const auto machine = serve();
        EXPECT_THAT(ask("GET", "/"), HasSubstr("Not started"));
        EXPECT_EQ(ask("PUT", "/actions", R"({"action_type":"InstanceStart"})"),
                  R"({"fault_message":"Cannot start microvm without kernel configuration."} 400)");
        EXPECT_EQ(ask("PUT", "/machine-config", R"({"vcpu_count":1,"mem_size_mib":128})"), " 204");
        EXPECT_EQ(ask("PUT", "/boot-source",
                      R"({"kernel_image_path":")" + guest_file("small/vmlinux") + R"(","initrd_path":")" +
                          guest_file("initramfs-small") + R"(","boot_args":"console=ttyS0 quiet panic=-1"})"),
                  " 204");
        EXPECT_EQ(ask("PUT", "/drives/no", R"({"drive_id":"no","path_on_host":"/no/such/disk"})"), " 204");
        EXPECT_THAT(ask("PUT", "/actions", R"({"action_type":"InstanceStart"})"),
                    testing::AllOf(HasSubstr("/no/such/disk"), testing::EndsWith(" 400")));
        EXPECT_EQ(ask("PUT", "/drives/no", R"({"drive_id":"no","path_on_host":")" + disk + R"("})"), " 204");
        EXPECT_EQ(ask("PUT", "/actions", R"({"action_type":"InstanceStart"})"), " 204");
        ASSERT_TRUE(machine->wait_for("hull#"));
        EXPECT_THAT(ask("GET", "/"), HasSubstr("Running"));
        EXPECT_THAT(ask("PUT", "/machine-config", R"({"vcpu_count":1,"mem_size_mib":128})"),
                    HasSubstr("not supported after starting"));
        machine->type("head -c 17 /dev/vda; echo; echo $((60 + 6))\n");
        ASSERT_TRUE(machine->wait_for("66"));
        EXPECT_THAT(machine->out(), HasSubstr("what the disk has"));
        EXPECT_EQ(ask("PATCH", "/vm", R"({"state":"Paused"})"), " 204");
        EXPECT_EQ(ask("PUT", "/snapshot/create",
                      R"({"snapshot_path":")" + state + R"(","mem_file_path":")" + memory + R"("})"),
                  " 204");
        EXPECT_EQ(ask("PUT", "/actions", R"({"action_type":"SendCtrlAltDel"})"), " 204");
        EXPECT_EQ(machine->wait(), 0) << machine->err();
    }
    EXPECT_FALSE(fs::exists(api()));
    const auto machine = serve();
    EXPECT_THAT(ask("PUT", "/snapshot/load", R"({"snapshot_path":"/none","mem_file_path":"/none"})"),
                HasSubstr("/none"));
    EXPECT_EQ(ask("PUT", "/snapshot/load",
                  R"({"snapshot_path":")" + state +
                      R"(","mem_backend":{"backend_type":"File","backend_path":")" + memory + R"("}})"),
              " 204");
    EXPECT_THAT(ask("GET", "/"), HasSubstr("Paused"));
    machine->type("echo $((70 + 7)); poweroff -f\n");
    EXPECT_TRUE(machine->read_for(300ms));
    EXPECT_THAT(machine->out(), Not(HasSubstr("77")));
    EXPECT_EQ(ask("PATCH", "/vm", R"({"state":"Resumed"})"), " 204");
    EXPECT_EQ(machine->wait(), 0) << machine->err();
    EXPECT_THAT(machine->out(), HasSubstr("77"));
}

TEST_F(Served, TellsItsClientWhereAKernelIsNone) {
    const auto machine = serve();
    EXPECT_EQ(ask("PUT", "/boot-source", R"({"kernel_image_path":"/etc/passwd"})"), " 204");
    EXPECT_THAT(ask("PUT", "/actions", R"({"action_type":"InstanceStart"})"),
                HasSubstr("the machine has ended"));
    EXPECT_EQ(machine->wait(), 4);
    EXPECT_THAT(machine->err(), HasSubstr("/etc/passwd"));
    EXPECT_FALSE(fs::exists(api()));
}

TEST_F(Served, EndsWhereItIsToldToBeforeThereIsAMachine) {
    const auto machine = serve();
    kill(machine->keeper(), SIGTERM);
    EXPECT_EQ(machine->wait(), 14);
    EXPECT_FALSE(fs::exists(api()));
}

TEST(SharedFolder, KeepsAMachineFromBeingFrozen) {
    const TemporaryFolder files;
    const std::string api = files.path() / "api";
    HullProcess machine{boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "",
                             {"--api-socket", api, "--share", "tag=t,path=" + files.path().string()}),
                        HullProcess::Input::pipe};
    ASSERT_TRUE(machine.wait_for("hull#"));
    const Told refused = hull({"ctl", api, "snapshot", files.path() / "snapshot"});
    EXPECT_EQ(refused.status, 2);
    EXPECT_THAT(refused.err, HasSubstr("files open for the guest"));
    EXPECT_FALSE(fs::exists(files.path() / "snapshot"));
    machine.type("mkdir m; mount -t virtiofs t m && ls m; poweroff -f\n");
    EXPECT_EQ(machine.wait(), 0) << machine.err();
    EXPECT_THAT(machine.out(), HasSubstr("api"));
}

}  // namespace
}  // namespace hull::test

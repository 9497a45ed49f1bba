// Real kernels' sockets and programs of the host's, connected by the socket device.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/sockets.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr int kPatienceMs = 120'000;
constexpr size_t kMiB = size_t{1} << 20;

void send_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (sent <= 0) {
            return;  // what is read then tells
        }
        text.remove_prefix(static_cast<size_t>(sent));
    }
}

std::string read_to_end(int fd) {
    return read_up_to(fd, 64 * kMiB, kPatienceMs);
}

/// Connects to a port of the guest's as a program of the host's does; no descriptor where the guest refuses.
UniqueFd connect_once(const std::string& path, unsigned port) {
    UniqueFd fd = connect_unix(path);
    if (!fd.valid()) {
        return {};
    }
    send_all(fd.get(), "CONNECT " + std::to_string(port) + "\n");
    std::string line;
    while (!line.ends_with("\n")) {
        const std::string next = read_up_to(fd.get(), 1, kPatienceMs);
        if (next.empty()) {
            return {};
        }
        line += next;
    }
    EXPECT_THAT(line, testing::MatchesRegex("OK [0-9]+\n"));
    return fd;
}

/// The same, once somebody listens there.
UniqueFd connect_to_guest(const std::string& path, unsigned port) {
    for (const auto end = std::chrono::steady_clock::now() + 60s; std::chrono::steady_clock::now() < end;) {
        UniqueFd fd = connect_once(path, port);
        if (fd.valid()) {
            return fd;
        }
        std::this_thread::sleep_for(50ms);
    }
    ADD_FAILURE() << "nobody listens on the guest's port " << port;
    return {};
}

/// A program of the host's that the guest connects to: sends back what each sends, one after the other.
class EchoServer {
  public:
    EchoServer(const std::string& path, unsigned port)
        : listener_{listen_unix(path + "_" + std::to_string(port))} {
        thread_ = std::thread{[this] {
            for (;;) {
                const UniqueFd stream{accept(listener_.get(), nullptr, nullptr)};
                if (!stream.valid()) {
                    return;
                }
                std::array<char, 65536> bytes{};
                for (ssize_t got = 0; (got = read(stream.get(), bytes.data(), bytes.size())) > 0;) {
                    send_all(stream.get(), {bytes.data(), static_cast<size_t>(got)});
                }
            }
        }};
    }
    EchoServer(const EchoServer&) = delete;
    EchoServer& operator=(const EchoServer&) = delete;
    ~EchoServer() {
        shutdown(listener_.get(), SHUT_RDWR);  // wakes accept()
        thread_.join();
    }

  private:
    UniqueFd listener_;
    std::thread thread_;
};

std::string random_bytes(size_t size) {
    std::mt19937_64 chance{size};
    std::string bytes(size, '\0');
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(chance()); });
    return bytes;
}

class Vsock : public testing::TestWithParam<Way> {
  protected:
    void start() {
        hull_ = std::make_unique<HullProcess>(
            boot(GetParam(), "", {"--vsock", "cid=42,socket=" + path_, "--rng"}), HullProcess::Input::pipe);
        ASSERT_TRUE(hull_->wait_for("hull#"));
    }
    /// Powers the guest off; nothing is left behind.
    void finish() {
        hull_->type("poweroff -f\n");
        EXPECT_EQ(hull_->wait(), 0) << hull_->err();
        EXPECT_EQ(hull_->err(), "");
        EXPECT_FALSE(std::filesystem::exists(path_));
    }

    const TemporaryFolder folder_;
    const std::string path_ = folder_.path() / "vsock";
    std::unique_ptr<HullProcess> hull_;
};

TEST_P(Vsock, ProgramsReachEachOtherInBothDirections) {
    const EchoServer echo{path_, 7000};
    start();
    hull_->type(
        "vsock listen 5000 cat & vsock listen 5001 echo bye & vsock listen 5002 wc -c & vsock listen 5003 "
        "cat "
        "&\n");
    {
        // The host ends its direction first, then the guest the other.
        const UniqueFd stream = connect_to_guest(path_, 5000);
        send_all(stream.get(), "hello");
        EXPECT_EQ(read_up_to(stream.get(), 5, kPatienceMs), "hello");
        send_all(stream.get(), "again");
        shutdown(stream.get(), SHUT_WR);
        EXPECT_EQ(read_to_end(stream.get()), "again");
    }
    // The guest closes first; the host may go on to write, to nobody.
    const UniqueFd bye = connect_to_guest(path_, 5001);
    EXPECT_EQ(read_to_end(bye.get()), "bye\n");
    // What the guest answers behind the end of the other direction.
    const UniqueFd count = connect_to_guest(path_, 5002);
    send_all(count.get(), std::string(100'000, 'x'));
    shutdown(count.get(), SHUT_WR);
    EXPECT_EQ(read_to_end(count.get()), "100000\n");
    // The host closes first.
    connect_to_guest(path_, 5003);
    EXPECT_FALSE(connect_once(path_, 5999).valid()) << "nobody listens there";
    {
        const UniqueFd wrong = connect_unix(path_);
        send_all(wrong.get(), "GET / HTTP/1.0\r\n\r\n");
        EXPECT_EQ(read_to_end(wrong.get()), "");
    }
    hull_->type(
        "echo question | vsock connect 2 7000 | tr q Q\n"
        "vsock connect 2 7000 </bin/busybox | cmp - /bin/busybox && echo unchanged\n"
        "vsock connect 2 7999 </dev/null || echo refused $?\n"
        "(for i in $(seq 20); do echo $i | vsock connect 2 7000 >/tmp/$i & done; wait)\n"
        "cd /tmp; cat $(seq 20) | tr '\\n' ' '; cd /; echo; echo counted\n");
    ASSERT_TRUE(hull_->wait_for("\r\ncounted"));
    EXPECT_THAT(hull_->out(), HasSubstr("Question\r\n"));
    EXPECT_THAT(hull_->out(), HasSubstr("unchanged\r\n"));
    EXPECT_THAT(hull_->out(), HasSubstr("refused 1\r\n"));
    EXPECT_THAT(hull_->out(), HasSubstr("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 \r\n"));
    finish();
}

TEST_P(Vsock, MuchGoesBothWaysAtOnceToASlowReader) {
    start();
    hull_->type("vsock listen 5000 cat & vsock listen 5001 sh -c 'sleep 2; md5sum' &\n");
    const std::string bytes = random_bytes(6 * kMiB);
    const UniqueFd stream = connect_to_guest(path_, 5000);
    std::thread writer{[&] {
        send_all(stream.get(), bytes);
        shutdown(stream.get(), SHUT_WR);
    }};
    std::string back;
    for (int part = 0; part < 20; ++part) {
        std::this_thread::sleep_for(100ms);
        back += read_up_to(stream.get(), 1000, kPatienceMs);
    }
    back += read_to_end(stream.get());
    writer.join();
    EXPECT_EQ(back.size(), bytes.size());
    EXPECT_TRUE(back == bytes);

    // A slow reader in the guest.
    const UniqueFd sum = connect_to_guest(path_, 5001);
    send_all(sum.get(), bytes);
    shutdown(sum.get(), SHUT_WR);
    const auto file = folder_.file("bytes", bytes);
    const std::unique_ptr<FILE, int (*)(FILE*)> host{popen(("md5sum <" + file.string()).c_str(), "r"),
                                                     pclose};
    std::array<char, 100> expected{};
    ASSERT_NE(fgets(expected.data(), expected.size(), host.get()), nullptr);
    EXPECT_EQ(read_to_end(sum.get()), expected.data());
    finish();
}

TEST_P(Vsock, ManyStreamsAreApart) {
    start();
    hull_->type("vsock listen 5000 cat &\n");
    std::vector<UniqueFd> streams;
    streams.push_back(connect_to_guest(path_, 5000));
    while (streams.size() < 100) {
        streams.push_back(connect_once(path_, 5000));
        ASSERT_TRUE(streams.back().valid()) << streams.size();
    }
    for (size_t number = 0; number < streams.size(); ++number) {
        send_all(streams[number].get(), "stream " + std::to_string(number));
        shutdown(streams[number].get(), SHUT_WR);
    }
    for (size_t number = 0; number < streams.size(); ++number) {
        EXPECT_EQ(read_to_end(streams[number].get()), "stream " + std::to_string(number));
    }
    finish();
}

TEST_P(Vsock, UnbindingTheDriverEndsStreamsAndTheNextOnesWork) {
    start();
    hull_->type("vsock listen 5000 cat &\n");
    const UniqueFd stream = connect_to_guest(path_, 5000);
    send_all(stream.get(), "before");
    EXPECT_EQ(read_up_to(stream.get(), 6, kPatienceMs), "before");
    hull_->type(
        "cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport && d=$(echo virtio*) && echo $d >unbind; "
        "echo unbound\n");
    ASSERT_TRUE(hull_->wait_for("\r\nunbound"));
    EXPECT_EQ(read_to_end(stream.get()), "");
    // Waits until the driver is back.
    const UniqueFd early = connect_unix(path_);
    send_all(early.get(), "CONNECT 5001\n");
    hull_->type("vsock listen 5001 cat & sleep 1; echo $d >bind; cd /\n");
    EXPECT_EQ(read_up_to(early.get(), 3, kPatienceMs), "OK ");
    send_all(early.get(), "after");
    shutdown(early.get(), SHUT_WR);
    EXPECT_THAT(read_to_end(early.get()), HasSubstr("\nafter"));
    hull_->type("head -c 1000 /dev/hwrng | wc -c\n");
    EXPECT_TRUE(hull_->wait_for("1000\r\n")) << "another device";
    finish();
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, Vsock,
    testing::Values(Way{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                    Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                    Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                    Way{"small_mmio", "small/bzImage", "initramfs-small", "acpi", "mmio"}),
    [](const auto& way) { return std::string{way.param.name}; });

TEST(VsockSocket, IsGoneWhereTheMachineIsKilledAndReplacedWhereTheKeeperWas) {
    const TemporaryFolder folder;
    const std::string path = folder.path() / "vsock";
    for (const bool keeper : {true, false}) {
        HullProcess hull{boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "",
                              {"--vsock", "cid=3,socket=" + path}),
                         HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));  // the second time in spite of what the first has left
        EXPECT_TRUE(std::filesystem::is_socket(path));
        const pid_t machine = hull.machine();
        kill(keeper ? hull.keeper() : machine, SIGKILL);
        EXPECT_EQ(hull.wait(), keeper ? 1000 + SIGKILL : 15);
        // The machine whose keeper was killed ends by itself, a moment later.
        for (int tries = 0; tries < 1000 && kill(machine, 0) == 0; ++tries) {
            std::this_thread::sleep_for(10ms);
        }
        EXPECT_EQ(std::filesystem::exists(path), keeper);
    }
}

TEST(VsockSocket, ThatNobodyListensOnIsReplacedAndOneInUseIsAnError) {
    const TemporaryFolder folder;
    const std::string path = folder.path() / "vsock";
    listen_unix(path);  // and is gone
    ASSERT_TRUE(std::filesystem::is_socket(path));
    const std::vector<std::string> words =
        boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", {"--vsock", "cid=3,socket=" + path});
    HullProcess hull{words, HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    HullProcess second{words};
    EXPECT_EQ(second.wait(), 4);
    EXPECT_THAT(second.err(), HasSubstr("cannot listen at '" + path + "': another program does, or may"));
    EXPECT_EQ(second.out(), "");
    hull.type("vsock listen 5000 cat &\n");
    EXPECT_TRUE(connect_to_guest(path, 5000).valid()) << "the first one has lost its socket";
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace hull::test

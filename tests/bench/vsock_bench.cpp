// What one small packet to the host and one back cost in the model of a socket device: the queues, the stream
// and its credit, between a guest's driver and a program of the host's that sends back what it gets.
//   hull_vsock_bench ROUNDS [driver]
// Prints the time of a round; with "driver", of what the guest's driver and the program do in one, which is
// to be subtracted. For instructions, the difference of two runs, divided by the rounds that one has more
// (what the kernel does for the system calls is not in them):
//   valgrind --tool=callgrind --callgrind-out-file=/dev/null hull_vsock_bench 1000
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include "devices/vsock/host_socket.h"
#include "tests/support/vsock_driver.h"
#include "vmm/main/made_files.h"

using namespace hull;
using namespace hull::virtio;
using test::VsockDriver;

namespace {

constexpr uint32_t kSize = 64;

/// The program's side of a stream, connected to the guest's port 80 as programs of the host's are.
UniqueFd connect_to_guest(const std::string& path, VsockDriver& driver) {
    UniqueFd program{socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(program.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        write(program.get(), "CONNECT 80\n", 11) != 11) {
        return {};
    }
    driver.offer(2);
    if (driver.run().size() != 1) {
        return {};
    }
    driver.send(VsockDriver::header(VIRTIO_VSOCK_OP_RESPONSE, 80, VsockConnections::kFirstHostPort));
    std::array<char, 64> line{};
    return driver.run().empty() && read(program.get(), line.data(), line.size()) > 0 ? std::move(program)
                                                                                     : UniqueFd{};
}

/// False where not all came through.
bool run(long rounds, bool driver_only, VsockDriver& driver, const UniqueFd& program) {
    VsockHeader header = VsockDriver::header(VIRTIO_VSOCK_OP_RW, 80, VsockConnections::kFirstHostPort);
    header.len = kSize;
    driver.send(header, std::string(kSize, 'x'));
    driver.transmit_queue().set_available_index(1);  // the packet is there, and is made available below
    const uint16_t packet = 2;
    const uint64_t packet_at = VsockDriver::kTransmitData + 0x100;
    std::array<char, kSize> bytes{};
    bool all = true;
    for (long round = 0; round < rounds; ++round) {
        header.fwd_cnt = static_cast<uint32_t>(round) * kSize;
        all &= driver.memory().write(GuestAddress{packet_at}, header);
        driver.transmit_queue().make_available(packet);
        if (round > 0) {
            driver.receive_queue().make_available(1);
        }
        driver.kick_transmit();
        if (driver_only) {
            continue;
        }
        driver.connections().take_turn(0);
        all &= read(program.get(), bytes.data(), kSize) == kSize;
        all &= write(program.get(), bytes.data(), kSize) == kSize;
        driver.connections().take_turn(0);
    }
    return all && (driver_only || driver.receive_queue().take_used().size() == static_cast<uint16_t>(rounds));
}

}  // namespace

int main(int argc, char** argv) {
    const long rounds = argc == 2 || argc == 3 ? std::atol(argv[1]) : 0;
    if (rounds <= 0) {
        std::fputs("hull_vsock_bench ROUNDS [driver]\n", stderr);
        return 2;
    }
    const std::string path = "/tmp/hull-vsock-bench-" + std::to_string(getpid());
    MadeFiles made;
    const UniqueFd listener_fd = made.listen_at(path);
    VsockDriver driver{listener_fd.get(), path, feature(VIRTIO_RING_F_EVENT_IDX)};
    const UniqueFd program = connect_to_guest(path, driver);
    const auto begin = std::chrono::steady_clock::now();
    if (!program.valid() || !run(rounds, argc == 3, driver, program)) {
        std::fputs("hull_vsock_bench: not every packet came through\n", stderr);
        return 1;
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    std::printf("%.1f ns\n", taken.count() / static_cast<double>(rounds));
    return 0;
}

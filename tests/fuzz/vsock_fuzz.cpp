// A guest gone wild on the rings and the packets of a socket device, and programs of the host's that do
// anything.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <string>

#include "base/unique_fd.h"
#include "devices/vsock/connections.h"
#include "devices/vsock/host_socket.h"
#include "tests/fuzz/input.h"
#include "tests/support/sockets.h"
#include "tests/support/vsock_driver.h"
#include "vmm/main/made_files.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;
using test::VsockDriver;

constexpr uint32_t kServedPort = 7000;

/// The sockets of the host's side, made once for all inputs.
struct Host {
    static std::string make_folder() {
        std::string name = "/tmp/hull-vsock-fuzz-XXXXXX";
        require(mkdtemp(name.data()) != nullptr);
        return name;
    }
    ~Host() {
        unlink((path + "_" + std::to_string(kServedPort)).c_str());
        made.remove();
        rmdir(folder.c_str());
    }
    /// Forgets whoever an input before has left waiting.
    void clear() const {
        for (const int fd : {server.get(), listener_fd.get()}) {
            while (UniqueFd{accept(fd, nullptr, nullptr)}.valid()) {
            }
        }
    }
    std::string folder = make_folder();
    std::string path = folder + "/v";
    MadeFiles made;
    UniqueFd listener_fd = made.listen_at(path);
    UniqueFd server = test::listen_unix(path + "_" + std::to_string(kServedPort), SOCK_NONBLOCK);
};

/// A packet that is mostly sound.
VsockHeader make_header(test::FuzzInput& input, uint32_t last_host_port) {
    const uint8_t kind = input.byte();
    const std::array<uint32_t, 4> host_ports = {kServedPort, kServedPort, last_host_port, 1};
    const auto op = static_cast<uint16_t>(kind % 8);
    VsockHeader header = VsockDriver::header(op, 100 + (kind >> 3 & 3), host_ports.at(kind >> 5 & 3));
    if (header.dst_port == last_host_port) {
        header.src_port = 80;  // what the host's programs ask for
    }
    header.fwd_cnt = input.half_word();
    if ((kind & 0x80) != 0) {
        switch (input.byte() % 9) {
            case 0:
                header.src_cid = input.word();
                break;
            case 1:
                header.dst_cid = input.byte();
                break;
            case 2:
                header.type = input.half_word();
                break;
            case 3:
                header.op = input.half_word();
                break;
            case 4:
                header.flags = input.byte();
                break;
            case 5:
                header.buf_alloc = input.word();
                break;
            case 6:
                header.fwd_cnt = input.word();
                break;
            case 7:
                header.len = input.word();
                break;
            default:
                header.src_port = input.word();
                break;
        }
    } else if (op == VIRTIO_VSOCK_OP_SHUTDOWN) {
        header.flags = kind >> 3 & 3;
    }
    return header;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const Host host;
    host.clear();
    test::FuzzInput input{{data, size}};
    const uint64_t features = uint64_t{input.byte()} << VIRTIO_RING_F_INDIRECT_DESC &
                              (feature(VIRTIO_RING_F_INDIRECT_DESC) | feature(VIRTIO_RING_F_EVENT_IDX));
    VsockDriver driver{host.listener_fd.get(), host.path, features};
    std::deque<UniqueFd> programs;
    uint32_t last_host_port = 2;
    static const std::string kBytes(0x8000, 'x');
    static std::array<char, 0x20000> sink;

    const auto run = [&] {
        for (const test::VsockPacket& packet : driver.run()) {
            if (packet.header.op == VIRTIO_VSOCK_OP_REQUEST) {
                last_host_port = packet.header.src_port;
            }
        }
        require(driver.connections().size() <= VsockConnections::kMostConnections);
        require(driver.connections().waiting() <=
                VsockConnections::kMostResets + 2 * VsockConnections::kMostConnections);
    };
    while (!input.empty()) {
        const uint8_t what = input.byte();
        UniqueFd* program = programs.empty() ? nullptr : &programs[(what >> 4) % programs.size()];
        switch (what % 16) {
            case 0:
            case 1:
            case 2:
            case 3: {
                VsockHeader header = make_header(input, last_host_port);
                const size_t length = header.op == VIRTIO_VSOCK_OP_RW ? input.half_word() % kBytes.size() : 0;
                if (header.len == 0) {
                    header.len = static_cast<uint32_t>(length);
                }
                driver.send(header, std::string_view{kBytes}.substr(0, length));
                break;
            }
            case 4: {
                // A chain of any shape on either queue.
                const uint8_t shape = input.byte();
                const test::Buffer buffers[] = {
                    {VsockDriver::kTransmitData + input.half_word(), input.half_word(), (shape & 1) != 0},
                    {VsockDriver::kTransmitData, input.byte(), (shape & 2) != 0}};
                const auto chain = std::span{buffers}.first((shape & 4) != 0 ? 2 : 1);
                test::DriverQueue& queue =
                    (shape & 8) != 0 ? driver.receive_queue() : driver.transmit_queue();
                const auto head = static_cast<uint16_t>(shape >> 4 & 14);
                (shape & 16) != 0 ? queue.add_indirect(chain, head) : queue.add(chain, head);
                driver.kick_transmit();
                break;
            }
            case 5:
                require(driver.memory().write(
                    GuestAddress{VsockDriver::kReceiveRings + input.half_word() % 0x6000}, input.byte()));
                break;
            case 6:
            case 7:
                driver.offer(input.byte() % VsockDriver::kQueueSize);
                break;
            case 8: {
                UniqueFd fd = test::connect_unix(host.path, SOCK_NONBLOCK);
                const std::string line = (what & 0x80) != 0 ? "CONNECT x\n" : "CONNECT 80\n";
                static_cast<void>(send(fd.get(), line.data(), line.size() - (what >> 4 & 1), MSG_NOSIGNAL));
                programs.push_back(std::move(fd));
                break;
            }
            case 9: {
                UniqueFd fd{accept4(host.server.get(), nullptr, nullptr, SOCK_NONBLOCK)};
                if (fd.valid()) {
                    programs.push_back(std::move(fd));
                }
                break;
            }
            case 10:
                if (program != nullptr) {
                    static_cast<void>(
                        send(program->get(), kBytes.data(), input.half_word() % kBytes.size(), MSG_NOSIGNAL));
                }
                break;
            case 11:
                if (program != nullptr) {
                    static_cast<void>(recv(program->get(), sink.data(), sink.size(), MSG_DONTWAIT));
                }
                break;
            case 12:
                if (program != nullptr) {
                    shutdown(program->get(), input.byte() % 3);
                }
                break;
            case 13:
                if (program != nullptr) {
                    programs.pop_front();
                }
                break;
            default:
                run();
                break;
        }
    }
    run();
    return 0;
}

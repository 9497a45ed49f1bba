// Drivers that break the rules of a device's queues, on each transport: it costs the device, which a reset
// mends, and another device of the machine works on. What is hostile in a device's own requests is in its own
// test.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <linux/virtio_console.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "devices/console/console.h"
#include "devices/fs/file_share.h"
#include "devices/rng/rng.h"
#include "devices/vsock/vsock.h"
#include "tests/support/device_rig.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull::virtio {
namespace {

using test::eventually;
using test::kReset;
using test::kVersion1;
using test::packet;
using test::PipePort;
using test::Rig;
using test::Wire;

template <typename Transport>
class HostileDriver : public testing::Test {
  protected:
    /// A kind of device with its host's side.
    struct Kind {
        const char* name;
        uint16_t queues;
        uint64_t features;
        std::vector<uint16_t> read;  ///< the queues in which it looks whenever it is kicked
        typename Rig<Transport>::Make make;
        std::function<bool(Rig<Transport>&)> works;  ///< called behind a start
    };

    HostileDriver() { other_.start(kVersion1 | kReset); }

    std::vector<Kind> kinds() {
        const auto named = [this] {
            return std::make_unique<Console>(std::vector<NamedPort>{{.name = "port", .host = *port_.host}});
        };
        const auto console = [this] { return std::make_unique<Console>(*port_.host, std::nullopt); };
        const auto vsock = [this] {
            return std::make_unique<Vsock>(VsockSettings{.cid = 7, .connect = connect_beside(path_)},
                                           UniqueFd{fcntl(listener_.get(), F_DUPFD_CLOEXEC, 0)});
        };
        const auto files = [] { return std::make_unique<FileShare>("tag", UniqueFd{}); };
        const auto writes_to_port = [this](uint16_t queue) {
            return [this, queue](Rig<Transport>& rig) {
                rig.send(queue, 0, "works");
                rig.side().kick(queue);
                std::string got;
                return eventually([&] { return (got += port_.read_all()).ends_with("works"); });
            };
        };
        return {
            {"net",
             2,
             0,
             {1},
             wire_.net(false),
             [this](Rig<Transport>& rig) { return bool{test::carries_frames(rig, wire_, 0, 0)}; }},
            {"rng", 1, 0, {0}, [] { return std::make_unique<Rng>(); }, gives_random_bytes},
            {"ports", 6, feature(VIRTIO_CONSOLE_F_MULTIPORT), {3, 5}, named, writes_to_port(5)},
            {"console", 2, 0, {1}, console, writes_to_port(1)},
            {"vsock", 3, 0, {1}, vsock, refuses_a_stream},
            {"files", 2, 0, {0, 1}, files, answers_that_there_is_no_server},
        };
    }
    /// Has the driver do something, and looks whether the device recovers and another is not touched by it.
    void suffer(const Kind& kind, Rig<Transport>& rig, const std::function<void()>& act) {
        start(kind, rig);
        act();
        start(kind, rig);
        EXPECT_TRUE(kind.works(rig)) << "it does not recover";
        other_.offer(0, served_++);
        other_.side().kick(0);
        EXPECT_TRUE(eventually([&] { return other_.take(0).size() == 1; })) << "another device";
    }

  private:
    static void start(const Kind& kind, Rig<Transport>& rig) {
        rig.clear_queues();
        rig.start(kVersion1 | kReset | kind.features);
    }
    static bool gives_random_bytes(Rig<Transport>& rig) {
        rig.offer(0, 0);
        rig.side().kick(0);
        return eventually([&] { return rig.take(0).size() == 1; });
    }
    static bool answers_that_there_is_no_server(Rig<Transport>& rig) {
        rig.put(Rig<Transport>::data_at(1, 0), std::string(sizeof(fuse_in_header), '\1'));
        const test::Buffer buffers[] = {{Rig<Transport>::data_at(1, 0), sizeof(fuse_in_header), false},
                                        {Rig<Transport>::data_at(1, 1), sizeof(fuse_out_header), true}};
        rig.add(1, buffers, 0);
        rig.side().kick(1);
        return eventually([&] { return rig.used(1) == 1; });
    }
    static bool refuses_a_stream(Rig<Transport>& rig) {
        VsockHeader header{};
        header.src_cid = 7;
        header.dst_cid = VMADDR_CID_HOST;
        header.dst_port = 5;  // where nobody listens
        header.type = VIRTIO_VSOCK_TYPE_STREAM;
        header.op = VIRTIO_VSOCK_OP_REQUEST;
        rig.offer(0, 0);
        rig.send(1, 0, packet(header));
        rig.side().kick(1);
        return eventually([&] { return rig.take(0).size() == 1; });
    }

    Wire wire_{SOCK_SEQPACKET};
    PipePort port_;
    test::TemporaryFolder folder_;
    const std::string path_ = folder_.path() / "vsock";
    UniqueFd listener_ = test::listen_unix(path_, SOCK_NONBLOCK);
    Rig<Transport> other_{1, [] { return std::make_unique<Rng>(); }};
    uint64_t served_ = 0;
};
using Transports = testing::Types<test::MmioSide, test::PciSide>;
TYPED_TEST_SUITE(HostileDriver, Transports);

/// What a driver writes into a queue.
struct RingRow {
    const char* what;
    std::function<void(test::DriverQueue&)> act;
};

const RingRow kRings[] = {
    {"an index that jumps", [](test::DriverQueue& queue) { queue.set_available_index(1000); }},
    {"a head that is no descriptor", [](test::DriverQueue& queue) { queue.make_available(0xffff); }},
    {"a chain that does not end",
     [](test::DriverQueue& queue) {
         queue.set_descriptor(0, {.addr = 0x8'0000, .len = 1, .flags = VRING_DESC_F_NEXT, .next = 0});
         queue.make_available(0);
     }},
    {"a chain that goes on where nothing is",
     [](test::DriverQueue& queue) {
         queue.set_descriptor(0, {.addr = 0x8'0000, .len = 1, .flags = VRING_DESC_F_NEXT, .next = 0x7fff});
         queue.make_available(0);
     }},
    {"a buffer outside of memory",
     [](test::DriverQueue& queue) {
         const test::Buffer buffer[] = {{uint64_t{1} << 40, 100, false}};
         queue.add(buffer);
     }},
    {"a buffer that wraps",
     [](test::DriverQueue& queue) {
         const test::Buffer buffer[] = {{~uint64_t{0} - 10, 100, true}};
         queue.add(buffer);
     }},
    {"something to read behind something to write",
     [](test::DriverQueue& queue) {
         const test::Buffer buffers[] = {{0x8'0000, 16, true}, {0x8'1000, 16, false}};
         queue.add(buffers);
     }},
    {"an indirect table where none was negotiated",
     [](test::DriverQueue& queue) {
         queue.set_descriptor(0, {.addr = 0x8'0000, .len = 16, .flags = VRING_DESC_F_INDIRECT, .next = 0});
         queue.make_available(0);
     }},
};

TYPED_TEST(HostileDriver, RingsCostTheirDeviceOnly) {
    for (const auto& kind : this->kinds()) {
        Rig<TypeParam> rig{kind.queues, kind.make};
        for (const RingRow& row : kRings) {
            for (uint16_t queue = 0; queue < kind.queues; ++queue) {
                SCOPED_TRACE(std::string{kind.name} + ", queue " + std::to_string(queue) + ": " + row.what);
                this->suffer(kind, rig, [&] {
                    row.act(rig.queues[queue]);
                    rig.side().kick(queue);
                    if (std::ranges::find(kind.read, queue) != kind.read.end()) {
                        EXPECT_TRUE(eventually(
                            [&] { return (rig.side().status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0; }));
                    }
                });
            }
        }
    }
}

/// What a driver does with the queues of a device that runs.
struct OrderRow {
    const char* what;
    std::function<void(test::Side& side, uint16_t queues, const std::vector<QueueConfig>& good)> act;
    bool broken;
};

const OrderRow kOrders[] = {
    {"all are reset, with kicks between",
     [](test::Side& side, uint16_t queues, const auto& /*good*/) {
         for (uint16_t index = 0; index < queues; ++index) {
             side.kick(index);
             side.reset_queue(index, 1);
             side.kick(index);
         }
     },
     false},
    {"one after the other is reset and enabled, last first, many times",
     [](test::Side& side, uint16_t queues, const auto& good) {
         for (int times = 0; times < 20; ++times) {
             for (uint16_t index = queues; index-- > 0;) {
                 side.reset_queue(index, 1);
                 side.kick(index);
                 side.set_queue(index, good[index]);
                 side.kick(index);
             }
         }
     },
     false},
    {"each takes the place of the next",
     [](test::Side& side, uint16_t queues, const auto& good) {
         for (uint16_t index = 0; index < queues; ++index) {
             side.reset_queue(index, 1);
             side.set_queue(index, good[(index + size_t{1}) % queues]);
             side.kick(index);
         }
     },
     false},
    {"the last is enabled again outside of memory",
     [](test::Side& side, uint16_t queues, const auto& good) {
         const auto last = static_cast<uint16_t>(queues - 1);
         side.reset_queue(last, 1);
         QueueConfig bad = good[last];
         bad.device_area = GuestAddress{uint64_t{1} << 44};
         side.set_queue(last, bad);
         for (uint16_t index = 0; index < queues; ++index) {
             side.kick(index);
             side.reset_queue(index, 1);
             side.set_queue(index, good[index]);
         }
     },
     true},
};

/// Lets this process open `more` descriptors than it has, as long as it is there.
class DescriptorLimit {
  public:
    explicit DescriptorLimit(rlim_t more) {
        // The sanitizer looks at each class that it has not seen yet by means of a pipe, for which there is
        // no descriptor later.
        try {
            throw Error{ExitStatus::no_resources, "seen", "before"};
        } catch (const std::exception& error) {
            EXPECT_STRNE(error.what(), "");
        }
        const UniqueFd next{fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)};
        getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit few{.rlim_cur = static_cast<rlim_t>(next.get()) + more, .rlim_max = before_.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
    }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;
    ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

TYPED_TEST(HostileDriver, AHostThatIsOutOfDescriptorsCostsTheDeviceThatStartsOnly) {
    for (const auto& kind : this->kinds()) {
        {
            // What serves it is there from the start or never, so that its guest can use nothing up.
            const DescriptorLimit limit{0};
            EXPECT_THROW((Rig<TypeParam>{kind.queues, kind.make}), Error) << kind.name;
        }
        Rig<TypeParam> rig{kind.queues, kind.make};
        for (rlim_t more = 0; more < 4; ++more) {
            SCOPED_TRACE(std::string{kind.name} + " and " + std::to_string(more) + " descriptors");
            this->suffer(kind, rig, [&] {
                rig.clear_queues();
                const DescriptorLimit limit{more};
                rig.start(kind.features | kVersion1 | kReset);
            });
        }
    }
}

TYPED_TEST(HostileDriver, OrdersToQueuesCostTheirDeviceOnly) {
    for (const auto& kind : this->kinds()) {
        Rig<TypeParam> rig{kind.queues, kind.make};
        for (const OrderRow& row : kOrders) {
            SCOPED_TRACE(std::string{kind.name} + ": " + row.what);
            this->suffer(kind, rig, [&] {
                std::vector<QueueConfig> good;
                for (const test::DriverQueue& queue : rig.queues) {
                    good.push_back(queue.config());
                }
                for (uint16_t queue = 0; queue < kind.queues; ++queue) {
                    rig.offer(queue, 0);  // work of a sort is under way
                    rig.side().kick(queue);
                }
                row.act(rig.side(), kind.queues, good);
                EXPECT_EQ((rig.side().status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0, row.broken);
            });
        }
    }
}

}  // namespace
}  // namespace hull::virtio

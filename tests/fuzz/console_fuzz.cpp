// A guest gone wild on the queues of a console device with two named ports, or of one console, and hosts that
// come, go and take what they like.
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "devices/console/console_queues.h"
#include "tests/fuzz/input.h"
#include "tests/support/console_guest.h"

namespace {

using namespace hull;
using test::ConsoleGuest;
using test::require;
using namespace hull::virtio;

constexpr uint16_t kQueues = 8;

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    const uint8_t mode = input.byte();
    const bool named = (mode & 1) != 0;
    const uint64_t features = uint64_t{mode} >> 1 << VIRTIO_RING_F_INDIRECT_DESC &
                              (feature(VIRTIO_RING_F_INDIRECT_DESC) | feature(VIRTIO_RING_F_EVENT_IDX));
    ConsoleGuest guest{kQueues};
    std::array<test::FakePortHost, 2> hosts;
    const NamedPort ports[] = {{"first", hosts[0]}, {"second", hosts[1]}};
    const UniqueFd up = make_eventfd();
    const UniqueFd never = make_eventfd();
    std::array<PortState, 2> states{};
    std::optional<ConsoleQueues> queues;
    if (named) {
        queues.emplace(guest.activation(features), std::span{ports}, std::span{states});
    } else {
        queues.emplace(guest.activation(features), hosts[0], states[0], up.get());
    }
    const auto step = [&] {
        hosts[0].wake();  // or it would wait
        return queues->turn() && queues->wait(never.get());
    };

    bool works = true;
    while (works && !input.empty()) {
        const uint8_t what = input.byte();
        const uint16_t queue = what >> 5;
        test::FakePortHost& host = hosts[input.byte() & 1];
        switch (what % 8) {
            case 0:
                guest.offer(queue, input.half_word() % ConsoleGuest::kPage + 1);
                break;
            case 1:
                guest.send(queue, std::vector<std::byte>(input.byte() % 32U, std::byte{input.byte()}));
                break;
            case 2:
                // Mostly of a port that is there.
                guest.send_control(input.byte() % 4U - 1U, input.byte() % 9, input.byte() % 3);
                break;
            case 3: {
                const test::Buffer buffers[] = {
                    {ConsoleGuest::page(queue, 0) + input.byte(), input.half_word(), (queue & 1) == 0},
                    {ConsoleGuest::page(queue, 1), input.byte(), (input.byte() & 3) == 0}};
                const auto head = static_cast<uint16_t>(input.byte() % 4 * 2);
                (input.byte() & 1) != 0 ? guest.queues[queue].add_indirect(buffers, head)
                                        : guest.queues[queue].add(buffers, head);
                break;
            }
            case 4:
                require(guest.memory.write(GuestAddress{input.half_word() % (ConsoleGuest::kPage * kQueues)},
                                           input.byte()));
                break;
            case 5:
                host.open = (input.byte() & 3) != 0;
                host.room = input.byte();
                break;
            case 6:
                host.waiting.append(input.byte(), 'x');
                if (what >> 7 != 0) {
                    signal_eventfd(up.get());
                }
                break;
            default:
                guest.kick(queue);
                works = step();
                break;
        }
        // What the guest gives is never piled up.
        host.got.clear();
    }
    while (works && hosts[0].waiting.size() + hosts[1].waiting.size() > 0 && !input.empty()) {
        works = step();
    }
    queues->keep_rest(PortQueues::Rest::all);
    require(works || !guest.calls.broken.empty());
    return 0;
}

// A guest that is an enemy: from a seed it writes to every register of every device, in and out of order, and
// fills rings with what is hostile, and with what is nearly right, so that it gets far. Words on its command
// line:
//
//   seed=N      what all its choices follow from; 1 where there is none
//   rounds=N    how many things it does in all, on each processor; 1000 where there is none
//
// It prints how many it did and powers off. Each processor (up to four) does as many, with choices of its
// own.

#include <asm/bootparam.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "guest/hostile/requests.h"

namespace hostile {
namespace {

constexpr uint64_t kQueueRoom = 0x4000;  // of the arena, for the areas of one queue
constexpr unsigned kProcessors = 4;

uint64_t seed = 1;
uint64_t rounds = 1000;
/// Of each processor, when it has done its rounds.
volatile uint64_t rounds_done[kProcessors];
volatile bool is_here[kProcessors];

template <typename T>
void set_bits(T& value, T bits, bool on) {
    value = on ? value | bits : value & ~bits;
}

// --- values that are wrong

/// Of memory that does not exist or is not memory, or of what must not be used so.
uint64_t bad_address(Random& random) {
    const uint64_t addresses[] = {arena.end,
                                  arena.end - 1 - random.below(64),
                                  arena.end - 4096,
                                  kPciConfiguration,
                                  kPciConfiguration + 0x10'0000 + random.below(0x20'0000),
                                  kPowerRegisters,
                                  kMmioDevices,
                                  0xfee0'0000,
                                  0xffff'ffff,
                                  uint64_t{1} << 32,
                                  uint64_t{1} << (33 + random.below(31)),
                                  ~uint64_t{0} - random.below(4096),
                                  ~uint64_t{0} << 12,
                                  random.next() | uint64_t{1} << 40,
                                  arena.start + random.below(static_cast<uint32_t>(arena.end - arena.start))};
    return random.of(addresses);
}

uint32_t bad_length(Random& random) {
    const uint32_t lengths[] = {0,
                                1,
                                15,
                                17,
                                4095,
                                0x7fff'ffff,
                                0xffff'ffff,
                                0xffff'fff0,
                                16 * 1024 * 1024,
                                static_cast<uint32_t>(random.next())};
    return random.of(lengths);
}

unsigned some_width(Random& random) {
    const unsigned widths[] = {1, 2, 4, 8};
    return random.of(widths);
}

uint64_t some_value(Random& random) {
    const uint64_t values[] = {0,
                               1,
                               2,
                               0xff,
                               0xffff,
                               0xffff'ffff,
                               random.next(),
                               uint64_t{1} << random.below(64),
                               random.below(256)};
    return random.of(values);
}

// --- rounds that follow no rule

void read_or_write(Random& random, uint64_t address) {
    const unsigned width = some_width(random);
    if (random.one_in(2)) {
        read_register(address, width);
    } else {
        write_register(address, width, some_value(random));
    }
}

void disturb_registers(Random& random, const Device& device) {
    const uint32_t space = static_cast<uint32_t>(register_space(device));
    for (unsigned count = 1 + random.below(8); count > 0; --count) {
        // Most of them where there are registers, and most of those aligned.
        uint32_t offset = random.below(random.one_in(4) ? space : 0x140);
        offset = random.one_in(8) ? offset : offset & ~uint32_t{3};
        read_or_write(random, device.registers + offset);
    }
}

void disturb_configuration(Random& random, const Device& device) {
    if (!device.is_pci) {
        read_or_write(random, device.configuration + random.below(0x100));
        return;
    }
    for (unsigned count = 1 + random.below(8); count > 0; --count) {
        const uint32_t offset = random.below(random.one_in(8) ? 0x1000 : 0x100);
        if (random.one_in(2)) {
            read_or_write(random, device.function + offset);
        } else {
            const auto slot = static_cast<uint32_t>((device.function - kPciConfiguration) >> 15);
            write_port(0xcf8, 4, 0x8000'0000 | slot << 11 | (offset & 0xfc));
            const auto port = static_cast<uint16_t>(0xcfc + random.below(4));
            const unsigned width = 1U << random.below(3);
            random.one_in(2) ? read_port(port, width)
                             : write_port(port, width, static_cast<uint32_t>(some_value(random)));
        }
    }
}

void disturb_interrupts(Random& random, const Device& device) {
    if (!device.is_pci) {
        return;
    }
    const uint32_t control = device.msix_capability + PCI_MSIX_FLAGS;
    write_register(device.function + control, 2,
                   random.one_in(2) ? uint64_t{PCI_MSIX_FLAGS_ENABLE} : some_value(random));
    for (unsigned count = 1 + random.below(8); count > 0; --count) {
        const uint32_t entry = random.below(device.vectors + (random.one_in(8) ? 100U : 0U));
        const uint64_t place = device.msix_table + uint64_t{entry} * PCI_MSIX_ENTRY_SIZE;
        switch (random.below(4)) {
            case 0:
                write_register(place, 8, random.one_in(2) ? 0xfee0'0000 : random.next());
                break;
            case 1:
                write_register(place + PCI_MSIX_ENTRY_DATA, 4, random.next());
                break;
            case 2:
                write_register(place + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, random.below(2));
                break;
            default:
                read_or_write(random, place + random.below(16));
                break;
        }
    }
}

/// Serial port, clock, keyboard controller, the bridge's ports, and those that nobody has.
void disturb_ports(Random& random) {
    const uint16_t ports[] = {static_cast<uint16_t>(kSerialPort + random.below(8)),
                              static_cast<uint16_t>(kSerialPort + 1 + random.below(7)),
                              static_cast<uint16_t>(0x70 + random.below(2)),
                              static_cast<uint16_t>(0x60 + random.below(5)),
                              static_cast<uint16_t>(0xcf8 + random.below(8)),
                              static_cast<uint16_t>(random.below(0x1'0000))};
    for (unsigned count = 1 + random.below(8); count > 0; --count) {
        const uint16_t port = random.of(ports);
        const unsigned width = 1U << random.below(3);
        random.one_in(2) ? read_port(port, width)
                         : write_port(port, width, static_cast<uint32_t>(some_value(random)));
    }
}

/// Where no virtio device is, or where one begins or ends.
void disturb_addresses(Random& random) {
    const uint64_t addresses[] = {kPowerRegisters + random.below(0x2000),
                                  kPowerRegisters + random.below(16),
                                  kMmioDevices + random.below(0x2'0000),
                                  kMmioDevices + (uint64_t{random.below(16)} << 12) - random.below(8),
                                  kPciConfiguration + random.below(0x10'0000),
                                  kPciConfiguration + (uint64_t{random.below(256)} << 12) - random.below(8),
                                  kPciWindowEnd - random.below(16),
                                  arena.end + random.below(0x1000'0000)};
    for (unsigned count = 1 + random.below(4); count > 0; --count) {
        read_or_write(random, random.of(addresses));
    }
}

// --- set-up

void place_queue(Random& random, const Device& device, uint16_t number, Queue& queue, uint16_t limit) {
    const auto which = static_cast<uint64_t>(&device - devices) * kMostQueues + number;
    const uint64_t room = arena.start + which * kQueueRoom;
    Queue made{};
    made.size = limit < kMostQueueEntries ? limit : kMostQueueEntries;
    while (made.size > 1 && random.one_in(3)) {
        made.size /= 2;
    }
    queue = made;
    queue.descriptors = room;
    queue.driver_area = room + 0x1000;
    queue.device_area = room + 0x2000;
    for (uint64_t offset = 0; offset < 8; offset += 8) {
        put<uint64_t>(queue.driver_area + offset, 0);
        put<uint64_t>(queue.device_area + offset, 0);
    }
    // What is left there of another time does not matter, but for the last fields of both rings.
    put<uint16_t>(queue.driver_area + 4 + 2 * queue.size, 0);
    put<uint16_t>(queue.device_area + 4 + 8 * queue.size, 0);
    if (random.one_in(64)) {
        uint64_t* areas[] = {&queue.descriptors, &queue.driver_area, &queue.device_area};
        *random.of(areas) = random.one_in(2) ? bad_address(random) : room + random.below(0x2010);
    }
}

void set_up_queue(Random& random, Device& device, uint16_t number) {
    const uint16_t limit = select_queue(device, number);
    Queue& queue = device.queue[number];
    place_queue(random, device, number, queue, limit);
    const bool bad_size = random.one_in(64);
    set_queue_size(device, bad_size ? static_cast<uint16_t>(some_value(random)) : queue.size);
    set_queue_areas(device, queue);
    const uint64_t vector = random.one_in(16) ? some_value(random) : random.below(device.vectors + 1U);
    set_queue_vector(device, static_cast<uint16_t>(vector));
    if (!random.one_in(64)) {
        enable_queue(device, random.one_in(64) ? static_cast<uint16_t>(some_value(random)) : uint16_t{1});
    }
}

uint64_t some_features(Random& random, const Device& device) {
    uint64_t features = device.features;
    if (random.one_in(2)) {
        features &= random.next() | random.next();
    }
    set_bits(features, uint64_t{1} << VIRTIO_F_VERSION_1, !random.one_in(128));
    set_bits(features, uint64_t{1} << random.below(64), random.one_in(64));
    return features;
}

void set_up(Random& random, Device& device) {
    if (!random.one_in(32)) {
        set_status(device, 0);
    }
    uint8_t steps[] = {VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 0,
                       0};
    steps[2] = steps[1] | VIRTIO_CONFIG_S_FEATURES_OK;
    steps[3] = steps[2] | VIRTIO_CONFIG_S_DRIVER_OK;
    if (random.one_in(64)) {
        steps[random.below(4)] = static_cast<uint8_t>(some_value(random));
    }
    set_status(device, steps[0]);
    set_status(device, steps[1]);
    accept_features(device, some_features(random, device));
    set_status(device, steps[2]);
    if (random.one_in(64)) {
        set_status(device, steps[3]);  // before there are queues
    }
    for (uint16_t number = 0; number < device.queues; ++number) {
        if (!random.one_in(64)) {
            set_up_queue(random, device, number);
        }
    }
    set_status(device, steps[3]);
}

// --- rings

bool has_feature(const Device& device, unsigned bit) {
    return (device.accepted >> bit & 1) != 0;
}

void write_descriptor(uint64_t table, uint32_t index, const vring_desc& descriptor) {
    const uint64_t place = table + uint64_t{index} * sizeof descriptor;
    put(place, descriptor.addr);
    put(place + 8, descriptor.len);
    put(place + 12, descriptor.flags);
    put(place + 14, descriptor.next);
}

/// Makes one thing of a descriptor wrong.
void spoil(Random& random, vring_desc& descriptor, uint16_t size) {
    switch (random.below(6)) {
        case 0:
            descriptor.addr = bad_address(random);
            break;
        case 1:
            descriptor.len = bad_length(random);
            break;
        case 2:
            descriptor.flags = static_cast<uint16_t>(random.below(8));
            break;
        case 3:
            descriptor.flags = static_cast<uint16_t>(random.next());
            break;
        case 4:
            descriptor.next = static_cast<uint16_t>(random.below(size + 1U));
            descriptor.flags |= VRING_DESC_F_NEXT;
            break;
        default:
            descriptor.addr = ~uint64_t{0} - descriptor.len + random.below(3);
            break;
    }
}

/// Writes the chain into the table from `first` on, each piece followed by the next.
void write_chain(Random& random, uint64_t table, uint32_t first, uint16_t size, const Chain& chain,
                 unsigned spoiled) {
    for (unsigned at = 0; at < chain.count; ++at) {
        const Piece& piece = chain.piece[at];
        const bool is_last = at + 1 == chain.count;
        vring_desc descriptor{};
        descriptor.addr = piece.address;
        descriptor.len = piece.length;
        descriptor.flags = static_cast<uint16_t>((piece.device_writes ? VRING_DESC_F_WRITE : 0) |
                                                 (is_last ? 0 : VRING_DESC_F_NEXT));
        descriptor.next = static_cast<uint16_t>(is_last ? 0 : first + at + 1);
        if (at == spoiled) {
            spoil(random, descriptor, size);
        }
        write_descriptor(table, first + at, descriptor);
    }
}

/// Never 0: another processor may be setting the queue up.
uint16_t size_of(const Queue& queue) {
    const auto& size = const_cast<const volatile uint16_t&>(queue.size);
    const uint16_t now = size;
    return now == 0 ? uint16_t{1} : now;
}

void make_available(Random& random, Queue& queue, uint16_t head) {
    if (random.one_in(256)) {
        head = static_cast<uint16_t>(random.one_in(2) ? random.below(queue.size) : random.next());
    }
    put(queue.driver_area + 4 + 2 * (queue.available % size_of(queue)), head);
    ++queue.available;
}

/// One request more in the queue, if its descriptors are free.
bool add_request(Random& random, Device& device, uint16_t number) {
    Queue& queue = device.queue[number];
    // How many descriptors each chain has for its own.
    const uint16_t size = size_of(queue);
    const uint16_t chunk = size < kMostPieces ? size : uint16_t{kMostPieces};
    const auto used = get<uint16_t>(queue.device_area + 2);
    const auto under_way = static_cast<uint16_t>(queue.available - used);
    const uint16_t chunks = size / chunk;
    if (under_way >= chunks && !random.one_in(32)) {
        return false;
    }
    Chain chain = make_request(random, device, number);
    const auto first = static_cast<uint16_t>(queue.available % chunks * chunk);
    // Mostly right: one chain in many has one descriptor that is not.
    const unsigned spoiled = random.one_in(40) ? random.below(chain.count) : kMostPieces;
    const bool indirect = has_feature(device, VIRTIO_RING_F_INDIRECT_DESC) && random.one_in(3);
    if (indirect || chain.count > chunk) {
        const uint64_t table = buffer(random, kMostPieces * sizeof(vring_desc));
        write_chain(random, table, 0, static_cast<uint16_t>(kMostPieces), chain, spoiled);
        vring_desc descriptor{};
        descriptor.addr = table;
        descriptor.len = chain.count * static_cast<uint32_t>(sizeof(vring_desc));
        descriptor.flags = VRING_DESC_F_INDIRECT;
        if (random.one_in(32)) {
            spoil(random, descriptor, size);
        }
        write_descriptor(queue.descriptors, first, descriptor);
    } else {
        write_chain(random, queue.descriptors, first, size, chain, spoiled);
    }
    make_available(random, queue, first);
    ++device.chains_made;
    return true;
}

void publish(Random& random, const Device& device, Queue& queue) {
    if (has_feature(device, VIRTIO_RING_F_EVENT_IDX)) {
        const auto event = static_cast<uint16_t>(random.one_in(4) ? random.next() : queue.available - 1U);
        put(queue.driver_area + 4 + 2 * uint64_t{queue.size}, event);
    }
    put(queue.driver_area, static_cast<uint16_t>(random.one_in(4) ? random.below(4) : 0));
    uint16_t index = queue.available;
    if (random.one_in(256)) {
        index = static_cast<uint16_t>(random.one_in(2) ? index + random.below(600) : random.next());
    }
    put(queue.driver_area + 2, index);
    if (random.one_in(512)) {
        put(queue.device_area + 2, static_cast<uint16_t>(random.next()));
    }
}

void ring(Random& random, const Device& device, uint16_t number) {
    if (random.one_in(32)) {
        return;
    }
    if (random.one_in(16)) {
        notify(device, random.below(device.queues + 2U), some_width(random), some_value(random));
    } else {
        notify(device, number, 0, number);
    }
}

/// Looks at what the device has answered.
void take_used(Device& device, uint16_t number) {
    Queue& queue = device.queue[number];
    const auto used = get<uint16_t>(queue.device_area + 2);
    for (unsigned most = size_of(queue); most > 0 && queue.seen != used && queue.seen != queue.available;
         --most, ++queue.seen) {
        const uint64_t element = queue.device_area + 4 + 8 * (queue.seen % size_of(queue));
        const auto head = get<uint32_t>(element);
        const auto written = get<uint32_t>(element + 4);
        ++device.chains_used;
        if (head < queue.size) {
            take_answer(device, number, get<uint64_t>(queue.descriptors + 16 * uint64_t{head}), written);
        }
    }
}

/// Whether a device answers to what is in that queue without anything having come from outside.
bool answers_at_once(const Device& device, uint16_t number) {
    const bool has_input =
        device.type == VIRTIO_ID_NET || device.type == VIRTIO_ID_CONSOLE || device.type == VIRTIO_ID_VSOCK;
    return !has_input || number % 2 == 1;
}

void drive(Random& random, Device& device) {
    constexpr uint64_t kPatience = 1'000'000;  // of the time-stamp counter: a fraction of a millisecond
    const uint8_t now = status(device);
    const bool runs = (now & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && (now & VIRTIO_CONFIG_S_NEEDS_RESET) == 0;
    if (!runs || random.one_in(16)) {
        set_up(random, device);
    }
    for (unsigned turns = 1 + random.below(4); turns > 0; --turns) {
        const auto number = static_cast<uint16_t>(random.below(device.queues));
        Queue& queue = device.queue[number];
        if (queue.size == 0) {
            continue;
        }
        for (unsigned count = 1 + random.below(8); count > 0 && add_request(random, device, number);
             --count) {
        }
        publish(random, device, queue);
        ring(random, device, number);
        if (answers_at_once(device, number) && !random.one_in(4)) {
            const uint64_t start = time_stamp();
            while (get<uint16_t>(queue.device_area + 2) != queue.available &&
                   time_stamp() - start < kPatience) {
                asm volatile("pause");
            }
        }
        take_used(device, number);
    }
}

void disturb_running(Random& random, Device& device) {
    const auto number = static_cast<uint16_t>(random.below(device.queues + 1U));
    switch (random.below(6)) {
        case 0:
            set_status(device, random.one_in(2) ? uint8_t{0} : static_cast<uint8_t>(some_value(random)));
            break;
        case 1:
            select_queue(device, number);
            reset_queue(device, random.one_in(8) ? static_cast<uint16_t>(some_value(random)) : uint16_t{1});
            break;
        case 2:
            if (number < device.queues) {
                set_up_queue(random, device, number);
            }
            break;
        case 3:
            select_queue(device, static_cast<uint16_t>(some_value(random)));
            set_queue_size(device, static_cast<uint16_t>(some_value(random)));
            break;
        case 4:
            accept_features(device, some_features(random, device));
            break;
        default:
            if (number < device.queues && device.queue[number].size != 0) {
                // The rings that a device is using, all over.
                const uint64_t areas[] = {device.queue[number].descriptors, device.queue[number].driver_area,
                                          device.queue[number].device_area};
                put(random.of(areas) + random.below(256), random.next());
            }
            break;
    }
}

void do_round(Random& random) {
    Device& device = devices[random.below(device_count)];
    switch (random.below(16)) {
        case 0:
            disturb_registers(random, device);
            break;
        case 1:
            disturb_configuration(random, device);
            break;
        case 2:
            disturb_interrupts(random, device);
            break;
        case 3:
            random.one_in(2) ? disturb_ports(random) : disturb_addresses(random);
            break;
        case 4:
            disturb_running(random, device);
            break;
        default:
            drive(random, device);
            break;
    }
}

/// Drives each device until it has answered, or does not in many tries: a few rounds by chance might never
/// get that far.
void open_all() {
    constexpr int kTries = 200;
    Random random{seed};
    for (unsigned number = 0; number < device_count; ++number) {
        for (int tries = 0; tries < kTries && devices[number].chains_used == 0; ++tries) {
            drive(random, devices[number]);
        }
    }
}

void do_rounds(unsigned processor) {
    Random random{seed * kProcessors + processor};
    for (uint64_t done = 0; done < rounds; ++done) {
        do_round(random);
        rounds_done[processor] = done + 1;
    }
}

// --- the machine

/// Each number that `word=` stands before on the command line.
void read_word(const char* cmdline, const char* word, uint64_t& value) {
    for (const char* at = cmdline; *at != '\0'; ++at) {
        const char* here = at;
        const char* wanted = word;
        while (*wanted != '\0' && *here == *wanted) {
            ++here;
            ++wanted;
        }
        if (*wanted != '\0' || (at != cmdline && at[-1] != ' ')) {
            continue;
        }
        value = 0;
        for (; *here >= '0' && *here <= '9'; ++here) {
            value = value * 10 + static_cast<uint64_t>(*here - '0');
        }
    }
}

void find_memory(const boot_params& boot) {
    constexpr uint64_t kArena = uint64_t{16} << 20;
    for (unsigned i = 0; i < boot.e820_entries; ++i) {
        const boot_e820_entry& entry = boot.e820_table[i];
        constexpr uint32_t kRam = 1;
        const uint64_t end = entry.addr + entry.size;
        if (entry.type == kRam && end <= uint64_t{1} << 32 && end > arena.end) {
            arena = {end - kArena, end};
        }
    }
}

alignas(4096) uint64_t tables[6][512];

/// All addresses below 4 GiB as they are. Hull's own map ends where memory does.
void map_all() {
    constexpr uint64_t kPresentWritable = 3;
    constexpr uint64_t kLarge = 0x80;
    tables[0][0] = reinterpret_cast<uint64_t>(tables[1]) | kPresentWritable;
    for (uint64_t gib = 0; gib < 4; ++gib) {
        tables[1][gib] = reinterpret_cast<uint64_t>(tables[2 + gib]) | kPresentWritable;
        for (uint64_t page = 0; page < 512; ++page) {
            tables[2 + gib][page] = (gib * 512 + page) << 21 | kPresentWritable | kLarge;
        }
    }
    asm volatile("mov %0, %%cr3" : : "r"(tables) : "memory");
}

/// No interrupt hurts any more: a device's message may be an INIT or an SMI.
void give_up_interrupts() {
    constexpr uint32_t kApicBase = 0x1b;
    constexpr uint32_t kEnable = 1 << 11;
    uint32_t low = 0;
    uint32_t high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(kApicBase));
    asm volatile("wrmsr" : : "a"(low & ~kEnable), "d"(high), "c"(kApicBase));
}

extern "C" const uint8_t trampoline[];
extern "C" const uint8_t trampoline_page_table[];
extern "C" const uint8_t trampoline_end[];

void start_processors() {
    constexpr uint64_t kPlace = 0x7'0000;
    constexpr uint64_t kLocalApic = 0xfee0'0000;
    constexpr int kPatience = 200'000;
    const auto size = static_cast<uint64_t>(trampoline_end - trampoline);
    for (uint64_t offset = 0; offset < size; ++offset) {
        at<uint8_t>(kPlace + offset) = trampoline[offset];
    }
    at<uint32_t>(kPlace + static_cast<uint64_t>(trampoline_page_table - trampoline)) =
        static_cast<uint32_t>(reinterpret_cast<uint64_t>(tables));
    at<uint32_t>(kLocalApic + 0xf0) = 0x1ff;
    at<uint32_t>(kLocalApic + 0x300) = 0xc'4500;                 // INIT, to all others
    at<uint32_t>(kLocalApic + 0x300) = 0xc'4600 | kPlace >> 12;  // start-up
    for (int i = 0; i < kPatience; ++i) {
        asm volatile("pause");
    }
}

void report() {
    print("\nhostile: seed ");
    print(seed);
    for (unsigned number = 0; number < device_count; ++number) {
        const Device& device = devices[number];
        print("\nhostile: device ");
        print(number);
        print(" of type ");
        print(device.type);
        print(": ");
        print(device.chains_made);
        print(" chains made, ");
        print(device.chains_used);
        print(" used");
    }
    uint64_t sum = 0;
    for (unsigned processor = 0; processor < kProcessors; ++processor) {
        sum += rounds_done[processor];
    }
    print("\nhostile: ");
    print(sum);
    print(" rounds done\n");
}

}  // namespace

extern "C" [[noreturn]] void begin(const boot_params* boot) {
    const auto* cmdline = reinterpret_cast<const char*>(uint64_t{boot->hdr.cmd_line_ptr});
    read_word(cmdline, "seed=", seed);
    read_word(cmdline, "rounds=", rounds);
    find_memory(*boot);
    map_all();
    find_devices();
    print("hostile: ");
    print(device_count);
    print(" devices\n");
    open_all();
    start_processors();
    give_up_interrupts();
    if (device_count > 0) {
        do_rounds(0);
        for (unsigned processor = 1; processor < kProcessors; ++processor) {
            while (is_here[processor] && rounds_done[processor] < rounds) {
                asm volatile("pause");
            }
        }
    }
    for (unsigned number = 0; number < device_count; ++number) {
        set_status(devices[number],
                   0);  // what a console still has to print would stand between the words here
    }
    report();
    power_off();
}

extern "C" [[noreturn]] void join(unsigned processor) {
    is_here[processor] = true;
    give_up_interrupts();
    do_rounds(processor);
    for (;;) {
        asm volatile("hlt");
    }
}

}  // namespace hostile

// What compilers call by themselves.
extern "C" void* memset(void* target, int value, size_t size) {
    void* at = target;
    asm volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
    return target;
}
extern "C" void* memcpy(void* target, const void* source, size_t size) {
    void* at = target;
    asm volatile("rep movsb" : "+D"(at), "+S"(source), "+c"(size) : : "memory");
    return target;
}

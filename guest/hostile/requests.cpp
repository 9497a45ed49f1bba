#include "guest/hostile/requests.h"

#include <linux/fuse.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>

namespace hostile {

namespace {

constexpr uint64_t kRings = uint64_t{8} << 20;  // of the arena; buffers are behind them
constexpr uint32_t kPage = 4096;

/// Some of a buffer's bytes by chance, the first among them.
void scribble(Random& random, uint64_t address, uint32_t size) {
    const uint32_t most = size < 64 ? size : 64;
    for (uint32_t offset = 0; offset + 8 <= most; offset += 8) {
        put(address + offset, random.next());
    }
}

uint32_t some_size(Random& random) {
    const uint32_t sizes[] = {1, 8, 64, 512, 1500, kPage, 3 * kPage, 65'550, 1 + random.below(2000)};
    return random.of(sizes);
}

void add_data(Random& random, Chain& chain, unsigned pieces, bool device_writes) {
    for (unsigned i = 0; i < pieces; ++i) {
        const uint32_t size = some_size(random);
        const uint64_t address = buffer(random, size);
        if (!device_writes) {
            scribble(random, address, size);
        }
        chain.add(address, size, device_writes);
    }
}

// --- 5.2: a disk

void add_block_request(Random& random, const Device& device, Chain& chain) {
    const uint64_t capacity = read_register(device.configuration, 8);
    const uint32_t types[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
                              VIRTIO_BLK_T_OUT,     VIRTIO_BLK_T_FLUSH,        VIRTIO_BLK_T_GET_ID,
                              VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, random.below(32)};
    const uint32_t type = random.of(types);
    uint64_t sector = capacity == 0 ? 0 : random.next() % capacity;
    if (random.one_in(16)) {
        sector = random.one_in(2) ? capacity - random.below(4) : random.next();
    }
    const uint64_t header = buffer(random, sizeof(virtio_blk_outhdr));
    put(header, type);
    put(header + 4, random.below(2));
    put(header + 8, sector);
    chain.add(header, sizeof(virtio_blk_outhdr), false);
    switch (type) {
        case VIRTIO_BLK_T_IN:
        case VIRTIO_BLK_T_OUT:
            for (unsigned pieces = 1 + random.below(4); pieces > 0; --pieces) {
                const uint32_t size = random.one_in(16) ? some_size(random) : 512 * (1 + random.below(16));
                chain.add(buffer(random, size), size, type == VIRTIO_BLK_T_IN);
            }
            break;
        case VIRTIO_BLK_T_GET_ID:
            chain.add(buffer(random, VIRTIO_BLK_ID_BYTES), VIRTIO_BLK_ID_BYTES, true);
            break;
        case VIRTIO_BLK_T_DISCARD:
        case VIRTIO_BLK_T_WRITE_ZEROES: {
            const uint64_t segment = buffer(random, sizeof(virtio_blk_discard_write_zeroes));
            put(segment, sector);
            put(segment + 8, random.one_in(16) ? static_cast<uint32_t>(random.next()) : random.below(64));
            put(segment + 12, random.one_in(8) ? random.below(8) : random.below(2));
            chain.add(segment, sizeof(virtio_blk_discard_write_zeroes), false);
            break;
        }
        default:
            break;
    }
    chain.add(buffer(random, 1), 1, true);
}

// --- 5.1: a network device

void add_frame(Random& random, Chain& chain) {
    constexpr uint32_t kHeader = 12;                                             // struct virtio_net_hdr_v1
    constexpr uint16_t kProtocols[] = {0x0608, 0x0008, 0x0008, 0x0008, 0xdd86};  // ARP, IPv4, IPv6
    constexpr uint8_t kTransports[] = {1, 6, 17, 58};                            // ICMP, TCP, UDP, ICMPv6
    const uint32_t size = kHeader + 14 + some_size(random);
    const uint64_t frame = buffer(random, size);
    scribble(random, frame, size);
    if (!random.one_in(8)) {
        put<uint64_t>(frame, 0);
        put<uint32_t>(frame + 8, 0);
    }
    const uint64_t ethernet = frame + kHeader;
    put<uint32_t>(ethernet, 0xffff'ffff);
    put<uint16_t>(ethernet + 4, 0xffff);
    put(ethernet + 12, random.of(kProtocols));
    // IPv4, to one of the addresses that a user network has.
    const uint64_t packet = ethernet + 14;
    const uint32_t length = size - kHeader - 14;
    put<uint8_t>(packet, random.one_in(16) ? static_cast<uint8_t>(random.next()) : uint8_t{0x45});
    put(packet + 2, static_cast<uint16_t>((length & 0xff) << 8 | (length >> 8 & 0xff)));
    put<uint16_t>(packet + 6, random.one_in(8) ? static_cast<uint16_t>(random.next()) : uint16_t{0});
    put(packet + 9, random.of(kTransports));
    put<uint32_t>(packet + 12, 0x0f02'000a);
    put<uint32_t>(packet + 16, 0x0002'000a | (2 + random.below(3)) << 24);
    if (random.one_in(2)) {
        chain.add(frame, size, false);
    } else {
        const uint32_t first = 1 + random.below(size - 1);
        chain.add(frame, first, false);
        chain.add(frame + first, size - first, false);
    }
}

void add_net_request(Random& random, const Device& device, uint16_t queue, Chain& chain) {
    if (device.queues % 2 == 1 && queue == device.queues - 1) {
        const uint64_t command = buffer(random, 4);
        put<uint8_t>(command, random.one_in(4) ? static_cast<uint8_t>(random.below(8)) : uint8_t{4});
        put<uint8_t>(command + 1, random.one_in(4) ? static_cast<uint8_t>(random.below(4)) : uint8_t{0});
        put(command + 2, static_cast<uint16_t>(random.below(4)));
        chain.add(command, 4, false);
        chain.add(buffer(random, 1), 1, true);
    } else if (queue % 2 == 1) {
        add_frame(random, chain);
    } else {
        const uint32_t size = random.one_in(4) ? some_size(random) : 2048;
        chain.add(buffer(random, size), size, true);
    }
}

// --- 5.3: consoles and ports

void add_console_request(Random& random, uint16_t queue, Chain& chain) {
    constexpr uint16_t kControlTransmit = 3;
    if (queue == kControlTransmit) {
        const uint16_t events[] = {VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_PORT_READY,
                                   VIRTIO_CONSOLE_PORT_OPEN, static_cast<uint16_t>(random.below(16))};
        const uint64_t message = buffer(random, sizeof(virtio_console_control));
        put(message, random.one_in(16) ? static_cast<uint32_t>(random.next()) : random.below(4));
        put(message + 4, random.of(events));
        put<uint16_t>(message + 6, random.one_in(8) ? static_cast<uint16_t>(random.next()) : uint16_t{1});
        chain.add(message, sizeof(virtio_console_control), false);
    } else if (queue % 2 == 1) {
        add_data(random, chain, 1 + random.below(3), false);
    } else {
        add_data(random, chain, 1 + random.below(2), true);
    }
}

// --- 5.10: streams

/// The last that the device has asked for, to be answered.
virtio_vsock_hdr asked;

void add_packet(Random& random, const Device& device, Chain& chain) {
    constexpr uint32_t kListens = 1024;  // what the host may listen on
    const uint16_t ops[] = {VIRTIO_VSOCK_OP_REQUEST,
                            VIRTIO_VSOCK_OP_REQUEST,
                            VIRTIO_VSOCK_OP_RW,
                            VIRTIO_VSOCK_OP_RW,
                            VIRTIO_VSOCK_OP_RW,
                            VIRTIO_VSOCK_OP_CREDIT_UPDATE,
                            VIRTIO_VSOCK_OP_CREDIT_REQUEST,
                            VIRTIO_VSOCK_OP_SHUTDOWN,
                            VIRTIO_VSOCK_OP_RST,
                            static_cast<uint16_t>(random.next())};
    virtio_vsock_hdr header{};
    header.src_cid = random.one_in(16) ? random.next() : read_register(device.configuration, 8);
    header.dst_cid = random.one_in(16) ? random.next() : 2;
    header.src_port = random.below(random.one_in(4) ? 4096 : 8);
    header.dst_port = kListens + random.below(2);
    header.type =
        random.one_in(16) ? static_cast<uint16_t>(random.next()) : uint16_t{VIRTIO_VSOCK_TYPE_STREAM};
    header.op = random.of(ops);
    header.flags = random.one_in(16) ? static_cast<uint32_t>(random.next()) : random.below(4);
    header.buf_alloc = random.one_in(8) ? static_cast<uint32_t>(random.next()) : 65'536;
    header.fwd_cnt = random.one_in(8) ? static_cast<uint32_t>(random.next()) : 0;
    if (asked.op != 0) {
        header.src_port = asked.dst_port;
        header.dst_port = asked.src_port;
        header.op = asked.op == VIRTIO_VSOCK_OP_REQUEST ? uint16_t{VIRTIO_VSOCK_OP_RESPONSE} : header.op;
        asked.op = 0;
    }
    const bool has_data = header.op == VIRTIO_VSOCK_OP_RW || random.one_in(16);
    const uint32_t size = has_data ? some_size(random) : 0;
    header.len = random.one_in(16) ? static_cast<uint32_t>(random.next()) : size;
    const uint64_t place = buffer(random, sizeof header);
    for (unsigned offset = 0; offset < sizeof header; ++offset) {
        put(place + offset, reinterpret_cast<const uint8_t*>(&header)[offset]);
    }
    chain.add(place, sizeof header, false);
    if (size > 0) {
        chain.add(buffer(random, size), size, false);
    }
}

void add_vsock_request(Random& random, const Device& device, uint16_t queue, Chain& chain) {
    constexpr uint16_t kTransmit = 1;
    if (queue == kTransmit) {
        add_packet(random, device, chain);
    } else {
        const uint32_t size = random.one_in(8) ? some_size(random) : kPage;
        chain.add(buffer(random, size), size, true);
    }
}

// --- 5.11: shared folders, as FUSE speaks

void add_share_request(Random& random, Chain& chain) {
    constexpr uint32_t kMostCode = 52;
    fuse_in_header header{};
    header.opcode = random.one_in(4) ? uint32_t{FUSE_INIT} : random.below(kMostCode);
    header.unique = random.next();
    header.nodeid = random.one_in(8) ? random.next() : 1 + random.below(3);
    const uint32_t size = header.opcode == FUSE_INIT ? sizeof(fuse_init_in) : 8 + random.below(256);
    header.len = random.one_in(16) ? static_cast<uint32_t>(random.next())
                                   : static_cast<uint32_t>(sizeof header) + size;
    const uint64_t place = buffer(random, sizeof header + size);
    scribble(random, place, static_cast<uint32_t>(sizeof header) + size);
    for (unsigned offset = 0; offset < sizeof header; ++offset) {
        put(place + offset, reinterpret_cast<const uint8_t*>(&header)[offset]);
    }
    const uint64_t body = place + sizeof header;
    if (header.opcode == FUSE_INIT) {
        put<uint32_t>(body, FUSE_KERNEL_VERSION);
        put<uint32_t>(body + 4, FUSE_KERNEL_MINOR_VERSION);
    } else if (random.one_in(2)) {
        put<uint32_t>(body, static_cast<uint32_t>('a' + random.below(4)));  // a name
    }
    chain.add(place, static_cast<uint32_t>(sizeof header) + size, false);
    const uint32_t room = random.one_in(4) ? some_size(random) : 2 * kPage;
    chain.add(buffer(random, room), room, true);
}

}  // namespace

uint64_t buffer(Random& random, uint32_t size) {
    const uint64_t start = arena.start + kRings;
    const uint64_t room = arena.end - start - size;
    const uint64_t offset = random.one_in(32) ? room : random.next() % room;
    return start + (random.one_in(8) ? offset : offset & ~uint64_t{15});
}

Chain make_request(Random& random, const Device& device, uint16_t queue) {
    Chain chain{};
    switch (device.type) {
        case VIRTIO_ID_BLOCK:
            add_block_request(random, device, chain);
            break;
        case VIRTIO_ID_NET:
            add_net_request(random, device, queue, chain);
            break;
        case VIRTIO_ID_CONSOLE:
            add_console_request(random, queue, chain);
            break;
        case VIRTIO_ID_VSOCK:
            add_vsock_request(random, device, queue, chain);
            break;
        case VIRTIO_ID_FS:
            add_share_request(random, chain);
            break;
        default:
            add_data(random, chain, 1 + random.below(4), true);
            break;
    }
    return chain;
}

void take_answer(const Device& device, uint16_t queue, uint64_t address, uint32_t written) {
    if (device.type != VIRTIO_ID_VSOCK || queue != 0 || written < sizeof asked) {
        return;
    }
    for (unsigned offset = 0; offset < sizeof asked; ++offset) {
        reinterpret_cast<uint8_t*>(&asked)[offset] = get<uint8_t>(address + offset);
    }
}

}  // namespace hostile

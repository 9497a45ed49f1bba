#include "devices/vsock/connections.h"

#include <linux/vm_sockets.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "devices/virtio/segments.h"

namespace hull::virtio {

namespace {

/// What epoll tells of; streams have the numbers from the last on.
enum Watched : uint64_t { kStop, kListener, kTransmitKick, kReceiveKick, kFirstConnection };
/// Packets in one direction before the other gets its turn.
constexpr int kBatch = 64;
/// The buffers of one read.
constexpr size_t kMostBuffers = 32;
/// The segments of one read; a buffer has at most as many as the queue has entries, 256.
constexpr size_t kEnoughSegments = 512;
/// Each event counts once; what it tells of is remembered until it is used up.
constexpr uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

constexpr const char* kNoWatch = "the host has no resources to watch its descriptors with";

}  // namespace

VsockConnections::VsockConnections(Sides sides) : sides_{std::move(sides)}, next_id_{kFirstConnection} {
    if (!watch(sides_.listener, kListener, EPOLLIN | EPOLLET, EPOLL_CTL_ADD) ||
        !watch(sides_.transmit->kick_fd, kTransmitKick, EPOLLIN, EPOLL_CTL_ADD) ||
        !watch(sides_.receive->kick_fd, kReceiveKick, EPOLLIN, EPOLL_CTL_ADD)) {
        fail(kNoWatch);
    }
}

void VsockConnections::leave_queues() {
    buffers_.clear();
    starved_ = false;
    transmit_ready_ = true;
}

void VsockConnections::fail(const char* why) {
    if (!std::exchange(broken_, true)) {
        sides_.driver.needs_reset(why);
    }
}

bool VsockConnections::watch(int fd, uint64_t id, uint32_t events, int operation) {
    epoll_event event{.events = events, .data = {.u64 = id}};
    return epoll_ctl(sides_.epoll.get(), operation, fd, &event) == 0;
}

void VsockConnections::serve(int stop_fd) {
    if (!watch(stop_fd, kStop, EPOLLIN, EPOLL_CTL_ADD)) {
        fail(kNoWatch);
    }
    while (!broken_ && take_turn(-1)) {
    }
    watch(stop_fd, kStop, 0, EPOLL_CTL_DEL);  // the next serve() may have another
}

bool VsockConnections::has_work() const {
    return (transmit_ready_ && resets_.size() < kMostResets) ||
           (!starved_ && !(resets_.empty() && ready_.empty()));
}

bool VsockConnections::take_turn(int timeout_ms) {
    std::array<epoll_event, 64> events{};
    const int count =
        epoll_wait(sides_.epoll.get(), events.data(), events.size(), has_work() ? 0 : timeout_ms);
    for (int at = 0; at < count; ++at) {
        const epoll_event& event = events.at(static_cast<size_t>(at));
        switch (event.data.u64) {
            case kStop:
                return false;
            case kListener:
                listener_ready_ = true;
                break;
            case kTransmitKick:
                drain_eventfd(sides_.transmit->kick_fd);
                transmit_ready_ = true;
                break;
            case kReceiveKick:
                drain_eventfd(sides_.receive->kick_fd);
                starved_ = false;
                break;
            default:
                take_event(event.data.u64, event.events);
                break;
        }
    }
    if (transmit_ready_) {
        transmit();
    }
    if (!starved_) {
        receive();
    }
    accept_hosts();  // last: there is room for those who wait once a stream has ended
    return !broken_;
}

void VsockConnections::accept_hosts() {
    while (listener_ready_ && connections_.size() < kMostConnections) {
        UniqueFd socket{accept4(sides_.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        if (socket.valid()) {
            add(std::make_unique<VsockConnection>(std::move(socket)));
        } else if (errno != EINTR && errno != ECONNABORTED) {
            // Where the host has no descriptors left, the next round tries again.
            listener_ready_ = errno != EAGAIN;
            return;
        }
    }
}

VsockConnections::Entries::iterator VsockConnections::add(std::unique_ptr<VsockConnection> connection) {
    const Id id = next_id_++;
    if (!watch(connection->socket(), id, kReadEvents, EPOLL_CTL_ADD)) {
        return connections_.end();
    }
    return connections_.emplace(id, Entry{.connection = std::move(connection)}).first;
}

void VsockConnections::settle(Entries::iterator at) {
    Entry& entry = at->second;
    VsockConnection& connection = *entry.connection;
    if (connection.stage() == VsockConnection::Stage::over) {
        if (entry.is_ready) {
            std::erase(ready_, at->first);  // a guest that takes no packets could make it grow otherwise
        }
        connections_.erase(at);
        return;
    }
    if (connection.has_unwritten() != entry.waits_to_write) {
        entry.waits_to_write = connection.has_unwritten();
        watch(connection.socket(), at->first, kReadEvents | (entry.waits_to_write ? EPOLLOUT : 0U),
              EPOLL_CTL_MOD);
    }
    if (!entry.is_ready && connection.has_packet()) {
        entry.is_ready = true;
        ready_.push_back(at->first);
    }
}

void VsockConnections::take_event(Id id, uint32_t events) {
    const auto at = connections_.find(id);
    if (at == connections_.end()) {
        return;
    }
    VsockConnection& connection = *at->second.connection;
    const VsockConnection::Stage before = connection.stage();
    const bool guest_was_asked = connection.awaits_response();
    connection.take_events(events);
    if (before == VsockConnection::Stage::requested && connection.stage() == VsockConnection::Stage::over) {
        // The program left before the guest had answered.
        flows_.erase(connection.flow());
        if (guest_was_asked) {
            VsockHeader asked{};
            asked.src_cid = sides_.guest_cid;
            asked.dst_cid = VMADDR_CID_HOST;
            asked.src_port = connection.flow().guest_port;
            asked.dst_port = connection.flow().host_port;
            asked.type = VIRTIO_VSOCK_TYPE_STREAM;
            resets_.push_back(reset_of(asked));
        }
    }
    if (connection.stage() == VsockConnection::Stage::greeting) {
        if (const std::optional<uint32_t> port = connection.read_greeting()) {
            const VsockFlow flow = allot_flow(*port);
            flows_.emplace(flow, id);
            connection.request(flow);
        }
    }
    settle(at);
}

VsockFlow VsockConnections::allot_flow(uint32_t guest_port) {
    // There are fewer streams than ports, so one is free.
    for (;;) {
        const VsockFlow flow{.guest_port = guest_port, .host_port = next_host_port_};
        next_host_port_ = std::max(next_host_port_ + 1, kFirstHostPort);
        if (flow.host_port != VMADDR_PORT_ANY && !flows_.contains(flow)) {
            return flow;
        }
    }
}

void VsockConnections::transmit() {
    VirtQueue& queue = sides_.transmit->queue;
    queue.hold_kicks();
    for (int packets = 0; packets < kBatch && resets_.size() < kMostResets; ++packets) {
        auto chain = queue.pop();
        if (!chain) {
            fail(chain.error().what);
            break;
        }
        if (!*chain) {
            transmit_ready_ = queue.ask_for_kicks();
            break;
        }
        take_packet(**chain);
        queue.push(std::move(**chain), 0);
    }
    if (queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.transmit->index);
    }
}

void VsockConnections::take_packet(const DescriptorChain& chain) {
    ChainReader reader = chain.reader();
    const auto header = reader.read<VsockHeader>();
    if (!header || header->src_cid != sides_.guest_cid) {
        return;  // nobody is to be answered
    }
    const auto refuse = [&] {
        if (header->op != VIRTIO_VSOCK_OP_RST) {
            resets_.push_back(reset_of(*header));
        }
    };
    if (header->dst_cid != VMADDR_CID_HOST || header->type != VIRTIO_VSOCK_TYPE_STREAM) {
        refuse();
        return;
    }
    const auto flow = flows_.find(flow_from_guest(*header));
    if (flow == flows_.end()) {
        if (header->op == VIRTIO_VSOCK_OP_REQUEST) {
            connect_guest(*header);
        } else {
            refuse();
        }
        return;
    }
    const auto at = connections_.find(flow->second);
    VsockConnection& connection = *at->second.connection;
    auto verdict = VsockConnection::Verdict::reset;
    if (header->len <= reader.remaining()) {
        segments_.clear();
        append_part(chain.readable(), sizeof *header, header->len, segments_);
        verdict = connection.take_packet(*header, segments_);
    }
    if (verdict == VsockConnection::Verdict::reset) {
        refuse();
    }
    if (verdict != VsockConnection::Verdict::keep) {
        flows_.erase(flow);
        connection.leave_guest();
    }
    settle(at);
}

void VsockConnections::connect_guest(const VsockHeader& request) {
    auto at = connections_.end();
    if (connections_.size() < kMostConnections) {
        if (UniqueFd socket = sides_.connect(request.dst_port); socket.valid()) {
            at = add(std::make_unique<VsockConnection>(request, std::move(socket)));
        }
    }
    if (at == connections_.end()) {
        resets_.push_back(reset_of(request));
        return;
    }
    flows_.emplace(flow_from_guest(request), at->first);
    settle(at);
}

bool VsockConnections::take_buffer() {
    auto chain = sides_.receive->queue.pop();
    if (!chain) {
        fail(chain.error().what);
        return false;
    }
    if (!*chain) {
        return false;
    }
    if ((*chain)->writable_size() <= sizeof(VsockHeader)) {
        fail("a buffer for packets has no room for one");
        return false;
    }
    buffers_.push_back(std::move(**chain));
    return true;
}

bool VsockConnections::have_buffer() {
    return !buffers_.empty() || take_buffer();
}

void VsockConnections::receive() {
    VirtQueue& queue = sides_.receive->queue;
    queue.hold_kicks();
    for (int packets = 0; packets < kBatch && !broken_ && !(resets_.empty() && ready_.empty()); ++packets) {
        if (!have_buffer()) {
            starved_ = !broken_ && !queue.ask_for_kicks();
            break;
        }
        if (resets_.empty()) {
            serve_next();
        } else {
            deliver(resets_.front());
            resets_.pop_front();
        }
    }
    queue.publish();
    if (queue.interrupt_is_wanted()) {
        sides_.driver.used_buffers(sides_.receive->index);
    }
}

void VsockConnections::serve_next() {
    const auto at = connections_.find(ready_.front());
    ready_.pop_front();
    at->second.is_ready = false;
    VsockConnection& connection = *at->second.connection;
    if (std::optional<VsockHeader> header = connection.next_control()) {
        send(*header);
    } else {
        send_data(at->second);
    }
    settle(at);
}

void VsockConnections::send_data(Entry& entry) {
    // Straight into the guest's buffers, behind where each one's header will be.
    segments_.clear();
    VsockConnection& connection = *entry.connection;
    size_t room = 0;
    for (size_t at = 0; at < entry.buffers && room < connection.credit() &&
                        segments_.size() < kEnoughSegments && (at < buffers_.size() || take_buffer());
         ++at) {
        const DescriptorChain& buffer = buffers_[at];
        const size_t part =
            std::min<size_t>(connection.credit() - room, buffer.writable_size() - sizeof(VsockHeader));
        append_part(buffer.writable(), sizeof(VsockHeader), part, segments_);
        room += part;
    }
    size_t size = connection.read(segments_);
    // Most programs send little at a time; for one that does not, a read fills more and more buffers.
    entry.buffers = size == room ? std::min(2 * entry.buffers, kMostBuffers) : 1;
    while (size > 0) {
        const size_t part = std::min<size_t>(size, buffers_.front().writable_size() - sizeof(VsockHeader));
        size -= part;
        send(connection.data_header(static_cast<uint32_t>(part)));
    }
}

void VsockConnections::send(VsockHeader header) {
    header.src_cid = VMADDR_CID_HOST;
    header.dst_cid = sides_.guest_cid;
    deliver(header);
}

void VsockConnections::deliver(const VsockHeader& header) {
    DescriptorChain buffer = std::move(buffers_.front());
    buffers_.pop_front();
    ChainWriter writer = buffer.writer();
    static_cast<void>(writer.write(header));  // it has room: take_buffer()
    sides_.receive->queue.stage(std::move(buffer), static_cast<uint32_t>(sizeof header) + header.len);
}

}  // namespace hull::virtio

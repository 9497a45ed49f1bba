#include "base/io_ring.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <utility>

namespace hull {

namespace {

/// Makes it with what makes it fastest where the kernel knows that (6.1, 5.19), or without. Disabled at
/// first.
bool set_up(io_uring& ring, unsigned entries) {
    for (const unsigned flags :
         {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0U}) {
        if (io_uring_queue_init(entries, &ring, flags | IORING_SETUP_R_DISABLED) == 0) {
            return true;
        }
    }
    return false;
}

io_uring_restriction allow(uint8_t operation) {
    io_uring_restriction restriction{};
    restriction.opcode = IORING_RESTRICTION_SQE_OP;
    restriction.sqe_op = operation;
    return restriction;
}

/// Only these operations, and only on registered files. That no registration is allowed needs no saying: what
/// is not allowed to a ring that has restrictions is refused (io_uring_register(2)).
bool restrict_to_what_is_used(io_uring& ring) {
    std::array restrictions{allow(IORING_OP_READV), allow(IORING_OP_WRITEV),    allow(IORING_OP_POLL_ADD),
                            allow(IORING_OP_FSYNC), allow(IORING_OP_FALLOCATE), io_uring_restriction{},
                            io_uring_restriction{}};
    restrictions[5].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    restrictions[5].sqe_flags = IOSQE_FIXED_FILE;
    restrictions[6].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    restrictions[6].sqe_flags = IOSQE_FIXED_FILE;
    return io_uring_register_restrictions(&ring, restrictions.data(), restrictions.size()) == 0;
}

/// Has `fill` fill in the next entry.
template <typename Fill>
void prepare(io_uring* ring, uint64_t tag, Fill fill) {
    io_uring_sqe* entry = io_uring_get_sqe(ring);
    while (entry == nullptr) {
        // As many were prepared at once as there are entries.
        io_uring_submit(ring);
        entry = io_uring_get_sqe(ring);
    }
    fill(entry);
    entry->flags = IOSQE_FIXED_FILE;
    entry->user_data = tag;
}

}  // namespace

void IoRing::Close::operator()(io_uring* ring) const {
    io_uring_queue_exit(ring);
    delete ring;  // NOLINT(cppcoreguidelines-owning-memory): this is its owner's deleter
}

std::optional<IoRing> IoRing::make(unsigned entries, std::span<const int> files) {
    auto storage = std::make_unique<io_uring>();
    if (!set_up(*storage, entries)) {
        return std::nullopt;
    }
    std::unique_ptr<io_uring, Close> ring{storage.release()};
    // Waiting for a time only came with Linux 5.11, watches that go on with 5.13, as did these.
    const bool has_watches = (ring->features & IORING_FEAT_RSRC_TAGS) != 0;
    if (!has_watches ||
        io_uring_register_files(ring.get(), files.data(), static_cast<unsigned>(files.size())) != 0 ||
        !restrict_to_what_is_used(*ring) || io_uring_enable_rings(ring.get()) != 0) {
        return std::nullopt;
    }
    return IoRing{std::move(ring)};
}

void IoRing::read(int file, std::span<const iovec> memory, uint64_t offset, uint64_t tag) {
    prepare(ring_.get(), tag, [&](io_uring_sqe* entry) {
        io_uring_prep_readv(entry, file, memory.data(), static_cast<unsigned>(memory.size()), offset);
    });
}

void IoRing::write(int file, std::span<const iovec> memory, uint64_t offset, uint64_t tag) {
    prepare(ring_.get(), tag, [&](io_uring_sqe* entry) {
        io_uring_prep_writev(entry, file, memory.data(), static_cast<unsigned>(memory.size()), offset);
    });
}

void IoRing::watch(int file, uint64_t tag) {
    prepare(ring_.get(), tag,
            [&](io_uring_sqe* entry) { io_uring_prep_poll_multishot(entry, file, POLLIN); });
}

void IoRing::watch_once(int file, uint64_t tag) {
    prepare(ring_.get(), tag, [&](io_uring_sqe* entry) { io_uring_prep_poll_add(entry, file, POLLIN); });
}

void IoRing::synchronize(int file, uint64_t tag) {
    prepare(ring_.get(), tag,
            [&](io_uring_sqe* entry) { io_uring_prep_fsync(entry, file, IORING_FSYNC_DATASYNC); });
}

void IoRing::allocate(int file, int mode, uint64_t offset, uint64_t length, uint64_t tag) {
    prepare(ring_.get(), tag, [&](io_uring_sqe* entry) {
        io_uring_prep_fallocate(entry, file, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    });
}

size_t IoRing::wait(std::span<End> ends, std::chrono::nanoseconds most) {
    constexpr int64_t kSecond = 1'000'000'000;
    __kernel_timespec time{.tv_sec = most.count() / kSecond, .tv_nsec = most.count() % kSecond};
    size_t count = 0;
    while (count == 0) {
        io_uring_cqe* entry = nullptr;
        // Fails, too, where a signal interrupts it, or where the kernel wants ends to be taken first.
        const int result = most == kForever
                               ? io_uring_submit_and_wait(ring_.get(), 1)
                               : io_uring_submit_and_wait_timeout(ring_.get(), &entry, 1, &time, nullptr);
        while (count < ends.size() && io_uring_peek_cqe(ring_.get(), &entry) == 0) {
            ends[count++] = {entry->user_data, entry->res, (entry->flags & IORING_CQE_F_MORE) != 0};
            io_uring_cqe_seen(ring_.get(), entry);
        }
        if (result == -ETIME) {
            break;
        }
    }
    return count;
}

}  // namespace hull

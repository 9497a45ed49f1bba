// Linked instead of what hull does when a thread's filter has closed: nothing. The first thread of each kind
// tries all attacks and goes on with its work, so that the machine lives to let the next kind try.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/thread_guard.h"
#include "tests/hostile/attacks.h"

// The linker has liburing's calls come here (--wrap): an attacker knows where its thread's ring is.
extern "C" int __real_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags);  // NOLINT
extern "C" int __wrap_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags);  // NOLINT

namespace hull::turncoat {

namespace {

thread_local io_uring* this_threads_ring = nullptr;
std::atomic<int> last_ring{-1};

/// The report: lines, one behind the other, in a file that is shared with whoever reads them.
struct Report {
    char* text = nullptr;
    size_t size = 0;
    std::atomic<size_t> used{0};

    void add(const char* line) {
        const size_t length = std::strlen(line);
        const size_t at = used.fetch_add(length);
        if (at + length <= size) {
            std::memcpy(text + at, line, length);
        }
    }
};

const Target* target = nullptr;
Report report;

std::string text_of(const char* variable) {
    const char* value = std::getenv(variable);
    return value == nullptr ? "" : value;
}

uint64_t number_of(const char* variable) {
    return std::strtoull(text_of(variable).c_str(), nullptr, 0);
}

/// Before main(), in what becomes the keeper: the machine is its fork and has all of this.
[[gnu::constructor]] void look_around() {
    const int file = open(text_of(kReport).c_str(), O_RDWR | O_CLOEXEC);
    struct stat status {};
    if (file < 0 || fstat(file, &status) != 0) {
        return;
    }
    void* memory =
        mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) {
        return;
    }
    report.text = static_cast<char*>(memory);
    report.size = static_cast<size_t>(status.st_size);
    static const Target seen{.disk = text_of(kDisk),
                             .folder = text_of(kFolder),
                             .made = text_of(kFolder) + "/made",
                             .socket = text_of(kSocket),
                             .abstract_socket = text_of(kAbstract),
                             .keeper = getpid(),
                             .process = static_cast<pid_t>(number_of(kProcess)),
                             .address = number_of(kAddress),
                             .tcp = static_cast<uint16_t>(number_of(kTcp)),
                             .udp = static_cast<uint16_t>(number_of(kUdp)),
                             .names = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC)};
    target = &seen;
}

void tell(const char* thread, const char* attack, const Outcome& outcome) {
    std::array<char, 200> line{};
    const auto print = [&](const char* word, const char* detail) {
        std::snprintf(line.data(), line.size(), "%s: %s: %s%s\n", thread, attack, word, detail);
    };
    std::array<char, 40> detail{};
    switch (outcome.kind) {
        case Outcome::Kind::succeeded:
            print("succeeded", "");
            break;
        case Outcome::Kind::bounded:
            std::snprintf(detail.data(), detail.size(), " (%ld)", outcome.number);
            print("bounded", detail.data());
            break;
        case Outcome::Kind::reached:
        case Outcome::Kind::refused:
            std::snprintf(detail.data(), detail.size(), " (%s)",
                          strerrorname_np(static_cast<int>(outcome.number)));
            print(outcome.kind == Outcome::Kind::refused ? "refused" : "reached", detail.data());
            break;
    }
    report.add(line.data());
}

void attack_from(const char* thread, bool is_alone) {
    // One at a time. Without sleeping: that takes a call, too.
    static std::atomic_flag under_way;
    const Attacker attacker{*target, this_threads_ring, last_ring.load(), is_alone};
    const auto try_all = [&](std::span<const Attack> attacks) {
        for (const Attack& attack : attacks) {
            while (under_way.test_and_set()) {
            }
            const Outcome outcome = attack.attempt(attacker);
            under_way.clear();
            tell(thread, attack.name, outcome);
        }
    };
    try_all(attacks());
    if (attacker.ring != nullptr) {
        try_all(ring_attacks());
    }
    tell(thread, "end", {Outcome::Kind::succeeded});
}

const char* name_of(ThreadKind kind) {
    switch (kind) {
        case ThreadKind::main:
            return "main";
        case ThreadKind::vcpu:
            return "vcpu";
        case ThreadKind::block:
            return "block";
        case ThreadKind::worker:
            return "worker";
    }
    return "unknown";
}

}  // namespace

}  // namespace hull::turncoat

int __wrap_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags) {  // NOLINT
    const int result = __real_io_uring_queue_init(entries, ring, flags);
    if (result == 0) {
        hull::turncoat::this_threads_ring = ring;
        hull::turncoat::last_ring = ring->ring_fd;
    }
    return result;
}

namespace hull {

void thread_is_guarded(ThreadKind kind) {
    static std::array<std::atomic_flag, 16> tried;
    if (turncoat::report.text != nullptr && !tried.at(static_cast<size_t>(kind)).test_and_set()) {
        turncoat::attack_from(turncoat::name_of(kind), kind == ThreadKind::main || kind == ThreadKind::vcpu);
    }
}

}  // namespace hull

// Linked instead of what hull does when a thread's filter has closed: nothing. The first thread of each kind
// tries all attacks and goes on with its work, so that the machine lives to let the next kind try.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "base/thread_guard.h"
#include "tests/hostile/attacks.h"

// The linker has liburing's calls come here (--wrap): an attacker knows where its thread's ring is.
extern "C" int __real_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags);  // NOLINT
extern "C" int __wrap_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags);  // NOLINT

namespace hull::turncoat {

namespace {

thread_local io_uring* this_threads_ring = nullptr;
int last_ring = -1;

/// The report: lines, one behind the other, in a file that is shared with whoever reads them.
struct Report {
    char* text = nullptr;
    size_t size = 0;
    size_t used = 0;

    void add(const char* line) {
        const size_t length = std::strlen(line);
        if (used + length <= size) {
            std::memcpy(text + used, line, length);
            used += length;
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
                             .victim = text_of(kFolder) + "/victim",
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

void attack_from(const char* thread) {
    const Attacker attacker{*target, this_threads_ring, last_ring};
    const auto try_all = [&](std::span<const Attack> attacks) {
        for (const Attack& attack : attacks) {
            tell(thread, attack.name, attack.attempt(attacker));
        }
    };
    try_all(attacks());
    try_all(attacker.ring != nullptr ? ring_attacks() : ringless_attacks());
}

}  // namespace

}  // namespace hull::turncoat

// A disk's first ring only: a host without any is played to all other disks, so that there is a thread of
// that kind, too. What the main thread makes holds the VM and serves nobody.
int __wrap_io_uring_queue_init(unsigned entries, io_uring* ring, unsigned flags) {  // NOLINT
    using namespace hull::turncoat;
    const bool serves = gettid() != getpid();
    if (report.text != nullptr && serves && last_ring >= 0) {
        return -ENOSYS;
    }
    const int result = __real_io_uring_queue_init(entries, ring, flags);
    if (result == 0 && serves) {
        this_threads_ring = ring;
        last_ring = ring->ring_fd;
    }
    return result;
}

namespace hull {

// One thread after the other: each is made when the one before it has returned from here, and none of them
// serves anything until the last one has.
void thread_is_guarded(ThreadKind kind) {
    static std::array<bool, kThreadKinds> tried;
    if (turncoat::report.text != nullptr && !std::exchange(tried.at(static_cast<size_t>(kind)), true)) {
        turncoat::attack_from(name_of(kind));
    }
}

}  // namespace hull

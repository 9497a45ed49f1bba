#include "base/thread_guard.h"

#include <array>

namespace hull {

namespace {

void (*installed_guard)(ThreadKind) = nullptr;

}  // namespace

const char* name_of(ThreadKind kind) {
    static constexpr std::array<const char*, kThreadKinds> kNames{
        "main",  "vcpu",    "block", "block without a ring", "net", "file share", "vhost-user",
        "vsock", "console", "rng"};
    return kNames.at(static_cast<size_t>(kind));
}

void set_thread_guard(void (*guard)(ThreadKind)) {
    installed_guard = guard;
}

bool threads_are_guarded() {
    return installed_guard != nullptr;
}

void guard_this_thread(ThreadKind kind) {
    if (installed_guard != nullptr) {
        installed_guard(kind);
    }
    thread_is_guarded(kind);
}

}  // namespace hull

// What closes behind a thread once it has all that it needs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hull {

/// The kinds of threads that a machine's process has, by what they need of the host once the guest runs.
enum class ThreadKind : uint8_t {
    main,                ///< waits for the keeper and the console's input, and takes the machine down
    vcpu,                ///< runs the guest, and serves what it does with registers
    block,               ///< a queue of a disk, by io_uring
    block_without_ring,  ///< the same where the host has no io_uring
    net,                 ///< two queues of a network device, or its control queue
    file_share,          ///< a queue of a folder that a program of Hull's shows
    vhost_user,          ///< a device whose queues another program serves
    vsock,               ///< the socket device
    console,             ///< the console's output, a virtio console, or ports
    rng,                 ///< the entropy device
};
inline constexpr size_t kThreadKinds = static_cast<size_t>(ThreadKind::rng) + 1;

/// For a message, such as "vcpu".
[[nodiscard]] const char* name_of(ThreadKind kind);

/// What guard_this_thread() is to do, once a process, before it has a second thread. It may throw Error.
void set_thread_guard(void (*guard)(ThreadKind));
/// Whether there is one.
[[nodiscard]] bool threads_are_guarded();

/// Each thread calls this when it has all that it needs and before it serves its first request. What the
/// guard refuses is refused to this thread from then on; making threads is, to every kind. Does nothing where
/// no guard was set.
void guard_this_thread(ThreadKind kind);

/// Called in each thread right behind its guard; does nothing. In a file of its own (thread_guarded.cpp), so
/// that a test's program can put another one in its place that tries what the guard is to refuse.
void thread_is_guarded(ThreadKind kind);

}  // namespace hull

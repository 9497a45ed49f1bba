#include "vmm/jail/calls.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "devices/virtio/ring_layout.h"  // what linux/vhost.h includes, made fit for C++
#include "vmm/arch/state_requests.h"
#include "vmm/kvm/interrupt_routes.h"
//
#include <linux/vhost.h>

namespace hull::jail {

namespace {

using Calls = std::vector<Call>;

// The kernel looks at no more than 32 bits of these arguments.
constexpr uint64_t kWord = 0xffff'ffff;

Limit is(unsigned argument, uint64_t value) {
    return {argument, kWord, value};
}

Limit lacks(unsigned argument, uint64_t bits) {
    return {argument, bits, 0};
}

Call request(uint64_t number, const char* why) {
    return {"ioctl", why, {is(1, number)}};
}

/// What every thread comes to: it sleeps and is woken, calls the guest, logs, and has memory of its own.
/// Memory comes by brk() alone, since the guard has told malloc() so (seccomp.cpp).
Calls with_common(Calls calls) {
    const Calls common{
        {"pwritev2",
         "interrupts by irqfds, wakes other threads and logs; a disk's thread writes the disk by it, too"},
        {"futex", "locks, and waits for other threads"},
        request(KVM_IRQ_LINE, "calls the guest at a pin of its interrupt controllers"),
        {"clock_gettime", "the time, where the host has no clock that a program reads itself"},
        {"brk", "memory for malloc()"},
        {"rt_sigreturn", "returns from a signal, the one for a refused call included"},
    };
    calls.insert(calls.end(), common.begin(), common.end());
    return calls;
}

Calls vcpu_calls() {
    return with_common({
        request(KVM_RUN, "runs the guest"),
        request(InterruptRoutes::kRequest, "where the guest wants a PCI function's messages to go"),
        {"read", "takes back the eventfd by which it stopped a device's thread"},
        {"madvise", "its end gives its stack back", {is(2, MADV_DONTNEED)}},
        {"rt_sigprocmask", "its end takes no signals"},
        {"exit", "its end"},
        {"sched_yield", "waits to be started, a moment before it sleeps"},
    });
}

Calls block_calls() {
    return with_common({
        {"io_uring_enter", "the ring: reads, writes, flushes, holes, and waiting for kicks"},
        {"preadv2", "reads from the host's cache without waiting"},
        {"sched_setscheduler", "who gets the processor first (WakePolicy)", {is(0, 0)}},
    });
}

Calls block_without_ring_calls() {
    return with_common({
        {"ppoll", "waits for a kick, or to be stopped"},
        {"preadv2", "reads, and takes kicks"},
        {"fdatasync", "flushes"},
        {"fallocate", "zeros and holes"},
    });
}

Calls net_calls() {
    return with_common({
        {"epoll_wait", "waits for frames, kicks, or to be stopped"},
        {"readv", "frames from a tap device or a socket"},
        {"writev", "frames to it"},
        {"recvfrom", "frames from a stream"},
        {"sendmsg", "frames to a stream"},
        {"sendto", "the rest of a frame; asks the keeper for a stream that was lost"},
        {"recvmsg", "the keeper's answer"},
        {"sched_yield", "lets the program at the other side answer"},
        {"poll", "waits for what the host's kernel did, or for the control queue"},
        {"read", "takes kicks and calls"},
        {"epoll_create1", "what it waits by"},
        {"epoll_ctl", "what it waits for"},
        {"close", "what it waited by; a stream that is lost"},
        {"munmap", "a large buffer of before the guest ran"},
        {"restart_syscall", "goes on with poll() behind a stop of the process"},
        request(TUNSETOFFLOAD, "what the guest's driver completes itself"),
        request(TUNSETQUEUE, "how many queues of the tap device are in use"),
        request(VHOST_SET_OWNER, "the host's kernel takes the queues: it works with this memory"),
        request(VHOST_SET_FEATURES, "the same: what was negotiated"),
        request(VHOST_SET_MEM_TABLE, "the same: where the guest's memory is"),
        request(VHOST_SET_LOG_BASE, "the same: where it logs what it writes"),
        request(VHOST_SET_VRING_NUM, "the same: a queue's size"),
        request(VHOST_SET_VRING_BASE, "the same: where it begins"),
        request(VHOST_SET_VRING_ADDR, "the same: where it is"),
        request(VHOST_SET_VRING_KICK, "the same: how it is kicked"),
        request(VHOST_SET_VRING_CALL, "the same: how it calls"),
        request(VHOST_NET_SET_BACKEND, "the same: begins, and gives the queues back"),
    });
}

Calls vhost_user_calls() {
    return with_common({
        {"poll", "waits for calls, for the server, for kicks while there is none, or to be stopped"},
        {"preadv2", "takes calls without waiting"},
        {"read", "the same before Linux 5.8"},
        {"sendmsg", "tells the server, and hands it memory and eventfds"},
        {"recvmsg", "hears the server, and the keeper with another"},
        {"sendto", "asks the keeper for a server in place of one that was lost"},
        {"fstat", "the size of what the server notes in"},
        {"newfstatat", "the same, as some C libraries do it", {is(3, AT_EMPTY_PATH)}},
        {"close", "a server that was lost, and what it noted in"},
        {"restart_syscall", "goes on with poll() behind a stop of the process"},
    });
}

Calls file_share_calls() {
    return with_common({
        {"poll", "waits for a kick, for the program's answer, or to be stopped"},
        {"sendmsg", "a request to that program"},
        {"recvmsg", "its answer"},
        {"recvfrom", "an answer that nobody waits for any more"},
        {"read", "takes kicks"},
        {"restart_syscall", "goes on with poll() behind a stop of the process"},
    });
}

Calls vsock_calls() {
    return with_common({
        {"epoll_wait", "waits for streams, kicks, or to be stopped"},
        {"recvmsg", "what a stream brings, and the keeper's answer"},
        {"sendmsg", "what goes into a stream"},
        {"recvfrom", "the line that begins a stream of the host's"},
        {"sendto", "the answer to that line; asks the keeper for a stream of the guest's"},
        {"shutdown", "one direction of a stream is over"},
        {"accept4", "a stream of the host's"},
        {"close", "a stream is over"},
        {"epoll_ctl", "which streams it waits for"},
        {"epoll_create1", "what it waits by, once after a reset"},
        {"read", "takes kicks"},
    });
}

Calls console_calls() {
    return with_common({
        {"poll", "waits for output, room, input, kicks, or to be stopped"},
        {"write", "output"},
        {"read", "input of a port; takes kicks"},
        {"recvfrom", "input of a port that is a socket"},
        {"sendto", "output to such a port"},
        {"accept4", "who comes to such a port"},
        {"close", "who has left it"},
        {"restart_syscall", "goes on with poll() behind a stop of the process"},
    });
}

Calls rng_calls() {
    return with_common({
        {"getrandom", "what the guest asks for"},
        {"poll", "waits for a kick, or to be stopped"},
        {"read", "takes kicks"},
        {"restart_syscall", "goes on with poll() behind a stop of the process"},
    });
}

/// Waits, writes the machine down, and takes it down.
Calls main_calls() {
    Calls calls = with_common({
        {"poll", "waits for the keeper, the console's input, and the guest's end"},
        {"restart_syscall", "goes on with poll() behind a stop of the process"},
        {"read", "the keeper's messages, and the console's input"},
        {"write", "the rest of what the guest sent to a port; what --timing tells"},
        request(TIOCGWINSZ, "the terminal's size when that has changed"),
        request(TCGETS, "the terminal as it was, where the keeper is gone: looks"),
        request(TCSETS, "the same: sets"),
        {"recvmsg", "what the keeper asks"},
        {"sendto", "the answer; at the end the rest of what the guest sent to a port"},
        {"tgkill", "interrupts the vCPUs, for a pause or the end", {is(2, static_cast<uint64_t>(SIGRTMIN))}},
        {"getpid", "of which process they are"},
        {"rt_sigprocmask", "the same without being interrupted itself"},
        {"pwrite64", "a snapshot: writes it"},
        {"fdatasync", "the same: has it on the disk"},
        {"getrandom", "the same: its memory's identity"},
        request(KVM_KVMCLOCK_CTRL, "tells the guest of a pause"),
        // What follows is for the end.
        {"recvfrom", "whether somebody is there for it"},
        {"accept4", "who comes for it"},
        request(KVM_IOEVENTFD, "takes a doorbell away"),
        request(InterruptRoutes::kRequest, "takes a function's messages away"),
        {"munmap", "gives the guest's memory back"},
        {"madvise", "gives a vCPU's stack back", {is(2, MADV_DONTNEED)}},
        {"flock", "unlocks disks"},
        {"close", "closes what it had open"},
        {"exit_group", "the end"},
    });
    for (const arch::StateRequest& each : arch::state_requests()) {
        calls.push_back(request(each.number, each.why));
    }
    return calls;
}

}  // namespace

std::vector<Call> calls_of(ThreadKind kind) {
    switch (kind) {
        case ThreadKind::main:
            return main_calls();
        case ThreadKind::vcpu:
            return vcpu_calls();
        case ThreadKind::block:
            return block_calls();
        case ThreadKind::block_without_ring:
            return block_without_ring_calls();
        case ThreadKind::net:
            return net_calls();
        case ThreadKind::file_share:
            return file_share_calls();
        case ThreadKind::vhost_user:
            return vhost_user_calls();
        case ThreadKind::vsock:
            return vsock_calls();
        case ThreadKind::console:
            return console_calls();
        case ThreadKind::rng:
            return rng_calls();
    }
    return {};
}

std::vector<Call> calls_of_sanitizers() {
    return {
        {"mmap", "their own memory", {lacks(2, PROT_EXEC)}},
        {"munmap", "the same"},
        {"mprotect", "the same", {lacks(2, PROT_EXEC)}},
        {"madvise", "the same"},
        {"sched_yield", "their locks"},
        {"clock_nanosleep", "the same"},
        {"sigaltstack", "a thread's end"},
        {"rt_sigprocmask", "the same"},
        {"gettid", "who reports"},
        {"getpid", "the same"},
        {"exit_group", "the end of the process behind a report"},
        {"pipe2", "whether memory may be read, before the type of an object is looked at there"},
        {"write", "the same"},
        {"close", "the same"},
    };
}

}  // namespace hull::jail

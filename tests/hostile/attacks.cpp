#include "tests/hostile/attacks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "tests/hostile/calls.h"

namespace hull::turncoat {

namespace {

using enum Outcome::Kind;

constexpr const char* kSecret = "/etc/passwd";
/// More than the machine of a test has.
constexpr int kDescriptors = 256;

/// An attack that has failed for whatever reason has failed.
Outcome attempt(long result) {
    return result >= 0 ? Outcome{succeeded} : Outcome{refused, -result};
}

/// A call that must not even be looked at: with arguments that can do no harm.
Outcome probe(long result) {
    if (result >= 0) {
        return {succeeded};
    }
    const bool is_refused = result == -EPERM || result == -EACCES || result == -ENOSYS;
    return {is_refused ? refused : reached, -result};
}

/// Of a call that makes a descriptor.
Outcome attempt_to_open(long descriptor) {
    if (descriptor >= 0) {
        call(SYS_close, descriptor);
    }
    return attempt(descriptor);
}

Outcome open_and_read(long descriptor) {
    if (descriptor < 0) {
        return attempt(descriptor);
    }
    char byte = 0;
    const long got = call(SYS_read, descriptor, &byte, 1);
    call(SYS_close, descriptor);
    return attempt(got);
}

// --- files

Outcome open_secret(const Attacker&) {
    return open_and_read(call(SYS_open, kSecret, O_RDONLY));
}

Outcome openat_secret(const Attacker&) {
    return open_and_read(call(SYS_openat, AT_FDCWD, kSecret, O_RDONLY));
}

Outcome openat2_secret(const Attacker&) {
    const open_how how{.flags = O_RDONLY, .mode = 0, .resolve = 0};
    return open_and_read(call(SYS_openat2, AT_FDCWD, kSecret, &how, sizeof how));
}

Outcome open_by_proc(const Attacker&) {
    return open_and_read(call(SYS_open, "/proc/self/root/etc/passwd", O_RDONLY));
}

Outcome open_by_descriptors(const Attacker&) {
    Outcome outcome{refused, EBADF};
    for (int descriptor = 0; descriptor < kDescriptors; ++descriptor) {
        for (const char* path : {"etc/passwd", "../../../../../../../../etc/passwd"}) {
            const Outcome one = open_and_read(call(SYS_openat, descriptor, path, O_RDONLY));
            if (one.kind == succeeded) {
                return one;
            }
            outcome = one.number == EBADF ? outcome : one;
        }
    }
    return outcome;
}

Outcome open_by_handle(const Attacker&) {
    // The root of a file system of the host's is often inode 2; what it answers tells whether it was asked.
    const std::array<uint32_t, 4> handle{8, 1, 2, 0};  // a file_handle: bytes, type, inode, generation
    return probe(call(SYS_open_by_handle_at, AT_FDCWD, handle.data(), O_RDONLY));
}

Outcome open_disk(const Attacker& attacker) {
    return open_and_read(call(SYS_open, attacker.target.disk.c_str(), O_RDWR));
}

Outcome make_file(const Attacker& attacker) {
    const char* path = attacker.target.made.c_str();
    const Outcome outcome = attempt_to_open(call(SYS_open, path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    call(SYS_unlink, path);
    return outcome;
}

Outcome remove_file(const Attacker& attacker) {
    const char* path = attacker.target.victim.c_str();
    const long result = call(SYS_unlink, path);
    if (result >= 0) {
        call(SYS_close, call(SYS_open, path, O_WRONLY | O_CREAT, 0600));
    }
    return attempt(result);
}

// --- networks

/// With a socket of its own.
Outcome reach(int family, int type, const void* address, size_t size) {
    const long descriptor = call(SYS_socket, family, type | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return attempt(descriptor);
    }
    long result = call(SYS_connect, descriptor, address, size);
    if (result >= 0 && type == SOCK_DGRAM) {
        result = call(SYS_sendto, descriptor, "attack", 6, 0, 0, 0);
    }
    call(SYS_close, descriptor);
    return attempt(result);
}

Outcome reach_port(int type, uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return reach(AF_INET, type, &address, sizeof address);
}

Outcome connect_tcp(const Attacker& attacker) {
    return reach_port(SOCK_STREAM, attacker.target.tcp);
}

Outcome send_udp(const Attacker& attacker) {
    return reach_port(SOCK_DGRAM, attacker.target.udp);
}

/// At a path, or abstract with a zero in front of its name.
Outcome reach_unix(const std::string& name, size_t zeros) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy_n(name.begin(), std::min(name.size(), sizeof address.sun_path - 1 - zeros),
                address.sun_path + zeros);
    return reach(AF_UNIX, SOCK_STREAM, &address, offsetof(sockaddr_un, sun_path) + zeros + name.size());
}

Outcome connect_unix(const Attacker& attacker) {
    return reach_unix(attacker.target.socket, 0);
}

Outcome connect_abstract(const Attacker& attacker) {
    return reach_unix(attacker.target.abstract_socket, 1);
}

// --- processes

Outcome attempt_child(long child) {
    if (child > 0) {
        call(SYS_wait4, child, nullptr, 0, nullptr);
    }
    return attempt(child);
}

Outcome do_fork(const Attacker&) {
    return attempt_child(call_with_child(SYS_fork, {}));
}

Outcome do_vfork(const Attacker&) {
    return attempt_child(call_with_child(SYS_vfork, {}));
}

Outcome do_clone(const Attacker&) {
    return attempt_child(call_with_child(SYS_clone, {SIGCHLD}));
}

Outcome do_clone3(const Attacker&) {
    clone_args arguments{};
    arguments.exit_signal = SIGCHLD;
    return attempt_child(call_with_child(SYS_clone3, {reinterpret_cast<long>(&arguments), sizeof arguments}));
}

/// In a child where there can be one, since what succeeds does not come back.
template <typename Execute>
Outcome execute(Execute execute_it) {
    constexpr int kFailed = 99;
    const long child = call(SYS_fork);
    if (child < 0) {
        return attempt(execute_it());
    }
    if (child == 0) {
        execute_it();
        call(SYS_exit_group, kFailed);
    }
    int status = 0;
    call(SYS_wait4, child, &status, 0, nullptr);
    return WIFEXITED(status) && WEXITSTATUS(status) != kFailed ? Outcome{succeeded}
                                                               : Outcome{refused, EACCES};
}

const std::array<const char*, 2> kProgram{"true", nullptr};
const std::array<const char*, 1> kNoEnvironment{nullptr};

Outcome exec_program(const Attacker&) {
    return execute([] { return call(SYS_execve, "/bin/true", kProgram.data(), kNoEnvironment.data()); });
}

Outcome exec_itself(const Attacker&) {
    const std::array<const char*, 3> words{"hull", "--version", nullptr};
    return execute([&] { return call(SYS_execve, "/proc/self/exe", words.data(), kNoEnvironment.data()); });
}

Outcome exec_memory(const Attacker&) {
    const long file = call(SYS_memfd_create, "attack", 0);
    if (file < 0) {
        return attempt(file);
    }
    constexpr std::string_view kScript = "#!/bin/true\n";
    call(SYS_write, file, kScript.data(), kScript.size());
    const Outcome outcome = execute([file] {
        return call(SYS_execveat, file, "", kProgram.data(), kNoEnvironment.data(), AT_EMPTY_PATH);
    });
    call(SYS_close, file);
    return outcome;
}

Outcome trace(pid_t process) {
    const long result = call(SYS_ptrace, PTRACE_SEIZE, process, 0, 0);
    if (result >= 0) {
        call(SYS_ptrace, PTRACE_INTERRUPT, process, 0, 0);
        call(SYS_wait4, process, nullptr, __WALL, nullptr);
        call(SYS_ptrace, PTRACE_DETACH, process, 0, 0);
    }
    return attempt(result);
}

Outcome trace_keeper(const Attacker& attacker) {
    return trace(attacker.target.keeper);
}

Outcome trace_process(const Attacker& attacker) {
    return trace(attacker.target.process);
}

char readable = 'x';  // at this address in the keeper, too

template <typename Address>
Outcome move_memory(long number, pid_t process, Address address) {
    char byte = readable;
    const iovec here{&byte, 1};
    const iovec there{reinterpret_cast<void*>(address), 1};
    return attempt(call(number, process, &here, 1, &there, 1, 0));
}

Outcome read_keeper(const Attacker& attacker) {
    return move_memory(SYS_process_vm_readv, attacker.target.keeper, &readable);
}

Outcome write_keeper(const Attacker& attacker) {
    return move_memory(SYS_process_vm_writev, attacker.target.keeper, &readable);
}

Outcome read_process(const Attacker& attacker) {
    return move_memory(SYS_process_vm_readv, attacker.target.process, attacker.target.address);
}

Outcome open_memory(pid_t process) {
    return attempt_to_open(call(SYS_open, ("/proc/" + std::to_string(process) + "/mem").c_str(), O_RDWR));
}

Outcome open_keepers_memory(const Attacker& attacker) {
    return open_memory(attacker.target.keeper);
}

Outcome open_processs_memory(const Attacker& attacker) {
    return open_memory(attacker.target.process);
}

// A signal that does nothing to a process that runs.
constexpr int kHarmless = SIGCONT;

Outcome kill_keeper(const Attacker& attacker) {
    return attempt(call(SYS_kill, attacker.target.keeper, kHarmless));
}

Outcome kill_process(const Attacker& attacker) {
    return attempt(call(SYS_kill, attacker.target.process, kHarmless));
}

Outcome tgkill_keeper(const Attacker& attacker) {
    return attempt(call(SYS_tgkill, attacker.target.keeper, attacker.target.keeper, kHarmless));
}

Outcome tgkill_process(const Attacker& attacker) {
    return attempt(call(SYS_tgkill, attacker.target.process, attacker.target.process, kHarmless));
}

Outcome queue_signal(const Attacker& attacker) {
    siginfo_t info{};
    info.si_code = SI_QUEUE;
    return attempt(call(SYS_rt_sigqueueinfo, attacker.target.process, kHarmless, &info));
}

Outcome signal_by_descriptor(pid_t process) {
    const long descriptor = call(SYS_pidfd_open, process, 0);
    if (descriptor < 0) {
        return attempt(descriptor);
    }
    const long result = call(SYS_pidfd_send_signal, descriptor, kHarmless, nullptr, 0);
    call(SYS_close, descriptor);
    return attempt(result);
}

Outcome pidfd_keeper(const Attacker& attacker) {
    return signal_by_descriptor(attacker.target.keeper);
}

Outcome pidfd_process(const Attacker& attacker) {
    return signal_by_descriptor(attacker.target.process);
}

Outcome limit_process(const Attacker& attacker) {
    rlimit64 limit{};
    return attempt(call(SYS_prlimit64, attacker.target.process, RLIMIT_NOFILE, nullptr, &limit));
}

Outcome raise_limit(const Attacker&) {
    rlimit64 before{};
    const long got = call(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &before);
    if (got < 0) {
        return attempt(got);
    }
    const rlimit64 more{before.rlim_max + 1, before.rlim_max + 1};
    const long result = call(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, nullptr);
    if (result >= 0) {
        call(SYS_prlimit64, 0, RLIMIT_NOFILE, &before, nullptr);
    }
    return attempt(result);
}

// --- names and rights

Outcome do_mount(const Attacker& attacker) {
    const char* folder = attacker.target.folder.c_str();
    const long result = call(SYS_mount, "none", folder, "tmpfs", 0, nullptr);
    if (result >= 0) {
        call(SYS_umount2, folder, MNT_DETACH);
    }
    return attempt(result);
}

Outcome do_umount(const Attacker& attacker) {
    return probe(call(SYS_umount2, attacker.target.folder.c_str(), MNT_DETACH));
}

Outcome do_open_tree(const Attacker&) {
    return attempt_to_open(call(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

Outcome do_fsopen(const Attacker&) {
    return attempt_to_open(call(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC));
}

Outcome do_pivot_root(const Attacker&) {
    return probe(call(SYS_pivot_root, "/", "/"));
}

Outcome do_chroot(const Attacker&) {
    return probe(call(SYS_chroot, "/"));
}

Outcome do_setns(const Attacker& attacker) {
    return probe(call(SYS_setns, attacker.target.names, 0));
}

Outcome unshare_names(const Attacker&) {
    return probe(call(SYS_unshare, CLONE_NEWUTS));
}

Outcome unshare_users(const Attacker&) {
    return probe(call(SYS_unshare, CLONE_NEWUSER));
}

Outcome become_root(const Attacker&) {
    return attempt(call(SYS_setresuid, 0, 0, 0));
}

Outcome leave_groups(const Attacker&) {
    return attempt(call(SYS_setgroups, 0, nullptr));
}

Outcome get_capabilities(const Attacker&) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> all{};
    all[0] = {1U << CAP_SYS_ADMIN, 1U << CAP_SYS_ADMIN, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> before{};
    // A call that fails changes nothing; one that succeeds drops what is not asked for.
    const long known = call(SYS_capget, &header, before.data());
    if (known >= 0) {
        all[0].effective |= before[0].effective;
        all[0].permitted |= before[0].permitted;
        all[0].inheritable = before[0].inheritable;
        all[1] = before[1];
    }
    return attempt(call(SYS_capset, &header, all.data()));
}

// --- the host's kernel

Outcome load_module(const Attacker&) {
    return probe(call(SYS_init_module, "attack", 6, ""));
}

Outcome load_module_file(const Attacker&) {
    return probe(call(SYS_finit_module, -1, "", 0));
}

Outcome unload_module(const Attacker&) {
    return probe(call(SYS_delete_module, "no_such_module", O_NONBLOCK));
}

Outcome do_bpf(const Attacker&) {
    bpf_attr attributes{};
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = 4;
    attributes.value_size = 4;
    attributes.max_entries = 1;
    return attempt_to_open(call(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

Outcome do_perf(const Attacker&) {
    perf_event_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_CPU_CLOCK;
    attributes.exclude_kernel = 1;
    return attempt_to_open(call(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}

Outcome do_userfaultfd(const Attacker&) {
    return attempt_to_open(call(SYS_userfaultfd, UFFD_USER_MODE_ONLY));
}

Outcome do_keyctl(const Attacker&) {
    return probe(call(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
}

Outcome add_key(const Attacker&) {
    return probe(call(SYS_add_key, "user", "attack", "x", 1, KEY_SPEC_THREAD_KEYRING));
}

Outcome do_kexec(const Attacker&) {
    constexpr long kNoFlag = 1 << 30;  // is refused for what it is
    return probe(call(SYS_kexec_load, 0, 0, nullptr, kNoFlag));
}

Outcome do_reboot(const Attacker&) {
    // Without the second magic number: is looked at behind the right to ask.
    return probe(call(SYS_reboot, LINUX_REBOOT_MAGIC1, 0, LINUX_REBOOT_CMD_RESTART, nullptr));
}

Outcome do_ioperm(const Attacker&) {
    const long result = call(SYS_ioperm, 0x80, 1, 1);
    if (result >= 0) {
        call(SYS_ioperm, 0x80, 1, 0);
    }
    return attempt(result);
}

/// Types at a terminal of the user's.
Outcome type_at_terminal(const Attacker&) {
    char byte = ' ';
    Outcome outcome{refused, ENOTTY};
    for (int descriptor = 0; descriptor < kDescriptors; ++descriptor) {
        const Outcome one = attempt(call(SYS_ioctl, descriptor, TIOCSTI, &byte));
        if (one.kind == succeeded) {
            return one;
        }
        if (one.number == EPERM || one.number == EACCES) {
            outcome = one;
        }
    }
    return outcome;
}

// --- code of its own

constexpr size_t kPage = 4096;

Outcome map_code(const Attacker&) {
    const long memory =
        call(SYS_mmap, 0, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // An address, or an errno.
    if (memory < 0 && memory > -static_cast<long>(kPage)) {
        return attempt(memory);
    }
    call(SYS_munmap, memory, kPage);
    return {succeeded};
}

alignas(kPage) std::array<char, kPage> data_page;

Outcome change_to_code(long result) {
    if (result >= 0) {
        call(SYS_mprotect, data_page.data(), kPage, PROT_READ | PROT_WRITE);
    }
    return attempt(result);
}

Outcome protect_code(const Attacker&) {
    return change_to_code(call(SYS_mprotect, data_page.data(), kPage, PROT_READ | PROT_EXEC));
}

Outcome pkey_protect_code(const Attacker&) {
    return change_to_code(call(SYS_pkey_mprotect, data_page.data(), kPage, PROT_READ | PROT_EXEC, -1));
}

Outcome by_other_way(size_t number) {
    return attempt(kOtherWays.at(number).getpid());
}

// --- using up

/// How often something went; `last` is the errno that ended it, or 0 where nothing did.
Outcome used_up(long times, long last) {
    if (last == 0) {
        return {succeeded};
    }
    return times == 0 ? Outcome{refused, last} : Outcome{bounded, times};
}

constexpr size_t kStack = 65536;
constexpr size_t kMostThreads = 128;
alignas(kPage) std::array<std::array<char, kStack>, kMostThreads> stacks;

Outcome use_up_processes(const Attacker&) {
    constexpr size_t kMost = 256;
    static std::array<long, kMost> children;
    size_t count = 0;
    long last = 0;
    while (last == 0 && count < kMost) {
        const long child = clone_sleeper(CLONE_VM | SIGCHLD, stacks.at(count % kMostThreads).end());
        child < 0 ? last = -child : children.at(count++) = child;
    }
    for (size_t at = 0; at < count; ++at) {
        call(SYS_kill, children.at(at), SIGKILL);
        call(SYS_wait4, children.at(at), nullptr, 0, nullptr);
    }
    return used_up(static_cast<long>(count), last);
}

Outcome use_up_threads(const Attacker&) {
    static uint32_t word;
    static std::array<uint32_t, kMostThreads> gone;
    word = 1;
    size_t count = 0;
    long last = 0;
    while (last == 0 && count < kMostThreads) {
        gone.at(count) = 1;
        const long thread = clone_thread(stacks.at(count).end(), &word, &gone.at(count));
        thread < 0 ? last = -thread : static_cast<long>(++count);
    }
    constexpr long kWakePrivate = 129;
    __atomic_store_n(&word, 0U, __ATOMIC_SEQ_CST);
    for (size_t at = 0; at < count; ++at) {
        while (__atomic_load_n(&gone.at(at), __ATOMIC_SEQ_CST) != 0) {
            call(SYS_futex, &word, kWakePrivate, kMostThreads, 0, 0, 0);
        }
    }
    return used_up(static_cast<long>(count), last);
}

Outcome use_up_descriptors(const Attacker&) {
    constexpr int kMany = 65536;
    static std::array<int, kMany> copies;
    size_t count = 0;
    long last = 0;
    while (last == 0 && count < copies.size()) {
        const long copy = call(SYS_dup, 1);
        copy < 0 ? last = -copy : copies.at(count++) = static_cast<int>(copy);
    }
    for (size_t at = 0; at < count; ++at) {
        call(SYS_close, copies.at(at));
    }
    return used_up(static_cast<long>(count), last);
}

/// Of which so much is there for anybody: more is what a limit of memory is for.
Outcome map_memory(const Attacker&) {
    constexpr size_t kMuch = size_t{64} << 20;
    const long memory = call(SYS_mmap, 0, kMuch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory < 0 && memory > -static_cast<long>(kPage)) {
        return attempt(memory);
    }
    call(SYS_munmap, memory, kMuch);
    return {succeeded};
}

// --- rings

Outcome make_ring(const Attacker&) {
    io_uring_params parameters{};
    return attempt_to_open(call(SYS_io_uring_setup, 4, &parameters));
}

Outcome enter_others_ring(const Attacker& attacker) {
    return probe(call(SYS_io_uring_enter, attacker.other_ring, 0, 0, 0, nullptr, 0));
}

Outcome register_with_ring(const Attacker& attacker) {
    const int ring = attacker.ring != nullptr ? attacker.ring->ring_fd : attacker.other_ring;
    return probe(call(SYS_io_uring_register, ring, IORING_REGISTER_PERSONALITY, nullptr, 0));
}

/// Has a ring do what `fill` says. What else has ended meanwhile is put back for the thread's own work.
template <typename Fill>
Outcome by_ring(io_uring* ring, Fill fill) {
    constexpr uint64_t kTag = 0xa77ac4;
    io_uring_sqe* entry = io_uring_get_sqe(ring);
    if (entry == nullptr) {
        return {refused, EBUSY};
    }
    fill(entry);
    entry->user_data = kTag;
    static std::array<io_uring_cqe, 16> others;
    unsigned count = 0;
    for (;;) {
        if (const int result = io_uring_submit_and_wait(ring, 1); result < 0) {
            return attempt(result);
        }
        io_uring_cqe* end = nullptr;
        if (io_uring_peek_cqe(ring, &end) != 0) {
            return {refused, EAGAIN};
        }
        const io_uring_cqe seen = *end;
        io_uring_cqe_seen(ring, end);
        if (seen.user_data != kTag) {
            others.at(count++) = seen;
            continue;
        }
        const unsigned head = *ring->cq.khead - count;
        for (unsigned at = 0; at < count; ++at) {
            ring->cq.cqes[(head + at) & *ring->cq.kring_mask] = others.at(at);
        }
        *ring->cq.khead = head;
        return probe(seen.res);
    }
}

Outcome open_by_own_ring(const Attacker&) {
    io_uring ring{};
    io_uring_params parameters{};
    if (const int result = io_uring_queue_init_params(4, &ring, &parameters); result < 0) {
        return attempt(result);
    }
    const Outcome outcome = by_ring(
        &ring, [](io_uring_sqe* entry) { io_uring_prep_openat(entry, AT_FDCWD, kSecret, O_RDONLY, 0); });
    io_uring_queue_exit(&ring);
    return outcome;
}

char ring_byte;
const iovec kRingMemory{&ring_byte, 1};

Outcome ring_openat(const Attacker& attacker) {
    return by_ring(attacker.ring,
                   [](io_uring_sqe* entry) { io_uring_prep_openat(entry, AT_FDCWD, kSecret, O_RDONLY, 0); });
}

Outcome ring_openat2(const Attacker& attacker) {
    open_how how{};
    return by_ring(attacker.ring,
                   [&](io_uring_sqe* entry) { io_uring_prep_openat2(entry, AT_FDCWD, kSecret, &how); });
}

/// With the flag that the ring asks for: it is not the flag alone that keeps it from opening.
Outcome ring_openat_registered(const Attacker& attacker) {
    return by_ring(attacker.ring, [](io_uring_sqe* entry) {
        io_uring_prep_openat(entry, AT_FDCWD, kSecret, O_RDONLY, 0);
        entry->flags = IOSQE_FIXED_FILE;
    });
}

Outcome ring_statx(const Attacker& attacker) {
    struct statx status {};
    return by_ring(attacker.ring, [&](io_uring_sqe* entry) {
        io_uring_prep_statx(entry, AT_FDCWD, kSecret, 0, STATX_ALL, &status);
    });
}

Outcome ring_socket(const Attacker& attacker) {
    return by_ring(attacker.ring, [](io_uring_sqe* entry) {
        io_uring_prep_rw(IORING_OP_SOCKET, entry, AF_INET, nullptr, 0, SOCK_STREAM);
    });
}

Outcome ring_connect(const Attacker& attacker) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    return by_ring(attacker.ring, [&](io_uring_sqe* entry) {
        io_uring_prep_connect(entry, 1, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    });
}

Outcome ring_send(const Attacker& attacker) {
    return by_ring(attacker.ring,
                   [](io_uring_sqe* entry) { io_uring_prep_send(entry, 1, &ring_byte, 1, 0); });
}

Outcome ring_unlink(const Attacker& attacker) {
    return by_ring(attacker.ring, [&](io_uring_sqe* entry) {
        io_uring_prep_unlinkat(entry, AT_FDCWD, attacker.target.made.c_str(), 0);
    });
}

Outcome ring_read_unregistered(const Attacker& attacker) {
    return by_ring(attacker.ring,
                   [](io_uring_sqe* entry) { io_uring_prep_readv(entry, 0, &kRingMemory, 1, 0); });
}

Outcome ring_write_unregistered(const Attacker& attacker) {
    return by_ring(attacker.ring,
                   [](io_uring_sqe* entry) { io_uring_prep_writev(entry, 1, &kRingMemory, 0, 0); });
}

Outcome ring_change_files(const Attacker& attacker) {
    static int none = -1;
    return by_ring(attacker.ring,
                   [](io_uring_sqe* entry) { io_uring_prep_files_update(entry, &none, 1, 0); });
}

constexpr Attack kAttacks[] = {
    {"open /etc/passwd", open_secret},
    {"openat /etc/passwd", openat_secret},
    {"openat2 /etc/passwd", openat2_secret},
    {"open /proc/self/root/etc/passwd", open_by_proc},
    {"openat /etc/passwd from each descriptor", open_by_descriptors},
    {"open_by_handle_at", open_by_handle},
    {"open another machine's disk", open_disk},
    {"make a file", make_file},
    {"remove a file", remove_file},
    {"connect by TCP", connect_tcp},
    {"send by UDP", send_udp},
    {"connect to a unix socket's path", connect_unix},
    {"connect to an abstract unix socket", connect_abstract},
    {"fork", do_fork},
    {"vfork", do_vfork},
    {"clone", do_clone},
    {"clone3", do_clone3},
    {"exec a program", exec_program},
    {"exec itself", exec_itself},
    {"exec from memory", exec_memory},
    {"ptrace the keeper", trace_keeper},
    {"ptrace another machine", trace_process},
    {"read the keeper's memory", read_keeper},
    {"write the keeper's memory", write_keeper},
    {"read another machine's memory", read_process},
    {"open the keeper's memory", open_keepers_memory},
    {"open another machine's memory", open_processs_memory},
    {"kill the keeper", kill_keeper},
    {"kill another machine", kill_process},
    {"tgkill the keeper", tgkill_keeper},
    {"tgkill another machine", tgkill_process},
    {"rt_sigqueueinfo to another machine", queue_signal},
    {"pidfd_send_signal to the keeper", pidfd_keeper},
    {"pidfd_send_signal to another machine", pidfd_process},
    {"prlimit of another machine", limit_process},
    {"raise a limit", raise_limit},
    {"mount", do_mount},
    {"umount", do_umount},
    {"open_tree", do_open_tree},
    {"fsopen", do_fsopen},
    {"pivot_root", do_pivot_root},
    {"chroot", do_chroot},
    {"setns", do_setns},
    {"unshare names", unshare_names},
    {"unshare users", unshare_users},
    {"setresuid to root", become_root},
    {"setgroups", leave_groups},
    {"capset", get_capabilities},
    {"init_module", load_module},
    {"finit_module", load_module_file},
    {"delete_module", unload_module},
    {"bpf", do_bpf},
    {"perf_event_open", do_perf},
    {"userfaultfd", do_userfaultfd},
    {"keyctl", do_keyctl},
    {"add_key", add_key},
    {"kexec_load", do_kexec},
    {"reboot", do_reboot},
    {"ioperm", do_ioperm},
    {"type at a terminal", type_at_terminal},
    {"mmap of code", map_code},
    {"mprotect to code", protect_code},
    {"pkey_mprotect to code", pkey_protect_code},
    {"a call of 32-bit programs", [](const Attacker&) { return by_other_way(0); }},
    {"a call with an x32 number", [](const Attacker&) { return by_other_way(1); }},
    {"io_uring_setup", make_ring},
    {"openat by a ring of its own", open_by_own_ring},
    {"io_uring_register", register_with_ring},
    {"use up processes", use_up_processes},
    {"use up threads", use_up_threads},
    {"use up descriptors", use_up_descriptors},
    {"map memory", map_memory},
};

constexpr Attack kRinglessAttacks[] = {
    {"io_uring_enter of another thread's ring", enter_others_ring},
};

constexpr Attack kRingAttacks[] = {
    {"ring: openat", ring_openat},
    {"ring: openat2", ring_openat2},
    {"ring: openat as of a registered file", ring_openat_registered},
    {"ring: statx", ring_statx},
    {"ring: socket", ring_socket},
    {"ring: connect", ring_connect},
    {"ring: send", ring_send},
    {"ring: unlinkat", ring_unlink},
    {"ring: read what is not registered", ring_read_unregistered},
    {"ring: write what is not registered", ring_write_unregistered},
    {"ring: change its files", ring_change_files},
};

}  // namespace

std::span<const Attack> attacks() {
    return kAttacks;
}

std::span<const Attack> ringless_attacks() {
    return kRinglessAttacks;
}

std::span<const Attack> ring_attacks() {
    return kRingAttacks;
}

}  // namespace hull::turncoat

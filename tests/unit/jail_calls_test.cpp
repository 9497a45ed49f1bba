#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "vmm/jail/calls.h"

namespace hull::jail {
namespace {

/// Calls of different names, however many forms there are of one.
std::set<std::string> names_of(ThreadKind kind) {
    std::set<std::string> names;
    for (const Call& call : calls_of(kind)) {
        names.insert(call.name);
    }
    return names;
}

class JailCallsTest : public testing::TestWithParam<ThreadKind> {};

TEST(JailCalls, AreFew) {
    EXPECT_LE(names_of(ThreadKind::vcpu).size(), 12U);
    EXPECT_LE(names_of(ThreadKind::block).size(), 10U);
    EXPECT_LE(names_of(ThreadKind::block_without_ring).size(), 10U);
    EXPECT_LE(names_of(ThreadKind::main).size(), 40U);
}

TEST_P(JailCallsTest, EachHasItsReason) {
    const auto calls = calls_of(GetParam());
    EXPECT_FALSE(calls.empty());
    for (const Call& call : calls) {
        EXPECT_GT(std::string_view{call.why}.size(), 3U) << call.name;
    }
}

TEST_P(JailCallsTest, AnIoctlIsAllowedByItsRequestOnly) {
    for (const Call& call : calls_of(GetParam())) {
        const bool by_request = std::ranges::any_of(call.limits, [](const Limit& limit) {
            return limit.argument == 1 && limit.mask == 0xffff'ffff && limit.value != 0;
        });
        EXPECT_EQ(std::string_view{call.name} == "ioctl", by_request) << call.name << ": " << call.why;
    }
}

TEST_P(JailCallsTest, NothingIsAmongThemThatLeadsOut) {
    const auto names = names_of(GetParam());
    for (const char* name : {"open",
                             "openat",
                             "openat2",
                             "creat",
                             "socket",
                             "connect",
                             "bind",
                             "listen",
                             "clone",
                             "clone3",
                             "fork",
                             "vfork",
                             "execve",
                             "execveat",
                             "ptrace",
                             "kill",
                             "tkill",
                             "pidfd_open",
                             "pidfd_getfd",
                             "process_vm_readv",
                             "mount",
                             "setns",
                             "unshare",
                             "init_module",
                             "finit_module",
                             "bpf",
                             "perf_event_open",
                             "io_uring_setup",
                             "io_uring_register",
                             "userfaultfd",
                             "memfd_create",
                             "mprotect",
                             "pkey_mprotect",
                             "mremap",
                             "prctl",
                             "seccomp",
                             "setuid",
                             "setresuid",
                             "capset",
                             "dup",
                             "setrlimit",
                             "prlimit64",
                             "rt_sigaction",
                             "keyctl",
                             "chmod",
                             "process_madvise"}) {
        EXPECT_FALSE(names.contains(name)) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(Kinds, JailCallsTest,
                         testing::Values(ThreadKind::main, ThreadKind::vcpu, ThreadKind::block,
                                         ThreadKind::block_without_ring, ThreadKind::net,
                                         ThreadKind::file_share, ThreadKind::vhost_user, ThreadKind::vsock,
                                         ThreadKind::console, ThreadKind::rng));

}  // namespace
}  // namespace hull::jail

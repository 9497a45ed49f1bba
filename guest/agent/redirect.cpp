#include "guest/agent/redirect.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace hull::agent {

namespace {

constexpr uint8_t kRegister1 = 1;  // the context, at first
constexpr uint8_t kRegister2 = 2;
constexpr uint8_t kRegister6 = 6;  // the context, when others are called
constexpr uint8_t kRegister7 = 7;

bpf_insn instruction(uint8_t code, uint8_t to, uint8_t from, int16_t offset, uint32_t value) {
    bpf_insn made{};
    made.code = code;
    made.dst_reg = to & 0xf;
    made.src_reg = from & 0xf;
    made.off = offset;
    made.imm = static_cast<int32_t>(value);
    return made;
}

int bpf(int command, bpf_attr& attributes) {
    return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

/// Where the address and port are these, in the first network namespace, the port becomes the other. All are
/// in the network's order.
int load(bpf_attach_type kind, uint32_t address, uint16_t from, uint16_t to) {
    constexpr uint8_t kLoad = BPF_LDX | BPF_MEM | BPF_W;
    constexpr uint8_t kStore = BPF_STX | BPF_MEM | BPF_W;
    constexpr uint8_t kSet = BPF_ALU64 | BPF_MOV | BPF_K;
    constexpr uint8_t kCopy = BPF_ALU64 | BPF_MOV | BPF_X;
    constexpr uint8_t kUnlessValue = BPF_JMP32 | BPF_JNE | BPF_K;
    constexpr uint8_t kUnlessSame = BPF_JMP | BPF_JNE | BPF_X;
    constexpr uint8_t kCall = BPF_JMP | BPF_CALL;
    constexpr int16_t kIp = offsetof(bpf_sock_addr, user_ip4);
    constexpr int16_t kPort = offsetof(bpf_sock_addr, user_port);
    const bpf_insn program[] = {
        instruction(kCopy, kRegister6, kRegister1, 0, 0),
        instruction(kLoad, kRegister2, kRegister6, kIp, 0),
        instruction(kUnlessValue, kRegister2, 0, 9, address),  // to the end
        instruction(kLoad, kRegister2, kRegister6, kPort, 0),
        instruction(kUnlessValue, kRegister2, 0, 7, from),
        instruction(kCall, 0, 0, 0, BPF_FUNC_get_netns_cookie),
        instruction(kCopy, kRegister7, 0, 0, 0),
        instruction(kSet, kRegister1, 0, 0, 0),
        instruction(kCall, 0, 0, 0, BPF_FUNC_get_netns_cookie),  // the first one's
        instruction(kUnlessSame, kRegister7, 0, 2, 0),
        instruction(kSet, kRegister2, 0, 0, to),
        instruction(kStore, kRegister6, kRegister2, kPort, 0),
        instruction(kSet, 0, 0, 0, 1),  // it may go on
        instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    };
    bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
    attributes.expected_attach_type = kind;
    attributes.insns = reinterpret_cast<uint64_t>(program);
    attributes.insn_cnt = sizeof program / sizeof *program;
    static const char license[] = "";
    attributes.license = reinterpret_cast<uint64_t>(license);
    return bpf(BPF_PROG_LOAD, attributes);
}

bool attach(int group, int program, bpf_attach_type kind) {
    bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.target_fd = static_cast<uint32_t>(group);
    attributes.attach_bpf_fd = static_cast<uint32_t>(program);
    attributes.attach_type = kind;
    attributes.attach_flags = BPF_F_ALLOW_MULTI;  // the container's own managers attach programs, too
    return bpf(BPF_PROG_ATTACH, attributes) == 0;
}

}  // namespace

bool redirect(const char* group, uint32_t address, uint16_t from, uint16_t to) {
    const int folder = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_done = folder >= 0;
    const uint16_t asked = htons(from);
    const uint16_t real = htons(to);
    const struct {
        bpf_attach_type kind;
        uint16_t seen;
        uint16_t put;
    } hooks[] = {{BPF_CGROUP_INET4_CONNECT, asked, real},
                 {BPF_CGROUP_UDP4_SENDMSG, asked, real},
                 {BPF_CGROUP_UDP4_RECVMSG, real, asked},
                 {BPF_CGROUP_INET4_GETPEERNAME, real, asked}};
    for (const auto& hook : hooks) {
        const int program = is_done ? load(hook.kind, htonl(address), hook.seen, hook.put) : -1;
        is_done = program >= 0 && attach(folder, program, hook.kind);
        const int error = errno;
        close(program);  // the group keeps it
        errno = error;
    }
    const int error = errno;
    close(folder);
    errno = error;
    return is_done;
}

}  // namespace hull::agent

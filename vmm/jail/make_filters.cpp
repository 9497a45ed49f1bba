// Compiles the list of system calls (calls.h) to programs for seccomp(2), and writes what filters.h declares.
// Run when Hull is built, on the architecture that it is built for.

#include <linux/filter.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "vmm/jail/calls.h"

namespace hull::jail {
namespace {

/// Beyond every number that an architecture has.
constexpr int kNumbers = 1024;

void check(int result, const std::string& what) {
    if (result < 0) {
        throw std::runtime_error{what + ": " + std::to_string(result)};
    }
}

class Filter {
  public:
    Filter() : context_{seccomp_init(SCMP_ACT_TRAP)} {
        if (context_ == nullptr) {
            throw std::runtime_error{"seccomp_init"};
        }
        check(seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP), "other architectures");
    }
    Filter(const Filter&) = delete;
    Filter& operator=(const Filter&) = delete;
    ~Filter() { seccomp_release(context_); }

    void allow(const Call& call, uint8_t priority) {
        const int number = seccomp_syscall_resolve_name(call.name);
        if (number == __NR_SCMP_ERROR) {
            throw std::runtime_error{std::string{call.name} + " is no system call of Linux"};
        }
        if (number < 0) {
            return;  // not on this architecture
        }
        std::vector<scmp_arg_cmp> limits;
        for (const Limit& limit : call.limits) {
            limits.push_back({limit.argument, SCMP_CMP_MASKED_EQ, limit.mask, limit.value});
        }
        const int result = seccomp_rule_add_exact_array(context_, SCMP_ACT_ALLOW, number,
                                                        static_cast<unsigned>(limits.size()), limits.data());
        if (result != -EEXIST) {
            check(result, call.name);
        }
        check(seccomp_syscall_priority(context_, number, priority), call.name);
    }

    [[nodiscard]] std::vector<sock_filter> program() const {
        const UniqueFd fd{memfd_create("filter", MFD_CLOEXEC)};
        check(seccomp_export_bpf(context_, fd.get()), "seccomp_export_bpf");
        const off_t size = lseek(fd.get(), 0, SEEK_END);
        std::vector<sock_filter> program(static_cast<size_t>(size) / sizeof(sock_filter));
        if (program.empty() || pread(fd.get(), program.data(), static_cast<size_t>(size), 0) != size) {
            throw std::runtime_error{"cannot read the program"};
        }
        return program;
    }

  private:
    scmp_filter_ctx context_;
};

std::vector<sock_filter> compile(ThreadKind kind) {
    Filter filter;
    uint8_t priority = UINT8_MAX;
    std::vector<Call> calls = calls_of(kind);
#ifdef HULL_HAS_SANITIZERS
    const std::vector<Call> more = calls_of_sanitizers();
    calls.insert(calls.end(), more.begin(), more.end());
#endif
    for (const Call& call : calls) {
        filter.allow(call, priority);
        priority = priority > 1 ? static_cast<uint8_t>(priority - 1) : priority;
    }
    return filter.program();
}

std::string name_of_number(int number) {
    const std::unique_ptr<char, void (*)(void*)> name{
        seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number), std::free};
    return name ? name.get() : "";
}

void write_all(std::ostream& out) {
    out << "// Made by vmm/jail/make_filters.cpp of vmm/jail/calls.cpp.\n"
           "#include \"vmm/jail/filters.h\"\n\n"
           "namespace hull::jail {\n\nnamespace {\n\n";
    for (size_t kind = 0; kind < kThreadKinds; ++kind) {
        out << "constexpr sock_filter kFilter" << kind << "[] = {\n";
        for (const sock_filter& step : compile(static_cast<ThreadKind>(kind))) {
            out << "    {" << step.code << ", " << unsigned{step.jt} << ", " << unsigned{step.jf} << ", "
                << step.k << "U},\n";
        }
        out << "};\n\n";
    }
    out << "constexpr std::span<const sock_filter> kFilters[] = {\n";
    for (size_t kind = 0; kind < kThreadKinds; ++kind) {
        out << "    kFilter" << kind << ",\n";
    }
    out << "};\n\n}  // namespace\n\n"
           "std::span<const sock_filter> filter_of(ThreadKind kind) {\n"
           "    return kFilters[static_cast<size_t>(kind)];\n}\n\n"
           "const char* name_of_call(int number) {\n    switch (number) {\n";
    for (int number = 0; number < kNumbers; ++number) {
        if (const std::string name = name_of_number(number); !name.empty()) {
            out << "        case " << number << ":\n            return \"" << name << "\";\n";
        }
    }
    out << "        default:\n            return nullptr;\n    }\n}\n\n"
        << "const uint32_t kNativeArchitecture = " << seccomp_arch_native() << "U;\n\n"
        << "}  // namespace hull::jail\n";
}

}  // namespace
}  // namespace hull::jail

int main(int argc, char** argv) {
    try {
        if (argc != 2) {
            throw std::runtime_error{"usage: hull_make_filters FILE"};
        }
        std::ofstream out{argv[1]};
        hull::jail::write_all(out);
        out.close();
        if (!out) {
            throw std::runtime_error{std::string{"cannot write "} + argv[1]};
        }
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hull_make_filters: %s\n", error.what());
        return 1;
    }
}

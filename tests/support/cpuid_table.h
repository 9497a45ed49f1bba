// CPUID tables as text: one entry a line, "FUNCTION INDEX FLAGS EAX EBX ECX EDX" in hexadecimal, # begins a
// comment.
#pragma once

#include <linux/kvm.h>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace hull::test {

inline std::vector<kvm_cpuid_entry2> read_cpuid_table(const std::string& path) {
    std::ifstream file{path};
    std::vector<kvm_cpuid_entry2> table;
    std::string line;
    while (std::getline(file, line)) {
        std::istringstream words{line.substr(0, line.find('#'))};
        kvm_cpuid_entry2 entry{};
        if (words >> std::hex >> entry.function >> entry.index >> entry.flags >> entry.eax >> entry.ebx >>
            entry.ecx >> entry.edx) {
            table.push_back(entry);
        }
    }
    if (table.empty()) {
        throw std::runtime_error{"no CPUID entries in " + path};
    }
    return table;
}

}  // namespace hull::test

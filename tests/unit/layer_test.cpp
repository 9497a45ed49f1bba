// The house as README.md draws it: which folder may include which, and where an instruction set may be named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/files.h"

namespace hull {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

/// For each folder, those whose headers it may include. tests/ may include everything.
const std::map<std::string, Names>& allowed_includes() {
    static const std::map<std::string, Names> table = {
        {"base", {"base"}},           {"devices", {"base", "devices"}},
        {"boot", {"base", "boot"}},   {"vmm", {"base", "devices", "boot", "vmm"}},
        {"guest", {"guest"}},         {"container", {"base", "vmm", "container"}},
        {"bench", {"base", "bench"}},
    };
    return table;
}

/// What the host may know of what runs in a guest: how they talk.
constexpr const char* kGuestProtocol = "guest/agent/protocol.h";

bool is_source(const fs::path& path) {
    static const Names endings = {".h", ".hpp", ".c", ".cc", ".cpp", ".S"};
    return endings.contains(path.extension().string());
}

std::string first_folder(const std::string& path) {
    const size_t slash = path.find('/');
    return slash == std::string::npos ? std::string{} : path.substr(0, slash);
}

bool may_name_an_architecture(const std::string& file) {
    return file.starts_with("vmm/arch/") || file.starts_with("vmm/kvm/");
}

/// Why a line may not stand in `file`; empty where it may.
std::string fault_of(const std::string& file, const std::string& line) {
    static const std::regex include{R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])"};
    static const std::regex architecture{
        R"(\b(__x86_64__|__x86_64|__amd64__|__amd64|__i386__|__i386|__aarch64__|__arm__|__riscv|_M_X64|_M_ARM64)\b)"};
    const std::string folder = first_folder(file);
    std::smatch match;
    if (std::regex_search(line, match, include)) {
        const bool quoted = match[1] == "\"";
        const std::string target = match[2];
        const std::string target_folder = first_folder(target);
        const bool ours = allowed_includes().contains(target_folder) || target_folder == "tests";
        if (quoted && !ours) {
            return "includes \"" + target + "\", which is not named from the root of the tree";
        }
        const bool protocol = target == kGuestProtocol && folder != "base" && folder != "bench";
        if (ours && !allowed_includes().at(folder).contains(target_folder) && !protocol) {
            return "includes " + target + ", which " + folder + "/ may not see";
        }
        if (target == "linux/kvm.h" && folder != "vmm") {
            return "includes linux/kvm.h, which is vmm's alone";
        }
    }
    if (!may_name_an_architecture(file) && std::regex_search(line, architecture)) {
        return "names an architecture";
    }
    return "";
}

std::vector<std::string> faults_in(const fs::path& root, size_t* files_read = nullptr) {
    std::vector<std::string> faults;
    for (const auto& [folder, allowed] : allowed_includes()) {
        if (!fs::exists(root / folder)) {
            continue;
        }
        for (const auto& entry : fs::recursive_directory_iterator{root / folder}) {
            if (!entry.is_regular_file() || !is_source(entry.path())) {
                continue;
            }
            const std::string file = fs::relative(entry.path(), root).generic_string();
            std::ifstream stream{entry.path()};
            std::string line;
            for (int number = 1; std::getline(stream, line); ++number) {
                if (const std::string fault = fault_of(file, line); !fault.empty()) {
                    faults.push_back(file + ":" + std::to_string(number) + ": " + fault);
                }
            }
            if (files_read != nullptr) {
                ++*files_read;
            }
        }
    }
    std::sort(faults.begin(), faults.end());
    return faults;
}

TEST(Layers, EveryArrowPointsDown) {
    size_t files = 0;
    EXPECT_THAT(faults_in(HULL_SOURCE_DIR, &files), testing::IsEmpty());
    EXPECT_GT(files, 50U) << "where are the sources?";
}

TEST(Layers, EveryKindOfFaultIsFound) {
    const test::TemporaryFolder tree;
    tree.file("base/a.cpp", "#include \"base/a.h\"\n#include \"devices/bus/bus.h\"\n");
    tree.file("devices/a.h", "#include <linux/kvm.h>\n#include \"boot/platform.h\"\n");
    tree.file("boot/a.cpp",
              "  #  include <devices/bus/bus.h>\n#include \"vmm/kvm/kvm.h\"\n#include \"sibling.h\"\n");
    tree.file("vmm/machine/a.cpp", "#include \"container/image.h\"\n#if defined(__x86_64__)\n");
    tree.file("vmm/machine/b.cpp", "#include \"guest/agent/protocol.h\"\n#include \"guest/agent/agent.h\"\n");
    tree.file("vmm/arch/x86_64/a.cpp", "#ifdef __x86_64__\n#include <linux/kvm.h>\n");
    tree.file("guest/agent/a.cpp", "#include \"base/error.h\"\n#include \"guest/agent/protocol.h\"\n");
    tree.file("container/a.cpp", "#include \"vmm/machine/machine.h\"\n#include \"devices/bus/bus.h\"\n");
    tree.file("bench/a.cpp", "#include \"vmm/machine/machine.h\"\n#ifdef __aarch64__\n");
    tree.file("base/notes.txt", "#include \"vmm/machine/machine.h\"\n");
    EXPECT_THAT(
        faults_in(tree.path()),
        testing::ElementsAre("base/a.cpp:2: includes devices/bus/bus.h, which base/ may not see",
                             "bench/a.cpp:1: includes vmm/machine/machine.h, which bench/ may not see",
                             "bench/a.cpp:2: names an architecture",
                             "boot/a.cpp:1: includes devices/bus/bus.h, which boot/ may not see",
                             "boot/a.cpp:2: includes vmm/kvm/kvm.h, which boot/ may not see",
                             "boot/a.cpp:3: includes \"sibling.h\", which is not named from the root of "
                             "the tree",
                             "container/a.cpp:2: includes devices/bus/bus.h, which container/ may not see",
                             "devices/a.h:1: includes linux/kvm.h, which is vmm's alone",
                             "devices/a.h:2: includes boot/platform.h, which devices/ may not see",
                             "guest/agent/a.cpp:1: includes base/error.h, which guest/ may not see",
                             "vmm/machine/a.cpp:1: includes container/image.h, which vmm/ may not see",
                             "vmm/machine/a.cpp:2: names an architecture",
                             "vmm/machine/b.cpp:2: includes guest/agent/agent.h, which vmm/ may not see"));
}

}  // namespace
}  // namespace hull

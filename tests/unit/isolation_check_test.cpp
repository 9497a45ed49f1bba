#include "vmm/main/isolation_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/files.h"

namespace hull {
namespace {

using testing::HasSubstr;
using Verdict = CheckResult::Verdict;

/// A host that has these files, by what they hold.
class Host {
  public:
    explicit Host(const std::vector<std::pair<std::string, std::string>>& files) {
        for (const auto& [name, text] : files) {
            folder_.file(name, text + "\n");
        }
    }
    CheckResult find(const std::string& what) const {
        const auto results = check_isolation_settings(folder_.path());
        const auto found = std::ranges::find(results, what, &CheckResult::what);
        return found == results.end() ? CheckResult{what, Verdict::failure, "is not looked at", ""} : *found;
    }

  private:
    test::TemporaryFolder folder_;
};

const std::string kFaults = "sys/devices/system/cpu/vulnerabilities/";

TEST(IsolationCheck, NamesTheProcessorsFaultsThatAreOpen) {
    struct Row {
        const char* state;
        bool open;
    };
    // As kernels from 5.10 to 6.12 write them.
    const Row rows[] = {{"Not affected", false},
                        {"Mitigation: PTI", false},
                        {"Mitigation: Clear CPU buffers; SMT disabled", false},
                        {"Mitigation: Clear CPU buffers; SMT vulnerable", true},
                        {"Vulnerable", true},
                        {"Vulnerable: Safe RET, no microcode", true},
                        {"KVM: Vulnerable", true},
                        {"KVM: Mitigation: Split huge pages", false},
                        {"Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable", true},
                        {"Unknown: Dependent on hypervisor status", true}};
    for (const Row& row : rows) {
        SCOPED_TRACE(row.state);
        const Host host{{{kFaults + "first", "Not affected"}, {kFaults + "second", row.state}}};
        const CheckResult result = host.find("processor's faults");
        EXPECT_EQ(result.verdict, row.open ? Verdict::note : Verdict::good) << result.found;
        EXPECT_EQ(result.found.find("second") != std::string::npos, row.open) << result.found;
        EXPECT_EQ(result.found.find("first"), std::string::npos) << result.found;
        EXPECT_NE(result.advice.empty(), row.open) << result.advice;
    }
    const CheckResult untold = Host{{}}.find("processor's faults");
    EXPECT_EQ(untold.verdict, Verdict::note);
    EXPECT_THAT(untold.found, HasSubstr("does not tell"));
}

TEST(IsolationCheck, TellsOfWhatGuestsShare) {
    struct Row {
        const char* what;
        const char* file;
        const char* bad;
        const char* good;
        const char* says;
    };
    const Row rows[] = {{"threads of a core", "sys/devices/system/cpu/smt/active", "1", "0", "smt/control"},
                        {"merging of pages", "sys/kernel/mm/ksm/run", "1", "0", "ksm/run"}};
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        const CheckResult bad = Host{{{row.file, row.bad}}}.find(row.what);
        EXPECT_EQ(bad.verdict, Verdict::note);
        EXPECT_THAT(bad.advice, HasSubstr(row.says));
        EXPECT_EQ((Host{{{row.file, row.good}}}.find(row.what).verdict), Verdict::good);
        EXPECT_EQ((Host{{}}.find(row.what).verdict), Verdict::good) << "a kernel without it";
    }
}

TEST(IsolationCheck, ItsAttemptsLeaveThisProcessAsItWas) {
    const auto link = [](const char* name) { return std::filesystem::read_symlink(name).string(); };
    const std::string user = link("/proc/self/ns/user");
    const std::string mounts = link("/proc/self/ns/mnt");
    const CheckResult result = check_user_namespaces();
    EXPECT_NE(result.verdict, Verdict::failure);
    EXPECT_EQ(result.verdict == Verdict::good, result.advice.empty()) << result.advice;
    EXPECT_EQ(link("/proc/self/ns/user"), user);
    EXPECT_EQ(link("/proc/self/ns/mnt"), mounts);
}

}  // namespace
}  // namespace hull

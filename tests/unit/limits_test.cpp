// Limits of a machine: what the user says of them, and where the host has groups for them.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/support/errors.h"
#include "vmm/jail/cgroup.h"
#include "vmm/machine/limits_config.h"

namespace hull {
namespace {

using jail::find_hierarchy;
using jail::Hierarchy;
using test::expect_error;

TEST(Limits, AQuotaIsANumberOfProcessors) {
    for (const auto& [text, thousandths] :
         {std::pair{"1", 1000U}, {"1.5", 1500U}, {"0.01", 10U}, {"0.25", 250U}, {"1000", 1'000'000U}}) {
        EXPECT_EQ(parse_cpu_quota(text), thousandths);
        EXPECT_EQ(cpu_quota_text(thousandths), text);
    }
    for (const char* wrong : {"", "0", "0.001", "1001", "-1", "nan", "inf", "1.5x", "half", "150%"}) {
        expect_error([&] { parse_cpu_quota(wrong); }, ExitStatus::usage,
                     {"--cpu-quota", wrong, "0.01 to 1000"});
    }
}

TEST(Limits, MemoryHasALeast) {
    EXPECT_EQ(parse_memory_limit("16M"), uint64_t{16} << 20);
    EXPECT_EQ(parse_memory_limit("2G"), uint64_t{2} << 30);
    for (const char* wrong : {"15M", "0", "20000K", "much"}) {
        expect_error([&] { parse_memory_limit(wrong); }, ExitStatus::usage, {"--memory-limit", wrong});
    }
}

TEST(Limits, OfADiskAreReadAsTheyAreWritten) {
    for (const char* text : {"rbps=1024K,wbps=20K,riops=7,wiops=4294967295", "wbps=3K", "riops=1"}) {
        EXPECT_EQ(IoLimit::parse(text).text(), text);
    }
    const IoLimit limit = IoLimit::parse("wbps=20M,riops=5");
    EXPECT_EQ(limit.write_bytes, uint64_t{20} << 20);
    EXPECT_EQ(limit.reads, 5U);
    EXPECT_EQ(limit.read_bytes, 0U);
    EXPECT_EQ(limit.writes, 0U);
    for (const char* wrong : {"", "rbps", "rbps=", "rbps=0", "rbps=x", "riops=0", "riops=4294967296",
                              "bps=1M", "riops=1,riops=2", "riops=1,"}) {
        expect_error([&] { IoLimit::parse(wrong); }, ExitStatus::usage, {"--io-limit"});
    }
}

void expect_hierarchy(const Hierarchy& found, const char* mount, const char* own, bool is_unified) {
    EXPECT_EQ(found.mount, mount);
    EXPECT_EQ(found.own, own);
    EXPECT_EQ(found.is_unified, is_unified);
}

TEST(Limits, GroupsOfVersion2AreFound) {
    const std::string mounts =
        "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n"
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n";
    expect_hierarchy(find_hierarchy("memory", "0::/user.slice/a:b.scope\n", mounts), "/sys/fs/cgroup",
                     "/sys/fs/cgroup/user.slice/a:b.scope", true);
    expect_hierarchy(find_hierarchy("cpu", "0::/\n", mounts), "/sys/fs/cgroup", "/sys/fs/cgroup", true);
}

TEST(Limits, GroupsOfVersion1ComeBeforeThoseOfVersion2) {
    const std::string mounts =
        "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n";
    const std::string own = "5:blkio:/b\n4:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/u\n";
    expect_hierarchy(find_hierarchy("cpu", own, mounts), "/sys/fs/cgroup/cpu,cpuacct",
                     "/sys/fs/cgroup/cpu,cpuacct/c", false);
    expect_hierarchy(find_hierarchy("io", own, mounts), "/sys/fs/cgroup/blkio", "/sys/fs/cgroup/blkio/b",
                     false);
    expect_hierarchy(find_hierarchy("pids", own, mounts), "/sys/fs/cgroup/unified",
                     "/sys/fs/cgroup/unified/u", true);
}

TEST(Limits, APartOfTheGroupsThatIsMountedIsFoundAndWhatLiesOutsideIsNot) {
    const std::string mounts = "30 23 0:26 /docker/1 /my\\040groups rw - cgroup2 cgroup2 rw\n";
    expect_hierarchy(find_hierarchy("cpu", "0::/docker/1/sub\n", mounts), "/my groups", "/my groups/sub",
                     true);
    for (const char* outside : {"0::/docker/12\n", "0::/\n", "0::/docker/1/../2\n", ""}) {
        expect_hierarchy(find_hierarchy("cpu", outside, mounts), "", "", false);
    }
    expect_hierarchy(find_hierarchy("cpu", "0::/\n", ""), "", "", false);
    expect_hierarchy(find_hierarchy("cpu", "0::/\n", "garbage\n- cgroup2\n"), "", "", false);
}

}  // namespace
}  // namespace hull

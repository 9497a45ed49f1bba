// Real kernels' drivers find virtio devices and use them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/hull_process.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

class VirtioMmio : public testing::TestWithParam<Way> {};

TEST_P(VirtioMmio, TheEntropyDeviceGivesBytes) {
    HullProcess hull{boot(GetParam(), "", {"--rng"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("cat /sys/class/misc/hw_random/rng_current; head -c 100000 /dev/hwrng | wc -c; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("virtio_rng.0"));
    EXPECT_THAT(hull.out(), HasSubstr("100000\r\n"));
}

INSTANTIATE_TEST_SUITE_P(Kernels, VirtioMmio,
                         testing::Values(Way{"debian_acpi", "debian/vmlinuz", "initramfs-debian", "acpi"},
                                         Way{"small_acpi", "small/bzImage", "initramfs-small", "acpi"},
                                         Way{"small_fdt", "small/bzImage", "initramfs-small", "fdt"}),
                         [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test

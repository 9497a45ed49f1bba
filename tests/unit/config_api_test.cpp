// What clients of Firecracker's API say of a machine before it starts.
#include "vmm/api/config_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/support/files.h"

namespace hull {
namespace {

using testing::HasSubstr;

class ConfigApiTest : public testing::Test {
  protected:
    HttpAnswer ask(const std::string& method, const std::string& target, const std::string& body = "") {
        std::optional<HttpAnswer> answer;
        api_.handle({method, target, body}, [&](const HttpAnswer& given) { answer = given; });
        return answer.value_or(HttpAnswer{0, "not answered yet"});
    }
    void put(const std::string& target, const std::string& body) {
        const HttpAnswer answer = ask("PUT", target, body);
        EXPECT_EQ(answer.status, 204U) << target << " " << body << ": " << answer.body;
    }
    void refused(const std::string& target, const std::string& body, const std::string& says) {
        const HttpAnswer answer = ask("PUT", target, body);
        EXPECT_EQ(answer.status, 400U) << target << " " << body;
        EXPECT_THAT(answer.body, HasSubstr(says)) << target << " " << body;
    }
    const MachineConfig& config() const { return api_.config(); }

    const test::TemporaryFolder folder_;
    const std::string kernel_ = folder_.file("kernel", "k");
    const std::string initramfs_ = folder_.file("initramfs", "i");
    std::vector<ConfigApi::Start> started_;
    ConfigApi api_{[] {
                       MachineConfig config;
                       config.memory = uint64_t{128} << 20;
                       config.bus = VirtioBus::mmio;
                       return config;
                   }(),
                   [this](ConfigApi::Start start) { started_.push_back(std::move(start)); }};
};

TEST_F(ConfigApiTest, MakesTheMachineThatIsSaid) {
    put("/machine-config", R"({"vcpu_count":2,"mem_size_mib":256})");
    put("/boot-source", R"({"kernel_image_path":")" + kernel_ + R"(","initrd_path":")" + initramfs_ +
                            R"(","boot_args":"console=ttyS0"})");
    put("/drives/data", R"({"drive_id":"data","path_on_host":"/data,with comma","is_root_device":false,)"
                        R"("is_read_only":true,"cache_type":"Writeback","io_engine":"Sync"})");
    put("/drives/root",
        R"({"drive_id":"root","path_on_host":"/root","is_root_device":true,"is_read_only":false,)"
        R"("rate_limiter":{"bandwidth":{"size":2048,"refill_time":100},)"
        R"("ops":{"size":5,"refill_time":1000,"one_time_burst":7}}})");
    put("/network-interfaces/eth0",
        R"({"iface_id":"eth0","host_dev_name":"tap3","guest_mac":"06:00:00:00:00:01"})");
    put("/vsock", R"({"guest_cid":9,"uds_path":"/v.sock"})");
    put("/entropy", "{}");
    EXPECT_EQ(config().cpus, 2U);
    EXPECT_EQ(config().memory, uint64_t{256} << 20);
    EXPECT_EQ(config().kernel, kernel_);
    EXPECT_EQ(config().initramfs, std::vector<std::filesystem::path>{initramfs_});
    EXPECT_EQ(config().whole_cmdline(), "console=ttyS0 root=/dev/vda rw");
    ASSERT_EQ(config().disks.size(), 2U);
    EXPECT_EQ(config().disks[0].text(), "/root,id=root,iops=5,bps=20K") << "the root device is the first";
    EXPECT_EQ(config().disks[1].text(), "/data,,with comma,id=data,readonly");
    ASSERT_EQ(config().nets.size(), 1U);
    EXPECT_EQ(config().nets[0].text(), "tap=tap3,mac=06:00:00:00:00:01");
    EXPECT_EQ(config().vsock->cid, 9U);
    EXPECT_TRUE(config().rng);
    EXPECT_THAT(ask("GET", "/").body, HasSubstr(R"("state":"Not started")"));
    EXPECT_THAT(ask("GET", "/machine-config").body, HasSubstr(R"("vcpu_count":2)"));
    EXPECT_THAT(ask("GET", "/vm/config").body, HasSubstr(R"("guest_mac":"06:00:00:00:00:01")"));
    EXPECT_EQ(ask("PUT", "/actions", R"({"action_type":"InstanceStart"})").status, 0U) << "when it runs";
    ASSERT_EQ(started_.size(), 1U);
    EXPECT_FALSE(started_[0].snapshot);
}

TEST_F(ConfigApiTest, LaterWordsReplaceEarlierOnes) {
    put("/boot-source", R"({"kernel_image_path":")" + kernel_ + R"("})");
    put("/drives/a", R"({"drive_id":"a","path_on_host":"/one","is_root_device":true,"is_read_only":true})");
    EXPECT_THAT(config().whole_cmdline(), HasSubstr(" root=/dev/vda ro"));
    refused("/drives/b", R"({"drive_id":"b","path_on_host":"/two","is_root_device":true})",
            "A root block device already exists!");
    put("/drives/a",
        R"({"drive_id":"a","path_on_host":"/two","is_root_device":true,"partuuid":"0eaa91a0-01"})");
    ASSERT_EQ(config().disks.size(), 1U);
    EXPECT_EQ(config().disks[0].path, "/two");
    EXPECT_THAT(config().whole_cmdline(), HasSubstr(" root=PARTUUID=0eaa91a0-01 rw"));
    put("/network-interfaces/e", R"({"iface_id":"e","host_dev_name":"tap1"})");
    put("/network-interfaces/e", R"({"iface_id":"e","host_dev_name":"tap2"})");
    ASSERT_EQ(config().nets.size(), 1U);
    EXPECT_EQ(config().nets[0].tap, "tap2");
    EXPECT_EQ(ask("PATCH", "/machine-config", R"({"mem_size_mib":64})").status, 204U);
    EXPECT_EQ(config().memory, uint64_t{64} << 20);
    EXPECT_EQ(config().cpus, 1U);
}

TEST_F(ConfigApiTest, LoadsSnapshots) {
    EXPECT_EQ(
        ask("PUT", "/snapshot/load",
            R"({"snapshot_path":"/s","mem_backend":{"backend_type":"File","backend_path":"/m"},"resume_vm":true})")
            .status,
        0U);
    EXPECT_EQ(ask("PUT", "/snapshot/load", R"({"snapshot_path":"/s","mem_file_path":"/n"})").status, 0U);
    ASSERT_EQ(started_.size(), 2U);
    EXPECT_EQ(started_[0].snapshot->state, "/s");
    EXPECT_EQ(started_[0].snapshot->memory, "/m");
    EXPECT_FALSE(started_[0].stays_paused);
    EXPECT_EQ(started_[1].snapshot->memory, "/n");
    EXPECT_TRUE(started_[1].stays_paused);
    refused("/snapshot/load", R"({"snapshot_path":"/s"})", "One of `mem_backend` and `mem_file_path`");
    refused("/snapshot/load",
            R"({"snapshot_path":"/s","mem_backend":{"backend_type":"Uffd","backend_path":"/m"}})",
            "from a file only");
    refused("/snapshot/load", R"({"snapshot_path":"/s","mem_file_path":"/n","track_dirty_pages":true})",
            "no incremental snapshots");
    put("/entropy", "{}");
    refused("/snapshot/load", R"({"snapshot_path":"/s","mem_file_path":"/n"})",
            "not allowed after configuring");
    EXPECT_EQ(started_.size(), 2U);
}

TEST_F(ConfigApiTest, RefusesWhatIsWrongAndKeepsWhatWasRight) {
    put("/machine-config", R"({"vcpu_count":3,"mem_size_mib":64})");
    refused("/actions", R"({"action_type":"InstanceStart"})", "without kernel configuration");
    refused("/actions", R"({"action_type":"SendCtrlAltDel"})", "before starting the microVM");
    refused("/actions", R"({"action_type":"Jump"})", "unknown variant `Jump`");
    refused("/snapshot/create", R"({"snapshot_path":"/s","mem_file_path":"/n"})",
            "before starting the microVM");
    for (const auto& [body, says] : std::vector<std::pair<std::string, std::string>>{
             {"", "deserializing"},
             {R"({"vcpu_count":1})", "missing field `mem_size_mib`"},
             {R"({"vcpu_count":0,"mem_size_mib":64})", "`vcpu_count` is not a number from 1 to 254"},
             {R"({"vcpu_count":255,"mem_size_mib":64})", "from 1 to 254"},
             {R"({"vcpu_count":"1","mem_size_mib":64})", "`vcpu_count` is not a number"},
             {R"({"vcpu_count":1.5,"mem_size_mib":64})", "`vcpu_count` is not a number"},
             {R"({"vcpu_count":-1,"mem_size_mib":64})", "`vcpu_count` is not a number"},
             {R"({"vcpu_count":1,"mem_size_mib":15})", "from 16"},
             {R"({"vcpu_count":1,"mem_size_mib":99999999999999999999})", "`mem_size_mib` is not a number"},
             {R"({"vcpu_count":1,"mem_size_mib":64,"smt":true})", "a core of its own"},
             {R"({"vcpu_count":1,"mem_size_mib":64,"smt":1})", "`smt` is not a boolean"},
             {R"({"vcpu_count":1,"mem_size_mib":64,"huge_pages":"1G"})", "unknown variant `1G`"},
             {R"({"vcpu_count":1,"mem_size_mib":64,"cpu_template":"T2"})", "no CPU templates"},
             {R"({"vcpu_count":1,"mem_size_mib":64,"colour":"red"})", "unknown field `colour`"},
         }) {
        refused("/machine-config", body, says);
    }
    refused("/boot-source", R"({"kernel_image_path":"/no/kernel"})", "/no/kernel");
    refused("/boot-source", R"({"kernel_image_path":")" + kernel_ + R"(","initrd_path":"/no/initrd"})",
            "/no/initrd");
    refused("/boot-source", R"({"kernel_image_path":"a\u0000b"})", "zero byte");
    EXPECT_TRUE(config().kernel.empty());
    refused("/drives/a", R"({"drive_id":"b","path_on_host":"/x"})", "does not match the id from the body");
    refused("/drives/a", R"({"drive_id":"a"})", "missing field `path_on_host`");
    refused("/drives/a",
            R"({"drive_id":"a","path_on_host":"/x","rate_limiter":{"ops":{"size":0,"refill_time":1}}})",
            "`size` is not a number from 1");
    refused("/drives/" + std::string(100, 'a'),
            R"({"drive_id":")" + std::string(100, 'a') + R"(","path_on_host":"/x"})", "id");
    refused("/drives/", R"({"drive_id":"","path_on_host":"/x"})", "Invalid request method and/or path");
    refused("/drives/a/b", R"({"drive_id":"a/b","path_on_host":"/x"})", "Invalid request method and/or path");
    refused("/network-interfaces/e", R"({"iface_id":"e","host_dev_name":"t","guest_mac":"nonsense"})",
            "nonsense");
    refused("/network-interfaces/e", R"({"iface_id":"e","host_dev_name":"t","mtu":5})", "mtu");
    refused("/network-interfaces/e",
            R"({"iface_id":"e","host_dev_name":"t","rx_rate_limiter":{"ops":{"size":5,"refill_time":10}}})",
            "both directions alike");
    refused("/vsock", R"({"guest_cid":2,"uds_path":"/v"})", "cid");
    refused("/entropy", R"({"rate_limiter":{}})", "does not limit");
    for (const char* const path : {"/logger", "/metrics", "/mmds", "/mmds/config", "/balloon", "/cpu-config",
                                   "/hotplug/memory", "/nothing", ""}) {
        refused(path, "{}", std::string{"Invalid request method and/or path: PUT "} + path);
    }
    EXPECT_EQ(config().cpus, 3U);
    EXPECT_EQ(config().memory, uint64_t{64} << 20);
    EXPECT_TRUE(config().disks.empty());
    EXPECT_TRUE(config().nets.empty());
    EXPECT_FALSE(config().vsock);
    EXPECT_TRUE(started_.empty());
}

}  // namespace
}  // namespace hull

// What becomes of what docker update sends.
#include "container/api/update_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <string>

#include "container/api/api_error.h"
#include "container/api/create_body.h"
#include "tests/support/plain_image.h"

namespace hull::container {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

/// Of a container with this HostConfig.
SpecChange update(const std::string& host_config, const std::string& body) {
    const std::string made = R"({"Image":"box","Cmd":["x"],"HostConfig":)" + host_config + "}";
    check_update_body(json::parse(body));
    return parse_update_body(json::parse(body), parse_create_body(json::parse(made), test::plain_image()));
}

TEST(UpdateBody, ChangesWhatIsSaid) {
    // As the client has it: all that there is, and most of it 0.
    const SpecChange change =
        update(R"({"Memory":100000000,"NanoCpus":500000000,"Ulimits":[{"Name":"nofile","Soft":9,"Hard":9}]})",
               R"({"CpuShares":0,"Memory":0,"NanoCpus":0,"PidsLimit":50,"CgroupParent":"","Devices":null,
            "OomKillDisable":null,"Binds":["/:/x"],"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}})");
    EXPECT_EQ(change.limits.memory, 100'000'000U);
    EXPECT_EQ(change.limits.cpus, 0.5);
    EXPECT_EQ(change.limits.processes, 50U);
    EXPECT_EQ(change.restart.kind, RestartPolicy::Kind::on_failure);
    EXPECT_EQ(change.restart.most, 3U);
    EXPECT_EQ(change.host_config.at("PidsLimit"), 50);
    EXPECT_TRUE(change.host_config.at("Binds").is_null()) << "that is no limit, and passed over";
    EXPECT_EQ(change.host_config.at("Memory"), 100'000'000);
    EXPECT_EQ(change.host_config.at("RestartPolicy").at("Name"), "on-failure");
    const SpecChange other = update(R"({"PidsLimit":50,"RestartPolicy":{"Name":"always"}})",
                                    R"({"Memory":200000000,"PidsLimit":-1,"RestartPolicy":{"Name":""}})");
    EXPECT_EQ(other.limits.memory, 200'000'000U);
    EXPECT_EQ(other.limits.processes, std::nullopt) << "-1 is no limit";
    EXPECT_EQ(other.restart.kind, RestartPolicy::Kind::always);
}

TEST(UpdateBody, RefusesWhateverTheContainerIs) {
    for (const char* const body :
         {R"({"Memory":1000})", R"({"CpuShares":5})", R"({"RestartPolicy":{"Name":"sometimes"}})", "[]"}) {
        EXPECT_THROW(check_update_body(json::parse(body)), ApiError) << body;
    }
    EXPECT_NO_THROW(check_update_body(json::parse(R"({"Memory":30000000,"CpuQuota":5000})")));
}

TEST(UpdateBody, RefusesWithDockersWords) {
    struct Row {
        const char* host_config;
        const char* body;
        unsigned status;
        const char* told;
    };
    const Row rows[] = {
        {"{}", "[]", 400, "no object"},
        {"{}", R"({"Memory":"much"})", 400, "'Memory'"},
        {"{}", R"({"Memory":1000})", 400, "Minimum memory limit allowed is 6MB"},
        {"{}", R"({"CpuShares":5})", 501, "--cpu-shares"},
        {R"({"NanoCpus":500000000})", R"({"CpuQuota":5000})", 400,
         "CPU Quota cannot be updated as NanoCPUs has already been set"},
        {R"({"CpuPeriod":5000,"CpuQuota":5000})", R"({"NanoCpus":500000000})", 400,
         "Nano CPUs cannot be updated as CPU Period has already been set"},
        {R"({"Memory":10000000,"MemorySwap":20000000})", R"({"Memory":30000000})", 400,
         "update the memoryswap at the same time"},
        {"{}", R"({"RestartPolicy":{"Name":"sometimes"}})", 400, "invalid restart policy"},
        {R"({"AutoRemove":true})", R"({"RestartPolicy":{"Name":"always"}})", 409, "AutoRemove is enabled"},
    };
    for (const Row& row : rows) {
        try {
            update(row.host_config, row.body);
            ADD_FAILURE() << row.body;
        } catch (const ApiError& error) {
            EXPECT_EQ(error.status(), row.status) << row.body;
            EXPECT_THAT(error.what(), HasSubstr(row.told)) << row.body;
        }
    }
}

}  // namespace
}  // namespace hull::container

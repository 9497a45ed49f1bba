// What docker's clients are shown of containers.
#include "container/api/container_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <string>

#include "container/api/container_api.h"
#include "container/api/container_filter.h"
#include "container/api/container_streams.h"
#include "container/api/create_body.h"
#include "container/api/stats_json.h"
#include "container/supervisor/stream_frame.h"
#include "tests/support/plain_image.h"

namespace hull::container {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::system_clock;
using Stage = ContainerView::Stage;
using testing::HasSubstr;

const Clock::time_point kStart{1'700'000'000s};

ContainerView view(const std::string& body = R"({"Image":"box:1"})") {
    StoredImage image = test::plain_image();
    image.config.command = {"sh", "-c", "echo hello"};
    ContainerView result;
    result.id = std::string(63, 'c') + "d";
    result.name = "steady_pilot";
    result.created = kStart;
    result.files = {"/containers/cccccccccccc"};
    result.spec = std::make_shared<ContainerSpec>(parse_create_body(json::parse(body), image));
    result.networks = result.spec->networks;
    return result;
}

ContainerView running(ContainerView container = view()) {
    container.stage = Stage::running;
    container.state.started = kStart + 1s;
    container.state.supervisor = 77;
    return container;
}

const ContainerView kPublished = [] {
    ContainerView container = running(view(
        R"({"Image":"box:1","Labels":{"a":"b"},"ExposedPorts":{"443/tcp":{}},"HostConfig":{"PortBindings":)"
        R"({"80/tcp":[{"HostPort":"8080"}],"53/udp":[{"HostIp":"127.0.0.1","HostPort":""}]}}})"));
    container.ports = {{"tcp", 80, "0.0.0.0", 8080}, {"tcp", 80, "::", 8080}, {"udp", 53, "127.0.0.1", 4000}};
    return container;
}();

TEST(ContainerJson, TellsTheAddressThatAContainerHas) {
    ContainerView container = kPublished;
    const auto shown = [&](const char* key) {
        const json::object settings = inspect_json(container).at("NetworkSettings").as_object();
        EXPECT_EQ(settings.at(key), settings.at("Networks").at("bridge").at(key));
        return json::serialize(settings.at(key));
    };
    EXPECT_EQ(inspect_json(container).at("NetworkSettings").at_pointer("/Networks/bridge/IPAMConfig"),
              nullptr)
        << "a list is an error for docker's client";
    EXPECT_EQ(shown("IPAddress"), "\"10.0.2.15\"");
    EXPECT_EQ(shown("MacAddress"), "\"\"");
    container.networks.at(0).endpoint = Endpoint{.bridge = "hull0",
                                                 .address = 0xac110002,
                                                 .gateway = 0xac110001,
                                                 .prefix = 16,
                                                 .mac = "02:42:ac:11:00:02"};
    EXPECT_EQ(shown("IPAddress"), "\"172.17.0.2\"");
    EXPECT_EQ(shown("Gateway"), "\"172.17.0.1\"");
    EXPECT_EQ(shown("IPPrefixLen"), "16");
    EXPECT_EQ(shown("MacAddress"), "\"02:42:ac:11:00:02\"");
    container.stage = Stage::exited;
    EXPECT_EQ(shown("IPAddress"), "\"\"");
    EXPECT_EQ(shown("IPPrefixLen"), "0");
}

TEST(ContainerJson, IsInspectedWithAllThatClientsLookFor) {
    const json::value shown = inspect_json(kPublished);
    for (const char* member :
         {"Id", "Created", "Path", "Args", "State", "Image", "Name", "RestartCount", "Driver", "Platform",
          "HostConfig", "Config", "NetworkSettings", "Mounts", "GraphDriver"}) {
        EXPECT_TRUE(shown.as_object().contains(member)) << member;
    }
    EXPECT_EQ(shown.at("Name"), "/steady_pilot");
    EXPECT_EQ(shown.at("Path"), "sh");
    EXPECT_EQ(json::serialize(shown.at("Args")), R"(["-c","echo hello"])");
    EXPECT_EQ(shown.at("Created"), "2023-11-14T22:13:20.000000000Z");
    EXPECT_EQ(shown.at_pointer("/State/Running"), true);
    EXPECT_EQ(shown.at_pointer("/State/Pid"), 77);
    EXPECT_EQ(shown.at_pointer("/State/FinishedAt"), "0001-01-01T00:00:00Z");
    EXPECT_EQ(shown.at_pointer("/Config/Labels/a"), "b");
    EXPECT_EQ(shown.at_pointer("/Config/Tty"), false);
    EXPECT_EQ(shown.at_pointer("/HostConfig/LogConfig/Type"), "json-file");
    EXPECT_EQ(json::serialize(shown.at_pointer("/NetworkSettings/Ports")),
              R"({"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},)"
              R"({"HostIp":"::","HostPort":"8080"}],)"
              R"("53/udp":[{"HostIp":"127.0.0.1","HostPort":"4000"}]})");
    EXPECT_TRUE(shown.at_pointer("/NetworkSettings/Networks").as_object().contains("bridge"));
    EXPECT_EQ(shown.at("LogPath"), "/containers/cccccccccccc/json.log");

    const json::value lonely = inspect_json(
        view(R"({"Image":"x","HostConfig":{"NetworkMode":"none","LogConfig":{"Type":"none"}}})"));
    EXPECT_TRUE(lonely.at_pointer("/NetworkSettings/Networks").as_object().contains("none"));
    EXPECT_EQ(json::serialize(lonely.at_pointer("/NetworkSettings/Ports")), "{}");
    EXPECT_EQ(lonely.at("LogPath"), "");
    EXPECT_EQ(lonely.at_pointer("/State/Status"), "created");
}

TEST(ContainerJson, IsListedAsDockerPsReadsIt) {
    const json::value shown = list_json(kPublished, kStart + 61s);
    EXPECT_EQ(json::serialize(shown.at("Names")), R"(["/steady_pilot"])");
    EXPECT_EQ(shown.at("Image"), "box:1");
    EXPECT_EQ(shown.at("Command"), "sh -c 'echo hello'");
    EXPECT_EQ(shown.at("Created"), 1'700'000'000);
    EXPECT_EQ(shown.at("State"), "running");
    EXPECT_EQ(shown.at("Status"), "Up About a minute");
    EXPECT_EQ(
        json::serialize(shown.at("Ports")),
        R"([{"PrivatePort":443,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},)"
        R"({"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},)"
        R"({"IP":"127.0.0.1","PrivatePort":53,"PublicPort":4000,"Type":"udp"}])");
}

TEST(ContainerJson, SaysHowLongItIsAsItIs) {
    ContainerView container = running();
    const auto status = [&](Stage stage, std::chrono::seconds later) {
        container.stage = stage;
        return status_text(container, kStart + later);
    };
    EXPECT_EQ(status(Stage::created, 9s), "Created");
    EXPECT_EQ(status(Stage::running, 0s), "Up Less than a second");
    EXPECT_EQ(status(Stage::running, 6s), "Up 5 seconds");
    EXPECT_EQ(status(Stage::paused, 6s), "Up 5 seconds (Paused)");
    container.state.finished = kStart + 10s;
    container.state.exit_status = 137;
    EXPECT_EQ(status(Stage::exited, 3610s), "Exited (137) About an hour ago");
    EXPECT_EQ(status(Stage::restarting, 11s), "Restarting (137) 1 second ago");
    EXPECT_EQ(status(Stage::removing, 11s), "Removal In Progress");
}

TEST(ContainerJson, ShowsTheHealthOfWhoeverHasOne) {
    ContainerView container = running();
    EXPECT_FALSE(inspect_json(container).at("State").as_object().contains("Health"));
    Health& health = container.state.health.emplace();
    const auto shown = [&] { return json::serialize(inspect_json(container).at("State").at("Health")); };
    EXPECT_EQ(shown(), R"({"Status":"starting","FailingStreak":0,"Log":[]})");
    EXPECT_EQ(status_text(container, kStart + 6s), "Up 5 seconds (health: starting)");
    health.take({.start = kStart, .end = kStart + 1s, .exit_code = 0, .output = "well\n"}, {}, kStart);
    EXPECT_EQ(shown(),
              R"({"Status":"healthy","FailingStreak":0,"Log":[{"Start":"2023-11-14T22:13:20.000000000Z",)"
              R"("End":"2023-11-14T22:13:21.000000000Z","ExitCode":0,"Output":"well\n"}]})");
    EXPECT_EQ(status_text(container, kStart + 6s), "Up 5 seconds (healthy)");
    health.status = Health::Status::unhealthy;
    EXPECT_EQ(status_text(container, kStart + 6s), "Up 5 seconds (unhealthy)");
    container.stage = Stage::paused;
    EXPECT_EQ(status_text(container, kStart + 6s), "Up 5 seconds (Paused)");
    const auto passes = [&](const char* filter) {
        return ContainerFilter(parse_filters(filter), {}).passes(container);
    };
    EXPECT_TRUE(passes(R"({"health":["healthy","unhealthy"]})"));
    EXPECT_FALSE(passes(R"({"health":["none","starting"]})"));
}

TEST(ContainerJson, ShowsExecsAndEvents) {
    ExecView exec{.id = "e",
                  .container = "c",
                  .config = {},
                  .has_started = true,
                  .is_running = true,
                  .exit_status = {},
                  .number = 1};
    exec.config.command = {"a", "b"};
    EXPECT_TRUE(exec_json(exec).at("ExitCode").is_null());
    EXPECT_EQ(exec_json(exec).at("Running"), true);
    EXPECT_EQ(json::value(exec_json(exec)).at_pointer("/ProcessConfig/entrypoint"), "a");
    exec.exit_status = 3;
    EXPECT_EQ(exec_json(exec).at("ExitCode"), 3);
    EXPECT_EQ(json::serialize(event_json({.type = "container",
                                          .action = "die",
                                          .id = "c",
                                          .attributes = {{"exitCode", "1"}, {"image", "box"}},
                                          .time = kStart + 5ns})),
              R"({"status":"die","id":"c","from":"box","Type":"container","Action":"die","Actor":{"ID":"c",)"
              R"("Attributes":{"exitCode":"1","image":"box"}},"scope":"local","time":1700000000,)"
              R"("timeNano":1700000000000000005})");
}

TEST(ContainerFilter, ChoosesAsDockerPsDoes) {
    const auto find = [](const std::string& name) {
        ContainerView other = view();
        other.id = std::string(64, 'e');
        other.created = name == "older" ? kStart - 1s : kStart + 1s;
        if (name != "older" && name != "newer") {
            throw ApiError{404, "No such container: " + name};
        }
        return other;
    };
    const ContainerFilter::Lookup lookup{
        .container = find, .image = [](const std::string& name) {
            return name == "box" ? std::optional{"sha256:" + std::string(64, 'a')} : std::nullopt;
        }};
    const std::pair<const char*, bool> rows[] = {
        {R"({})", true},
        {R"({"id":["ccc"]})", true},
        {R"({"id":["^d"]})", false},
        {R"({"name":["pilot"]})", true},
        {R"({"name":["^/steady_pilot$"]})", true},
        {R"({"name":["^steady_pilot$"]})", true},
        {R"({"name":["^pilot"]})", false},
        {R"x({"name":["stead(y|x)"]})x", true},
        {R"({"name":["(((("]})", false},
        {R"x({"name":["(a{1,255}){1,255}"]})x", false},
        {R"({"name":["x","pilot"]})", true},
        {R"({"label":["a"]})", true},
        {R"({"label":["a=b"]})", true},
        {R"({"label":["a=c"]})", false},
        {R"({"label":["a","z"]})", false},
        {R"({"status":["running"]})", true},
        {R"({"status":["exited","running"]})", true},
        {R"({"status":["exited"]})", false},
        {R"({"exited":["0"]})", false},
        {R"({"ancestor":["box"]})", true},
        {R"({"ancestor":["other"]})", false},
        {R"({"before":["newer"]})", true},
        {R"({"before":["older"]})", false},
        {R"({"since":["older"]})", true},
        {R"({"since":["newer"]})", false},
        {R"({"publish":["80"]})", true},
        {R"({"publish":["70-90/tcp"]})", true},
        {R"({"publish":["80/udp"]})", false},
        {R"({"publish":["443"]})", false},
        {R"({"expose":["443"]})", true},
        {R"({"expose":["1-2"]})", false},
        {R"({"network":["bridge"]})", true},
        {R"({"network":["none"]})", false},
        {R"({"health":["none"]})", true},
        {R"({"health":["healthy"]})", false},
        {R"({"volume":["x"]})", false},
        {R"({"is-task":["false"]})", true},
    };
    for (const auto& [text, passes] : rows) {
        EXPECT_EQ(ContainerFilter(parse_filters(text), lookup).passes(kPublished), passes) << text;
    }
    const std::tuple<const char*, unsigned, const char*> refused[] = {
        {R"({"nope":["x"]})", 400, "Invalid filter 'nope'"},
        {R"({"status":["well"]})", 400, "Invalid filter 'status=well'"},
        {R"({"exited":["x"]})", 400, "Invalid filter 'exited=x'"},
        {R"({"publish":["99999"]})", 400, "publish"},
        {R"({"publish":["2-1"]})", 400, "publish"},
        {R"({"health":["x"]})", 400, "health"},
        {R"({"before":["gone"]})", 404, "No such container: gone"},
    };
    for (const auto& [text, status, told] : refused) {
        try {
            const ContainerFilter filter{parse_filters(text), lookup};
            ADD_FAILURE() << text;
        } catch (const ApiError& error) {
            EXPECT_EQ(error.status(), status) << text;
            EXPECT_THAT(error.what(), HasSubstr(told));
        }
    }
}

TEST(PruneFilter, LeavesWhatRunsAndWhatIsYoung) {
    const auto passes = [](const char* text, const ContainerView& container) {
        return PruneFilter{parse_filters(text), kStart + 3600s}.passes(container);
    };
    EXPECT_TRUE(passes("", view()));
    EXPECT_FALSE(passes("", kPublished));
    EXPECT_TRUE(passes(R"({"until":["59m30s"]})", view()));
    EXPECT_FALSE(passes(R"({"until":["2h"]})", view()));
    EXPECT_TRUE(passes(R"({"until":["1700000001"]})", view()));
    EXPECT_FALSE(passes(R"({"until":["2020-01-01T00:00:00Z"]})", view()));
    EXPECT_FALSE(passes(R"({"label":["a"]})", view()));
    EXPECT_TRUE(passes(R"({"label!":["a"]})", view()));
    EXPECT_THROW(passes(R"({"name":["a"]})", view()), ApiError);
    EXPECT_THROW(passes(R"({"until":["soon"]})", view()), ApiError);
    EXPECT_THROW(passes(R"({"until":["1h","2h"]})", view()), ApiError);
}

TEST(ApiTime, IsSecondsWithAFraction) {
    EXPECT_EQ(parse_api_time("", "since"), std::nullopt);
    EXPECT_EQ(parse_api_time("0", "since"), std::nullopt);
    EXPECT_EQ(parse_api_time("1700000000", "since"), kStart);
    EXPECT_EQ(parse_api_time("1700000000.000000005", "since"), kStart + 5ns);
    EXPECT_EQ(parse_api_time("1700000000.5", "since"), kStart + 500ms);
    for (const char* bad : {"x", "1.x", "99999999999999999999", "99999999999", "1.-5", "-"}) {
        EXPECT_THROW(parse_api_time(bad, "since"), ApiError) << bad;
    }
}

TEST(DetachKeys, AreBytes) {
    using Keys = std::vector<uint8_t>;
    EXPECT_EQ(parse_detach_keys(""), (Keys{16, 17}));
    EXPECT_EQ(parse_detach_keys("ctrl-a,d"), (Keys{1, 'd'}));
    EXPECT_EQ(parse_detach_keys("ctrl-@,ctrl-[,ctrl-_"), (Keys{0, 27, 31}));
    for (const char* bad : {",", "a,", "ctrl-", "ctrl-1", "ctrl-A", "ab"}) {
        EXPECT_THROW(parse_detach_keys(bad), ApiError) << bad;
    }
    std::string many = "a";
    for (int number = 0; number < 100; ++number) {
        many += ",a";
    }
    EXPECT_THROW(parse_detach_keys(many), ApiError);
}

TEST(StatsJson, IsWhatDockerStatsComputesFrom) {
    const std::map<std::string, std::string> group{
        {"cpu.stat", "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_throttled 1\n"},
        {"memory.current", "1000\n"},
        {"memory.stat", "anon 700\ninactive_file 200\n"},
        {"pids.current", "3\n"},
        {"io.stat", "254:0 rbytes=10 wbytes=20 rios=1\n254:16 rbytes=5 wbytes=0\n"}};
    const ContainerView container = running();
    const json::value shown = StatsSample::take(container, group).show(StatsSample::none(container));
    EXPECT_EQ(shown.at_pointer("/cpu_stats/cpu_usage/total_usage"), 5'000'000U);
    EXPECT_GT(shown.at_pointer("/cpu_stats/system_cpu_usage").to_number<uint64_t>(), 0U);
    EXPECT_GE(shown.at_pointer("/cpu_stats/online_cpus").to_number<unsigned>(), 1U);
    EXPECT_EQ(shown.at_pointer("/precpu_stats/cpu_usage/total_usage"), 0U);
    EXPECT_EQ(shown.at_pointer("/memory_stats/usage"), 1000U);
    EXPECT_EQ(shown.at_pointer("/memory_stats/stats/inactive_file"), 200U);
    EXPECT_EQ(shown.at_pointer("/pids_stats/current"), 3U);
    EXPECT_EQ(shown.at_pointer("/blkio_stats/io_service_bytes_recursive/0/value"), 15U);
    EXPECT_EQ(shown.at_pointer("/blkio_stats/io_service_bytes_recursive/1/value"), 20U);
    EXPECT_EQ(shown.at("preread"), "0001-01-01T00:00:00Z");

    // The guest says what it likes.
    const json::value wild = StatsSample::take(container, {{"cpu.stat", "usage_usec 18446744073709551615 x"},
                                                           {"memory.current", "-5"},
                                                           {"memory.stat", std::string(100'000, 'm')}})
                                 .show(StatsSample::none(container));
    EXPECT_EQ(wild.at_pointer("/memory_stats/usage"), 0U);
    const json::value none = StatsSample::none(container).show(StatsSample::none(container));
    EXPECT_EQ(json::serialize(none.at("memory_stats")), "{}");
    EXPECT_EQ(none.at("read"), "0001-01-01T00:00:00Z");
}

TEST(Frames, HaveAHeader) {
    EXPECT_EQ(framed(2, "abc"), (std::string{"\2\0\0\0\0\0\0\3abc", 11}));
    EXPECT_EQ(framed(1, std::string(0x1234, 'x')).substr(0, 8), (std::string{"\1\0\0\0\0\0\x12\x34", 8}));
}

}  // namespace
}  // namespace hull::container

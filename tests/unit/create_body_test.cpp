// What becomes of what docker's clients send to have a container made.
#include "container/api/create_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <string>

#include "container/api/api_error.h"
#include "container/api/exec_body.h"
#include "container/api/signal_names.h"
#include "tests/support/plain_image.h"

namespace hull::container {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;
using Words = std::vector<std::string>;

StoredImage image() {
    StoredImage image = test::plain_image();
    image.config.entrypoint = {"/enter"};
    image.config.command = {"default"};
    image.config.environment = {"PATH=/images", "LANG=C"};
    image.config.exposed_ports = {"80/tcp", "53/udp"};
    image.config.labels = {{"of", "image"}, {"both", "image"}};
    image.config.stop_signal = "SIGQUIT";
    image.config.working_folder = "/srv";
    return image;
}

ContainerSpec parse(const std::string& text) {
    return parse_create_body(json::parse(text), image());
}

/// The body of a HostConfig's members.
std::string host(const std::string& members) {
    return R"({"Image":"box","HostConfig":{)" + members + "}}";
}

void expect_refused(const std::string& text, unsigned status, const std::string& told) {
    try {
        parse(text);
        ADD_FAILURE() << text;
    } catch (const ApiError& error) {
        EXPECT_EQ(error.status(), status) << text << ": " << error.what();
        EXPECT_THAT(error.what(), HasSubstr(told)) << text;
    }
}

TEST(CreateBody, HasTheImagesCheckOfHealthUnlessTheUserSaysElse) {
    using namespace std::chrono_literals;
    StoredImage checked = image();
    checked.config.health = HealthCheck{.test = {"CMD-SHELL", "curl x"}, .interval = 5s, .retries = 9};
    checked.config.shell = {"/bin/bash", "-c"};
    const auto made = [&](const char* said) { return parse_create_body(json::parse(said), checked); };
    ContainerSpec spec = made(R"({"Image":"box"})");
    EXPECT_THAT(spec.run.health->command, ElementsAre("/bin/bash", "-c", "curl x"));
    EXPECT_EQ(spec.run.health->interval, 5s);
    EXPECT_EQ(spec.run.health->timeout, 30s);
    EXPECT_EQ(json::serialize(spec.config.at("Healthcheck")),
              R"({"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Retries":9})");
    spec =
        made(R"({"Image":"box","Healthcheck":{"Test":["CMD","a"],"Timeout":1000000,"StartPeriod":2000000}})");
    EXPECT_THAT(spec.run.health->command, ElementsAre("a"));
    EXPECT_EQ(spec.run.health->interval, 5s);
    EXPECT_EQ(spec.run.health->timeout, 1ms);
    EXPECT_EQ(spec.run.health->start_period, 2ms);
    EXPECT_EQ(spec.run.health->retries, 9);
    spec = made(R"({"Image":"box","Healthcheck":{"Test":["NONE"]}})");
    EXPECT_FALSE(spec.run.health);
    EXPECT_EQ(spec.config.at("Healthcheck").at("Test").at(0), "NONE");
    EXPECT_FALSE(parse(R"({"Image":"box","Healthcheck":{}})").run.health);
}

TEST(CreateBody, WithoutOptionsIsTheImages) {
    const ContainerSpec spec = parse(R"({"Image":"box"})");
    const ContainerConfig& config = spec.run.config;
    EXPECT_EQ(spec.image, "sha256:" + std::string(64, 'a'));
    EXPECT_EQ(spec.image_name, "box");
    EXPECT_THAT(config.command, ElementsAre("/enter", "default"));
    EXPECT_THAT(config.environment, testing::Contains("PATH=/images"));
    EXPECT_EQ(config.working_folder, "/srv");
    EXPECT_TRUE(config.has_network);
    EXPECT_FALSE(config.tty || config.has_input || config.is_read_only || config.is_privileged);
    EXPECT_EQ(config.capabilities, kDefaultCapabilities);
    EXPECT_EQ(config.group.memory, std::nullopt);
    EXPECT_EQ(config.group.cpus, std::nullopt);
    EXPECT_EQ(config.group.processes, std::nullopt);
    EXPECT_TRUE(spec.ports.empty());
    EXPECT_EQ(spec.stop_signal, 3);
    EXPECT_EQ(spec.stop_timeout.count(), 10);
    EXPECT_TRUE(spec.run.log.is_kept);
    EXPECT_EQ(json::serialize(spec.config.at("ExposedPorts")), R"({"80/tcp":{},"53/udp":{}})");
    EXPECT_EQ(json::serialize(spec.config.at("Cmd")), R"(["default"])");
    EXPECT_EQ(json::serialize(spec.config.at("Entrypoint")), R"(["/enter"])");
    EXPECT_EQ(json::serialize(spec.config.at("Env")), R"(["PATH=/images","LANG=C"])");
    EXPECT_EQ(spec.config.at("StopSignal"), "SIGQUIT");
    EXPECT_EQ(spec.host_config.at("NetworkMode"), "default");
}

TEST(CreateBody, TakesTheHostNameOfAnIdWhereThereIsNone) {
    ContainerSpec spec = parse(R"({"Image":"box"})");
    give_host_name(spec, std::string(64, 'c'));
    EXPECT_EQ(spec.run.config.host_name, "cccccccccccc");
    EXPECT_EQ(spec.config.at("Hostname"), "cccccccccccc");
    EXPECT_THAT(spec.run.config.environment, testing::Contains("HOSTNAME=cccccccccccc"));
    spec = parse(R"({"Image":"box","Hostname":"own","Env":["HOSTNAME=other"]})");
    give_host_name(spec, std::string(64, 'c'));
    EXPECT_EQ(spec.run.config.host_name, "own");
    EXPECT_THAT(spec.run.config.environment, testing::Contains("HOSTNAME=other"));
}

/// What docker run's options become; each row a body and what must be so then.
TEST(CreateBody, HasWhatDockersOptionsSay) {
    const struct {
        const char* option;
        std::string body;
        std::function<bool(const ContainerSpec&)> is_so;
    } rows[] = {
        {"COMMAND", R"({"Image":"box","Cmd":["a","b"]})",
         [](const auto& s) {
             return s.run.config.command == Words{"/enter", "a", "b"};
         }},
        {"COMMAND as one text", R"({"Image":"box","Cmd":"a b"})",
         [](const auto& s) {
             return s.run.config.command == Words{"/enter", "a b"};
         }},
        {"--entrypoint", R"({"Image":"box","Entrypoint":["/own"],"Cmd":["a"]})",
         [](const auto& s) {
             return s.run.config.command == Words{"/own", "a"};
         }},
        {"--entrypoint without a command", R"({"Image":"box","Entrypoint":["/own"],"Cmd":null})",
         [](const auto& s) { return s.run.config.command == Words{"/own"} && s.config.at("Cmd").is_null(); }},
        {"--entrypoint ''", R"({"Image":"box","Entrypoint":[""],"Cmd":["a"]})",
         [](const auto& s) {
             return s.run.config.command == Words{"a"} && s.config.at("Entrypoint").is_null();
         }},
        {"an entry point of no words", R"({"Image":"box","Entrypoint":[]})",
         [](const auto& s) { return s.run.config.command == Words{"default"}; }},
        {"-e", R"({"Image":"box","Env":["LANG=de","X=","PATH"]})",
         [](const auto& s) {
             const auto& all = s.run.config.environment;
             return std::ranges::count(all, "LANG=de") == 1 && std::ranges::count(all, "X=") == 1 &&
                    json::serialize(s.config.at("Env")) == R"(["LANG=de","X="])";
         }},
        {"-w", R"({"Image":"box","WorkingDir":"/w"})",
         [](const auto& s) {
             return s.run.config.working_folder == "/w" && s.config.at("WorkingDir") == "/w";
         }},
        {"-u", R"({"Image":"box","User":"1:2"})", [](const auto& s) { return s.run.config.user == "1:2"; }},
        {"-t -i", R"({"Image":"box","Tty":true,"OpenStdin":true,"StdinOnce":true})",
         [](const auto& s) {
             return s.run.config.tty && s.run.config.has_input && s.run.input_ends_with_client;
         }},
        {"a console's size", host(R"("ConsoleSize":[24,80])"),
         [](const auto& s) { return s.run.config.rows == 24 && s.run.config.columns == 80; }},
        {"--hostname", R"({"Image":"box","Hostname":"name.x_y-1"})",
         [](const auto& s) { return s.run.config.host_name == "name.x_y-1"; }},
        {"--label", R"({"Image":"box","Labels":{"both":"own","x":""}})",
         [](const auto& s) {
             return json::serialize(s.config.at("Labels")) == R"({"both":"own","of":"image","x":""})";
         }},
        {"-p 8080:80", host(R"("PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]})"),
         [](const auto& s) {
             return s.ports.size() == 1 && s.ports[0].container_port == 80 && s.ports[0].host_port == 8080 &&
                    s.ports[0].protocol == "tcp" && s.ports[0].host_address.empty();
         }},
        {"-p [::1]:8080:80", host(R"("PortBindings":{"80/tcp":[{"HostIp":"::1","HostPort":"8080"}]})"),
         [](const auto& s) { return s.ports.size() == 1 && s.ports[0].host_address == "::1"; }},
        {"-p 127.0.0.1::9/udp", host(R"("PortBindings":{"9/udp":[{"HostIp":"127.0.0.1","HostPort":""}]})"),
         [](const auto& s) {
             return s.ports.size() == 1 && s.ports[0].protocol == "udp" && s.ports[0].host_port == 0 &&
                    s.ports[0].host_address == "127.0.0.1" &&
                    s.config.at("ExposedPorts").as_object().contains("9/udp");
         }},
        {"-P beside -p", host(R"("PublishAllPorts":true,"PortBindings":{"80/tcp":[{"HostPort":"1"}]})"),
         [](const auto& s) {
             return s.ports.size() == 2 && s.ports[1].container_port == 53 && s.ports[1].protocol == "udp";
         }},
        {"--network none -P", host(R"("NetworkMode":"none","PublishAllPorts":true)"),
         [](const auto& s) { return !s.run.config.has_network && s.ports.empty(); }},
        {"what docker 28 says of networks",
         R"({"Image":"box","HostConfig":{"NetworkMode":"bridge"},"NetworkingConfig":{"EndpointsConfig":)"
         R"({"default":{"IPAMConfig":null,"Links":null,"Aliases":null,"GwPriority":0,"MacAddress":""}}}})",
         [](const auto& s) {
             return s.run.config.has_network && s.networks.size() == 1 && s.networks[0].name == "bridge";
         }},
        {"--network mine --ip --network-alias --link --mac-address",
         R"({"Image":"box","MacAddress":"02:AB:00:00:00:01","HostConfig":{"NetworkMode":"mine"},)"
         R"("NetworkingConfig":{"EndpointsConfig":{"mine":{"IPAMConfig":{"IPv4Address":"10.1.0.9"},)"
         R"("Aliases":["web","w-1.x"],"Links":["db:data","/other"]},"second":null}}})",
         [](const auto& s) {
             const Attachment& mine = s.networks.at(0);
             return s.networks.size() == 2 && s.networks[1].name == "second" && mine.name == "mine" &&
                    mine.address == 0x0a010009 && mine.aliases == Words{"web", "w-1.x"} &&
                    mine.links.at(0) == std::pair<std::string, std::string>{"db", "data"} &&
                    mine.links.at(1) == std::pair<std::string, std::string>{"other", "other"} &&
                    mine.mac == "02:ab:00:00:00:01" && s.config.at("MacAddress") == "02:AB:00:00:00:01";
         }},
        {"--add-host", host(R"("ExtraHosts":["a:10.0.0.1","b:host-gateway","c:::1","d:[::1]"])"),
         [](const auto& s) {
             return s.run.config.extra_hosts == Words{"10.0.0.1\ta", "host-gateway\tb", "::1\tc", "::1\td"};
         }},
        {"--dns", host(R"("Dns":["9.9.9.9"],"DnsSearch":["a.b"],"DnsOptions":["ndots:2"])"),
         [](const auto& s) {
             return s.run.config.name_servers == Words{"9.9.9.9"} &&
                    s.run.config.search_domains == Words{"a.b"} &&
                    s.run.config.resolver_options == Words{"ndots:2"};
         }},
        {"-m", host(R"("Memory":6291456,"MemorySwap":-1,"MemorySwappiness":-1)"),
         [](const auto& s) { return s.run.config.group.memory == uint64_t{6} << 20; }},
        {"--memory-reservation", host(R"("MemoryReservation":6291456)"),
         [](const auto& s) {
             return s.run.config.group.kept_memory == uint64_t{6} << 20 && !s.run.config.group.memory;
         }},
        {"--cpus", host(R"("NanoCpus":10000000)"),
         [](const auto& s) { return s.run.config.group.cpus == 0.01; }},
        {"--cpu-quota", host(R"("CpuQuota":25000,"CpuPeriod":50000)"),
         [](const auto& s) { return s.run.config.group.cpus == 0.5; }},
        {"--cpu-quota -1", host(R"("CpuQuota":-1)"), [](const auto& s) { return !s.run.config.group.cpus; }},
        {"--pids-limit", host(R"("PidsLimit":100)"),
         [](const auto& s) { return s.run.config.group.processes == 100U; }},
        {"--pids-limit -1", host(R"("PidsLimit":-1)"),
         [](const auto& s) { return !s.run.config.group.processes; }},
        {"--ulimit",
         host(R"("Ulimits":[{"Name":"nofile","Soft":10,"Hard":20},{"Name":"core","Soft":-1,"Hard":-1}])"),
         [](const auto& s) {
             const auto& limits = s.run.config.limits;
             return limits.size() == 2 && limits[0].resource == RLIMIT_NOFILE && limits[0].soft == 10 &&
                    limits[0].hard == 20 && limits[1].hard == RLIM_INFINITY;
         }},
        {"--init", host(R"("Init":true)"),
         [](const auto& s) { return s.run.config.has_init && s.host_config.at("Init") == true; }},
        {"no --init", host(R"("Init":null)"),
         [](const auto& s) { return !s.run.config.has_init && !s.host_config.contains("Init"); }},
        {"--read-only", host(R"("ReadonlyRootfs":true)"),
         [](const auto& s) { return s.run.config.is_read_only; }},
        {"--tmpfs", host(R"("Tmpfs":{"/a":"size=1m,exec"})"),
         [](const auto& s) {
             const auto& mount = s.run.config.tmpfs.at(0);
             return mount.path == "/a" && mount.options == "size=1m" && (mount.flags & MS_NOEXEC) == 0;
         }},
        {"--mount type=tmpfs",
         host(R"("Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"SizeBytes":5,"Mode":448}}])"),
         [](const auto& s) {
             const auto& mount = s.run.config.tmpfs.at(0);
             return mount.path == "/m" && mount.options == "size=5,mode=700";
         }},
        {"--shm-size", host(R"("ShmSize":1048576)"),
         [](const auto& s) { return s.run.config.shm_size == 1U << 20; }},
        {"--restart", host(R"("RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3})"),
         [](const auto& s) {
             return s.restart.kind == RestartPolicy::Kind::on_failure && s.restart.most == 3;
         }},
        {"--rm", host(R"("AutoRemove":true,"RestartPolicy":{"Name":"no"})"),
         [](const auto& s) { return s.is_removed_at_end && s.run.is_thrown_away; }},
        {"--stop-signal", R"({"Image":"box","StopSignal":"RTMIN+1","StopTimeout":3})",
         [](const auto& s) { return s.stop_signal == 35 && s.stop_timeout.count() == 3; }},
        {"--log-opt", host(R"("LogConfig":{"Type":"json-file","Config":{"max-size":"10k","max-file":"3"}})"),
         [](const auto& s) { return s.run.log.most_bytes == 10'000 && s.run.log.most_files == 3; }},
        {"--log-driver none", host(R"("LogConfig":{"Type":"none","Config":{}})"),
         [](const auto& s) { return !s.run.log.is_kept; }},
        {"--sysctl", host(R"("Sysctls":{"net.ipv4.ip_forward":"1"})"),
         [](const auto& s) { return s.run.config.sysctls == Words{"net.ipv4.ip_forward=1"}; }},
        {"--cap-add and --cap-drop", host(R"("CapAdd":["NET_ADMIN"],"CapDrop":["ALL"])"),
         [](const auto& s) { return s.run.config.capabilities == uint64_t{1} << 12; }},
        {"--privileged", host(R"("Privileged":true)"),
         [](const auto& s) {
             return s.run.config.is_privileged && s.run.config.capabilities == (uint64_t{1} << 41) - 1;
         }},
        {"--security-opt",
         host(R"("SecurityOpt":["no-new-privileges","seccomp=unconfined","label=disable"])"),
         [](const auto& s) { return s.run.config.no_new_privileges; }},
        {"--security-opt no-new-privileges=false", host(R"("SecurityOpt":["no-new-privileges=false"])"),
         [](const auto& s) { return !s.run.config.no_new_privileges; }},
        {"--ipc private --cgroupns private", host(R"("IpcMode":"private","CgroupnsMode":"private")"),
         [](const auto& s) { return s.host_config.at("IpcMode") == "private"; }},
        {"no check of its health", R"({"Image":"box","Healthcheck":{"Test":["NONE"]}})",
         [](const auto& s) { return s.image_name == "box"; }},
        {"keys that nobody knows", R"({"Image":"box","Unknown":{"a":[1]},"HostConfig":{"New":7}})",
         [](const auto& s) { return !s.host_config.contains("New"); }},
        {"nulls everywhere",
         R"({"Image":"box","Cmd":null,"Env":null,"Labels":null,"ExposedPorts":null,"HostConfig":{"Binds":null,)"
         R"("PortBindings":null,"RestartPolicy":null,"LogConfig":null,"Ulimits":null,"ConsoleSize":null}})",
         [](const auto& s) {
             return s.run.config.command == Words{"/enter", "default"};
         }},
    };
    for (const auto& row : rows) {
        try {
            EXPECT_TRUE(row.is_so(parse(row.body))) << row.option << ": " << row.body;
        } catch (const std::exception& error) {
            ADD_FAILURE() << row.option << ": " << error.what();
        }
    }
}

/// "TYPE SOURCE|NAME TARGET RIGHTS [MODE] [made] [filled] [anonymous] [cached|consistent]", one for each
/// mount.
Words mounts_of(const ContainerSpec& spec) {
    Words all;
    for (const ContainerMount& mount : spec.mounts) {
        const bool is_bind = mount.kind == ContainerMount::Kind::bind;
        all.push_back((is_bind ? "bind " + mount.source : "volume " + mount.volume) + " " + mount.target +
                      (mount.is_read_only ? " ro" : " rw") + (mount.mode.empty() ? "" : " " + mount.mode) +
                      (mount.makes_source ? " made" : "") + (mount.is_filled ? " filled" : "") +
                      (mount.is_anonymous ? " anonymous" : "") +
                      (!mount.is_cached   ? ""
                       : *mount.is_cached ? " cached"
                                          : " consistent"));
    }
    return all;
}

TEST(CreateBody, SaysWhatIsMounted) {
    const std::pair<std::string, Words> rows[] = {
        {host(R"("Binds":["/tmp:/b"])"), {"bind /tmp /b rw made"}},
        {host(R"("Binds":["/tmp/../tmp/:/b//c/:ro,Z,cached,rprivate"])"),
         {"bind /tmp /b/c ro ro,Z,cached,rprivate made cached"}},
        {host(R"("Binds":["/no/such:/b:nocopy"])"), {"bind /no/such /b rw nocopy made"}},
        {host(R"("Binds":["vol:/b","other:/c:ro,nocopy","/d"])"),
         {"volume vol /b rw z filled", "volume other /c ro ro,nocopy", "volume  /d rw filled anonymous"}},
        {host(
             R"("Mounts":[{"Type":"bind","Source":"/tmp","Target":"/b","ReadOnly":true,"Consistency":"cached"}])"),
         {"bind /tmp /b ro cached"}},
        {host(R"("Binds":["vol:/b:consistent"],"Mounts":[)"
              R"({"Type":"volume","Source":"vol","Target":"/c","Consistency":"default"},)"
              R"({"Type":"volume","Source":"vol","Target":"/d","Consistency":"delegated"}])"),
         {"volume vol /b rw consistent filled consistent", "volume vol /c rw z filled",
          "volume vol /d rw z filled cached"}},
        {host(R"("Mounts":[{"Type":"bind","Source":"/no/such","Target":"/b",)"
              R"("BindOptions":{"CreateMountpoint":true,"Propagation":"private"}}])"),
         {"bind /no/such /b rw made"}},
        {host(R"("Mounts":[{"Type":"volume","Source":"vol","Target":"/b","VolumeOptions":{"NoCopy":true}},)"
              R"({"Type":"volume","Target":"/c"}])"),
         {"volume vol /b rw z", "volume  /c rw z filled anonymous"}},
        {R"({"Image":"box","Volumes":{"/v":{},"/w":{}},"HostConfig":{"Binds":["/tmp:/v"]}})",
         {"bind /tmp /v rw made", "volume  /w rw filled anonymous"}},
    };
    for (const auto& [body, expected] : rows) {
        EXPECT_EQ(mounts_of(parse(body)), expected) << body;
    }
    StoredImage with_volumes = image();
    with_volumes.config.volumes = {"/data", "/other", "relative"};
    const json::value body = json::parse(
        R"({"Image":"box","HostConfig":{"VolumesFrom":["first:ro"],"Binds":["mine:/theirs"],"Tmpfs":{"/other":""}}})");
    const ContainerSpec spec = parse_create_body(body, with_volumes, [](const std::string& name) {
        EXPECT_EQ(name, "first");
        ContainerMount one{.kind = ContainerMount::Kind::volume,
                           .source = {},
                           .target = "/theirs",
                           .volume = "one",
                           .mode = {}};
        ContainerMount two = one;
        two.target = "/kept";
        two.is_anonymous = true;
        return std::vector{one, two};
    });
    EXPECT_EQ(mounts_of(spec), (Words{"volume mine /theirs rw z filled", "volume one /kept ro anonymous",
                                      "volume  /data rw filled anonymous"}));
    EXPECT_EQ(json::serialize(spec.config.at("Volumes")), R"({"/data":{},"/other":{},"relative":{}})");
}

TEST(CreateBody, ShowsWhatWasSaidAndNothingElse) {
    const ContainerSpec spec = parse(
        R"({"Image":"box","AttachStdout":true,"HostConfig":{"Memory":8388608,"PortBindings":{"80/tcp":[{"HostIp":"",)"
        R"("HostPort":"8080"}]},"Dns":["9.9.9.9"],"LogConfig":{"Type":"","Config":{"max-size":"1m"}}}})");
    EXPECT_EQ(spec.host_config.at("Memory"), 8388608);
    EXPECT_EQ(json::serialize(spec.host_config.at("PortBindings")),
              R"({"80/tcp":[{"HostIp":"","HostPort":"8080"}]})");
    EXPECT_EQ(json::serialize(spec.host_config.at("LogConfig")),
              R"({"Type":"json-file","Config":{"max-size":"1m"}})");
    EXPECT_EQ(spec.config.at("AttachStdout"), true);
    EXPECT_EQ(spec.config.at("AttachStdin"), false);
    EXPECT_EQ(json::serialize(spec.host_config.at("RestartPolicy")),
              R"({"Name":"no","MaximumRetryCount":0})");
}

TEST(CreateBody, RefusesByNameWhatIsNotDone) {
    const std::pair<std::string, const char*> rows[] = {
        {R"("NetworkMode":"host")", "--network host"},
        {R"("NetworkMode":"container:abc")", "--network container:"},
        {R"("PidMode":"host")", "--pid"},
        {R"("PidMode":"container:x")", "--pid"},
        {R"("IpcMode":"host")", "--ipc"},
        {R"("IpcMode":"container:x")", "--ipc"},
        {R"("UTSMode":"host")", "--uts"},
        {R"("CgroupnsMode":"host")", "--cgroupns"},
        {R"("UsernsMode":"remap")", "--userns"},
        {R"("Devices":[{"PathOnHost":"/dev/kvm"}])", "--device"},
        {R"("DeviceRequests":[{"Count":-1}])", "--gpus"},
        {R"("Binds":["/tmp:/b:shared"])", "propagation"},
        {R"("Binds":["/dev/null:/b"])", "mounting '/dev/null'"},
        {R"("Mounts":[{"Type":"bind","Source":"/tmp","Target":"/b","BindOptions":{"Propagation":"rslave"}}])",
         "propagation"},
        {R"("Mounts":[{"Type":"bind","Source":"/tmp","Target":"/b","BindOptions":{"NonRecursive":true}}])",
         "bind-recursive"},
        {R"("Mounts":[{"Type":"volume","Source":"vv","Target":"/b","VolumeOptions":{"Subpath":"x"}}])",
         "volume-subpath"},
        {R"("Mounts":[{"Type":"volume","Source":"vv","Target":"/b","VolumeOptions":{"DriverConfig":{"Options":)"
         R"({"type":"nfs"}}}}])",
         "--opt"},
        {R"("Mounts":[{"Type":"image","Source":"x","Target":"/b"}])", "type 'image'"},
        {R"("Links":["a:b"])", "--link"},
        {R"("CgroupParent":"x")", "--cgroup-parent"},
        {R"("GroupAdd":["1"])", "--group-add"},
        {R"("OomKillDisable":true)", "--oom-kill-disable"},
        {R"("OomScoreAdj":-5)", "--oom-score-adj"},
        {R"("CpuShares":512)", "--cpu-shares"},
        {R"("CpusetCpus":"0")", "--cpuset-cpus"},
        {R"("BlkioWeight":10)", "--blkio-weight"},
        {R"("StorageOpt":{"size":"1G"})", "--storage-opt"},
        {R"("SecurityOpt":["seccomp={}"])", "--security-opt"},
        {R"("MaskedPaths":[])", "systempaths"},
        {R"("Sysctls":{"kernel.shmmax":"1"})", "kernel.shmmax"},
    };
    for (const auto& [members, told] : rows) {
        expect_refused(host(members), 501, told);
    }
    expect_refused(R"({"Image":"box","Domainname":"x"})", 501, "--domainname");
    expect_refused(R"({"Image":"box","Healthcheck":{"Interval":999999}})", 400,
                   "Interval in Healthcheck cannot be less than 1ms");
    expect_refused(R"({"Image":"box","Healthcheck":{"Timeout":-1}})", 400,
                   "Timeout in Healthcheck cannot be less than 1ms");
    expect_refused(R"({"Image":"box","Healthcheck":{"StartPeriod":1}})", 400,
                   "StartPeriod in Healthcheck cannot be less than 1ms");
    expect_refused(R"({"Image":"box","Healthcheck":{"Retries":-1}})", 400,
                   "Retries in Healthcheck cannot be negative");
    expect_refused(R"({"Image":"box","Healthcheck":{"Test":"x"}})", 400, "Test");
}

TEST(CreateBody, RefusesWrongFormsWithDockersWords) {
    const std::string long_text(300'000, 'x');
    const std::pair<std::string, std::string> rows[] = {
        {"null", "Config cannot be empty"},
        {"[]", "Config cannot be empty"},
        {"7", "Config cannot be empty"},
        {R"({"Image":"box","HostConfig":[]})", "'HostConfig' is no object"},
        {R"({"Image":"box","Cmd":[1]})", "'Cmd' is no text"},
        {R"({"Image":"box","Cmd":{}})", "'Cmd' is no list"},
        {R"({"Image":"box","Cmd":["a\u0000b"]})", "'Cmd' is no text"},
        {R"({"Image":"box","Entrypoint":[""]})", "No command specified"},
        {R"({"Image":"box","Entrypoint":["",""]})", "No command specified"},
        {R"({"Image":"box","Env":["=x"]})", "invalid environment variable: =x"},
        {R"({"Image":"box","Env":[""]})", "invalid environment variable"},
        {R"({"Image":"box","Env":[null]})", "'Env' is no text"},
        {R"({"Image":"box","Tty":1})", "'Tty' is neither true nor false"},
        {R"({"Image":"box","WorkingDir":"x"})",
         "the working directory 'x' is invalid, it needs to be an absolute path"},
        {R"({"Image":"box","Hostname":"a b"})", "invalid hostname format: a b"},
        {R"({"Image":"box","Hostname":")" + std::string(64, 'a') + "\"}", "invalid hostname format"},
        {R"({"Image":"box","StopSignal":"NOPE"})", "Invalid signal: NOPE"},
        {R"({"Image":"box","StopTimeout":"x"})", "'StopTimeout'"},
        {R"({"Image":"box","Labels":{"a":1}})", "'a' is no text"},
        {R"({"Image":"box","Labels":["a"]})", "'Labels' is no object"},
        {R"({"Image":"box","ExposedPorts":{"x":{}}})", "invalid port specification: \"x\""},
        {R"({"Image":"box","ExposedPorts":{"80/sctp":{}}})", "only tcp and udp"},
        {R"({"Image":"box","ExposedPorts":{"65536/tcp":{}}})", "invalid port specification"},
        {R"({"Image":"box","ExposedPorts":{"0":{}}})", "invalid port specification"},
        {R"({"Image":"box","Cmd":[")" + long_text + "\"]}", "KiB together"},
        {R"({"Image":"box","NetworkingConfig":{"EndpointsConfig":{"mine":{"Aliases":["a b"]}}}})",
         "invalid network-scoped alias 'a b'"},
        {R"({"Image":"box","NetworkingConfig":{"EndpointsConfig":{"mine":{"IPAMConfig":{"IPv4Address":"1.2"}}}}})",
         "invalid IPv4 address: 1.2"},
        {R"({"Image":"box","MacAddress":"03:00:00:00:00:01"})", "invalid MAC address: 03:00"},
        {R"({"Image":"box","HostConfig":{"NetworkMode":"none"},"NetworkingConfig":{"EndpointsConfig":{"mine":{}}}})",
         "private (none) mode"},
        {R"({"Image":"box","NetworkingConfig":{"EndpointsConfig":{"bridge":{"IPAMConfig":{"IPv4Address":"1.2.3.4"}}}}})",
         "user specified IP address is supported on user defined networks only"},
        {R"({"Image":"box","NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["a"]}}}})",
         "network-scoped alias"},
        {host(R"("NetworkMode":5)"), "'NetworkMode' is no text"},
        {host(R"("PortBindings":{"80/tcp":[{"HostPort":"8000-8010"}]})"), "ranges are not supported"},
        {host(R"("PortBindings":{"80/tcp":[{"HostPort":"65536"}]})"), "invalid port specification"},
        {host(R"("PortBindings":{"80/tcp":[{"HostPort":8080}]})"), "'HostPort' is no text"},
        {host(R"("PortBindings":{"80/tcp":[{"HostIp":"::x"}]})"), "the address \"::x\" at the host is none"},
        {host(R"("PortBindings":{"80/tcp":{}})"), "no list"},
        {host(R"("NetworkMode":"none","PortBindings":{"80/tcp":[{"HostPort":"1"}]})"), "conflicting options"},
        {host(R"("ExtraHosts":["a"])"), "bad format for add-host: \"a\""},
        {host(R"("ExtraHosts":[":1.1.1.1"])"), "bad format for add-host"},
        {host(R"("ExtraHosts":["a\nb:1.1.1.1"])"), "bad format for add-host"},
        {host(R"("ExtraHosts":["a:1.1"])"), "invalid IP address in add-host: \"1.1\""},
        {host(R"("Dns":["x"])"), "invalid IP address"},
        {host(R"("DnsSearch":["a b"])"), "invalid word"},
        {host(R"("Memory":6291455)"), "Minimum memory limit allowed is 6MB"},
        {host(R"("Memory":-1)"), "Minimum memory limit allowed is 6MB"},
        {host(R"("MemoryReservation":6291455)"), "Minimum memory reservation allowed is 6MB"},
        {host(R"("Memory":7000000,"MemoryReservation":8000000)"),
         "Minimum memory limit can not be less than memory reservation limit, see usage"},
        {host(R"("Memory":9223372036854775807)"), "Maximum memory limit"},
        {host(R"("Memory":99999999999999999999)"), "'Memory' is no whole number"},
        {host(R"("Memory":1e9)"), "'Memory' is no whole number"},
        {host(R"("Memory":"1g")"), "'Memory' is no whole number"},
        {host(R"("MemorySwap":10000000)"), "You should always set the Memory limit"},
        {host(R"("Memory":20000000,"MemorySwap":10000000)"), "Minimum memoryswap limit"},
        {host(R"("MemorySwappiness":101)"), "valid memory swappiness range is 0-100"},
        {host(R"("NanoCpus":1)"), "Range of CPUs is from 0.01 to "},
        {host(R"("NanoCpus":9000000000000)"), "Range of CPUs"},
        {host(R"("NanoCpus":-1)"), "Range of CPUs"},
        {host(R"("NanoCpus":1000000000,"CpuPeriod":1000)"), "Nano CPUs and CPU Period cannot both be set"},
        {host(R"("NanoCpus":1000000000,"CpuQuota":1000)"), "Nano CPUs and CPU Quota cannot both be set"},
        {host(R"("CpuPeriod":999)"), "CPU cfs period"},
        {host(R"("CpuQuota":999)"), "CPU cfs quota"},
        {host(R"("ShmSize":-1)"), "SHM size can not be less than 0"},
        {host(R"("Ulimits":[{"Name":"nope","Soft":1,"Hard":1}])"), "nope"},
        {host(R"("Ulimits":[{"Name":"nofile","Soft":2,"Hard":1}])"), "above the hard one"},
        {host(R"("Ulimits":[7])"), "'Ulimits' is no list of objects"},
        {host(R"("Tmpfs":{"a":""})"), "its path is not absolute"},
        {host(R"("Tmpfs":{"/":""})"), "its path is not absolute"},
        {host(R"("Tmpfs":{"/a":"loop=1"})"), "no option of such a mount"},
        {host(R"("Mounts":[{"Type":"what","Target":"/b"}])"), "mount type unknown: \"what\""},
        {host(R"("Mounts":[{"Type":"tmpfs","Source":"x","Target":"/b"}])"), "source must not be specified"},
        {host(R"("Mounts":[{"Type":"tmpfs"}])"), "its path is not absolute"},
        {host(R"("Binds":["/a:b"])"),
         "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: "
         "'b' "
         "mount path must be absolute"},
        {host(R"("Binds":["/a:/"])"), "invalid specification: destination can't be '/'"},
        {host(R"("Binds":["/a:/x/.."])"), "invalid specification: destination can't be '/'"},
        {host(R"("Binds":["/a:/proc/x"])"), "cannot be mounted because it is inside /proc"},
        {host(R"("Binds":["/a:/b:what"])"), "invalid mode: what"},
        {host(R"("Binds":["/a:/b:ro,rw"])"), "invalid mode: ro,rw"},
        {host(R"("Binds":["/a:ro"])"), "invalid volume specification: '/a:ro'"},
        {host(R"("Binds":[":/b"])"), "invalid volume specification: ':/b'"},
        {host(R"("Binds":["/a:/b:ro:x"])"), "invalid volume specification"},
        {host(R"("Binds":["./a:/b"])"),
         "create ./a: \"./a\" includes invalid characters for a local volume name"},
        {host(R"("Binds":["/tmp:/b","vol:/b/"])"), "Duplicate mount point: /b"},
        {host(R"("Tmpfs":{"/b":""},"Binds":["/tmp:/b"])"), "Duplicate mount point: /b"},
        {host(R"("VolumesFrom":["x"])"), "No such container: x"},
        {host(R"("VolumesFrom":[":ro"])"), "malformed volumes-from"},
        {host(R"("VolumesFrom":["x:what"])"), "invalid mode: what"},
        {host(R"("VolumeDriver":"fast")"), "error looking up volume plugin fast: plugin \"fast\" not found"},
        {host(R"("Mounts":[{"Type":"bind","Source":"/no/such","Target":"/b"}])"),
         "invalid mount config for type \"bind\": bind source path does not exist: /no/such"},
        {host(R"("Mounts":[{"Type":"bind","Source":"a","Target":"/b"}])"), "mount path must be absolute"},
        {host(R"("Mounts":[{"Type":"bind","Target":"/b"}])"), "field Source must not be empty"},
        {host(R"("Mounts":[{"Type":"bind","Source":"/tmp","Target":"/b","Consistency":"weak"}])"),
         "consistency 'weak' is none of"},
        {host(R"("Mounts":[{"Type":"bind","Source":"/tmp"}])"), "field Target must not be empty"},
        {host(R"("Mounts":[{"Type":"bind","Source":"/tmp","Target":"/b","VolumeOptions":{}}])"),
         "field VolumeOptions must not be specified"},
        {host(R"("Mounts":[{"Type":"volume","Target":"/b","ReadOnly":true}])"),
         "must not set ReadOnly mode when using anonymous volumes"},
        {R"({"Image":"box","Volumes":{"b":{}}})", "mount path must be absolute"},
        {R"({"Image":"box","Volumes":{"/b\u0000":{}}})", "mount path must be absolute"},
        {host(R"("RestartPolicy":{"Name":"often"})"), "invalid restart policy 'often'"},
        {host(R"("RestartPolicy":{"Name":"always","MaximumRetryCount":1})"),
         "maximum retry count cannot be used with restart policy 'always'"},
        {host(R"("RestartPolicy":{"Name":"on-failure","MaximumRetryCount":-1})"),
         "maximum retry count cannot be negative"},
        {host(R"("AutoRemove":true,"RestartPolicy":{"Name":"always"})"),
         "can't create 'AutoRemove' container with restart policy"},
        {host(R"("LogConfig":{"Type":"syslog"})"),
         "error looking up logging plugin syslog: plugin \"syslog\" not found"},
        {host(R"("LogConfig":{"Config":{"max-size":"x"}})"), "max-size must be a positive number"},
        {host(R"("LogConfig":{"Config":{"max-size":"99999999999999999t"}})"), "max-size"},
        {host(R"("LogConfig":{"Config":{"max-file":"0"}})"), "max-file cannot be less than 1"},
        {host(R"("LogConfig":{"Config":{"tag":"x"}})"), "unknown log opt 'tag' for json-file log driver"},
        {host(R"("Sysctls":{"../x":"1"})"), "sysctl '../x' is not allowed"},
        {host(R"("Sysctls":{"net/../../x":"1"})"), "is not allowed"},
        {host(R"("Sysctls":{"":"1"})"), "is not allowed"},
        {host(R"("CapAdd":["NOPE"])"), R"(invalid CapAdd: unknown capability: "CAP_NOPE")"},
        {host(R"("SecurityOpt":["x"])"), "invalid --security-opt 2: \"x\""},
        {host(R"("Runtime":"runc")"), "unknown or invalid runtime name: runc"},
        {host(R"("ConsoleSize":[1])"), "'ConsoleSize'"},
        {host(R"("ConsoleSize":[1,65536])"), "'ConsoleSize'"},
        {host(R"("ConsoleSize":[1,-1])"), "'ConsoleSize'"},
    };
    for (const auto& [body, told] : rows) {
        expect_refused(body, 400, told);
    }
}

TEST(CreateBody, NamesItsImage) {
    EXPECT_EQ(image_named_by(json::parse(R"({"Image":"box:1"})")), "box:1");
    for (const char* bad : {"{}", R"({"Image":""})", R"({"Image":1})", "[]", R"({"Image":"a\u0000"})"}) {
        EXPECT_THROW(image_named_by(json::parse(bad)), ApiError) << bad;
    }
}

TEST(ExecBody, HasTheContainersVariablesAndItsOwn) {
    ContainerConfig config;
    config.environment = {"A=1", "B=2"};
    const ExecConfig exec = parse_exec_body(
        json::parse(R"({"Cmd":["sh","-c","x"],"Env":["B=3","C=4"],"Tty":true,"AttachStdin":true,"User":"u",)"
                    R"("WorkingDir":"/w","Privileged":true,"AttachStdout":true,"DetachKeys":"ctrl-a"})"),
        config);
    EXPECT_THAT(exec.command, ElementsAre("sh", "-c", "x"));
    EXPECT_THAT(exec.environment, ElementsAre("A=1", "TERM=xterm", "B=3", "C=4"));
    EXPECT_TRUE(exec.tty && exec.has_input && exec.is_privileged && exec.has_output);
    EXPECT_FALSE(exec.has_errors);
    EXPECT_EQ(exec.user, "u");
    EXPECT_EQ(exec.working_folder, "/w");
    EXPECT_EQ(exec.detach_keys, "ctrl-a");
    const std::pair<std::string, const char*> rows[] = {
        {"{}", "No exec command specified"},
        {R"({"Cmd":[]})", "No exec command specified"},
        {R"({"Cmd":[""]})", "No exec command specified"},
        {R"({"Cmd":"x"})", "'Cmd' is no list"},
        {R"({"Cmd":["x"],"Env":["="]})", "invalid environment variable"},
        {R"({"Cmd":["x"],"WorkingDir":"y"})", "absolute path"},
        {R"({"Cmd":["x"],"Tty":"yes"})", "'Tty'"},
        {R"({"Cmd":[")" + std::string(70'000, 'x') + "\"]}", "64 KiB"},
        {"[]", "no object"},
    };
    for (const auto& [body, told] : rows) {
        try {
            parse_exec_body(json::parse(body), config);
            ADD_FAILURE() << body;
        } catch (const ApiError& error) {
            EXPECT_EQ(error.status(), 400U);
            EXPECT_THAT(error.what(), HasSubstr(told));
        }
    }
    EXPECT_TRUE(parse_exec_start(json::parse(R"({"Detach":true})")).is_detached);
    EXPECT_FALSE(parse_exec_start(json::parse("{}")).is_detached);
    EXPECT_THROW(parse_exec_start(json::parse(R"({"Detach":"x"})")), ApiError);
}

TEST(SignalNames, AreLinuxs) {
    const std::pair<const char*, std::optional<int>> rows[] = {
        {"TERM", 15},     {"SIGTERM", 15},     {"sigkill", 9},     {"9", 9},
        {"64", 64},       {"HUP", 1},          {"WINCH", 28},      {"CLD", 17},
        {"CHLD", 17},     {"IOT", 6},          {"RTMIN", 34},      {"RTMIN+3", 37},
        {"RTMAX", 64},    {"RTMAX-14", 50},    {"SIGRTMIN+1", 35}, {"", {}},
        {"0", {}},        {"65", {}},          {"-9", {}},         {"NOPE", {}},
        {"RTMIN+31", {}}, {"RTMAX-31", {}},    {"RTMIN+", {}},     {"RTMIN-1", {}},
        {"9 ", {}},       {"99999999999", {}}, {"SIG", {}},        {"RTMIN+99999999", {}},
    };
    for (const auto& [text, number] : rows) {
        EXPECT_EQ(signal_number(text), number) << text;
    }
}

}  // namespace
}  // namespace hull::container

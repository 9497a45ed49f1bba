// What docker's clients are told of images.
#include "container/api/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "container/layer/convert.h"
#include "tests/support/api_client.h"
#include "tests/support/files.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

using test::BuiltImage;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kConfig =
    R"("author":"somebody","config":{"Cmd":["sh"],"Env":["A=b"],"Labels":{"x":"y"},"ExposedPorts":{"80/tcp":{}},)"
    R"("User":"1","WorkingDir":"/w","StopSignal":"SIGINT","Volumes":{"/v":{}}},"history":[)"
    R"({"created":"2024-01-02T03:04:05Z","created_by":"first"},{"created_by":"second","empty_layer":true}])";

class EngineTest : public testing::Test {
  protected:
    /// Puts an image into the store as a pull would.
    BuiltImage put(const std::vector<std::string>& names, const std::string& content = "hello") {
        const std::string archive = test::layer_of("file", content);
        BuiltImage image{{archive}, "amd64", kConfig};
        const Store::Hold hold = store_.hold();
        for (const auto& [digest, blob] : image.blobs) {
            store_.keep_blob(blob, *Digest::parse(digest));
        }
        store_.keep_blob(image.manifest, test::digest_of(image.manifest));
        Store::NewFile layer = store_.make_file();
        convert_layer(test::source_of(archive), layer.fd(), 1 << 20);
        store_.keep_layer(std::move(layer), *Digest::parse(image.unpacked.front()));
        std::vector<Reference> references;
        std::ranges::transform(names, std::back_inserter(references), &Reference::parse);
        store_.add(*Digest::parse(image.id()), test::digest_of(image.manifest), references);
        return image;
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path() / "root", Store::Use::alone};
    Events events_;
    Containers containers_{store_.root(), store_, {"/kernel", {}}, events_, {}};  // none is started
    Engine engine_{
        store_, {.insecure = {}, .mirrors = {"http://127.0.0.1:1"}, .credentials = {}}, containers_, events_};
    test::ApiRig rig_{[this](ApiCall& call) { engine_.answer(call); }, Engine::is_stream};
};

TEST_F(EngineTest, TellsWhatItIs) {
    EXPECT_THAT(rig_.request("HEAD /_ping"), AllOf(HasSubstr(" 200 OK"), HasSubstr("Api-Version: 1.44\r\n")));
    EXPECT_THAT(rig_.request("GET /v1.24/_ping"), testing::EndsWith("\r\n\r\nOK"));
    EXPECT_THAT(rig_.request("GET /version"),
                AllOf(HasSubstr(R"("ApiVersion":"1.44")"), HasSubstr(R"("MinAPIVersion":"1.24")"),
                      HasSubstr(R"("Os":"linux")"), HasSubstr(R"("Components":[{"Name":"Engine")")));
    EXPECT_THAT(rig_.request("GET /v1.44/info"),
                AllOf(HasSubstr(R"("Images":0,)"), HasSubstr(R"("OSType":"linux")"),
                      HasSubstr(R"("Swarm":{"LocalNodeState":"inactive"})")));
    EXPECT_THAT(rig_.request("GET /v1.44/elsewhere"), HasSubstr(R"({"message":"page not found"})"));
    EXPECT_THAT(rig_.request("PUT /v1.44/images/json"), HasSubstr(" 404 "));
}

TEST_F(EngineTest, ListsImagesAsTheyAreWanted) {
    const BuiltImage image = put({"box:1", "host:5000/other:2"});
    const std::string all = rig_.request("GET /v1.44/images/json");
    EXPECT_THAT(all,
                AllOf(HasSubstr("\"Id\":\"" + image.id() + "\""), HasSubstr(R"("box:1","host:5000/other:2")"),
                      HasSubstr("\"box@" + test::digest_of(image.manifest).text()),
                      HasSubstr(R"("Created":1704164645,)"), HasSubstr(R"("Labels":{"x":"y"})")));
    const std::pair<const char*, bool> rows[] = {
        {R"({"label":["x=y"]})", true},
        {R"({"label":{"x":true}})", true},
        {R"({"label":["x=z"]})", false},
        {R"({"label":["x=y","z"]})", false},
        {R"({"reference":["box"]})", true},
        {R"({"reference":["box:1"]})", true},
        {R"({"reference":["docker.io/library/box:1"]})", true},
        {R"({"reference":["box:2"]})", false},
        {R"({"dangling":["true"]})", false},
        {R"({"dangling":["0"],"label":["x"]})", true},
    };
    for (const auto& [filters, is_shown] : rows) {
        std::string query;
        for (const unsigned char each : std::string{filters}) {
            char escape[4];
            std::snprintf(escape, sizeof escape, "%%%02X", each);
            query += escape;
        }
        const std::string list = rig_.request("GET /v1.44/images/json?filters=" + query);
        EXPECT_EQ(list.find(image.id()) != std::string::npos, is_shown) << filters;
        EXPECT_EQ(list.find("\"host:5000/other:2\"") != std::string::npos,
                  is_shown && std::string{filters}.find("reference") == std::string::npos)
            << filters;
        EXPECT_THAT(list, HasSubstr(" 200 OK"));
    }
    EXPECT_THAT(rig_.request("GET /images/json?filters=%7B%22so%22%3A%5B%5D%7D"),
                AllOf(HasSubstr(" 400 "), HasSubstr("Invalid filter 'so'")));
    EXPECT_THAT(rig_.request("GET /images/json?filters=%7B%22dangling%22%3A%5B%22x%22%5D%7D"),
                HasSubstr(" 400 "));
}

TEST_F(EngineTest, ShowsAllThatAnImageSaysOfItself) {
    const BuiltImage image = put({"box:1"});
    for (const std::string& name : {std::string{"box:1"}, image.id(), image.id().substr(7, 12)}) {
        const std::string told = rig_.request("GET /v1.44/images/" + name + "/json");
        for (const std::string& part :
             {"\"Id\":\"" + image.id() + "\"", std::string{R"("Cmd":["sh"])"},
              std::string{R"("Entrypoint":null)"}, std::string{R"("Env":["A=b"])"},
              std::string{R"("ExposedPorts":{"80/tcp":{}})"}, std::string{R"("Volumes":{"/v":{}})"},
              std::string{R"("Labels":{"x":"y"})"}, std::string{R"("User":"1")"},
              std::string{R"("WorkingDir":"/w")"}, std::string{R"("StopSignal":"SIGINT")"},
              std::string{R"("Author":"somebody")"}, std::string{R"("Architecture":"amd64","Os":"linux")"},
              "\"Layers\":[\"" + image.unpacked.front() + "\"]"}) {
            EXPECT_THAT(told, HasSubstr(part)) << name;
        }
    }
    const std::string history = rig_.request("GET /v1.44/images/box:1/history");
    EXPECT_LT(history.find(R"("CreatedBy":"second")"), history.find(R"("CreatedBy":"first")"));
    EXPECT_THAT(history, AllOf(HasSubstr("[{\"Id\":\"" + image.id()), HasSubstr(R"("Tags":["box:1"])"),
                               HasSubstr(R"("Id":"<missing>")")));
    for (const char* path : {"/images/nope/json", "/images/nope/history"}) {
        EXPECT_THAT(rig_.request(std::string{"GET /v1.44"} + path),
                    AllOf(HasSubstr(" 404 "), HasSubstr(R"({"message":"No such image: nope)")));
    }
    EXPECT_THAT(rig_.request("GET /v1.44/images/nope:%20/json"),
                AllOf(HasSubstr(" 400 "), HasSubstr("invalid reference format")));
}

TEST_F(EngineTest, NamesComeAndGo) {
    const BuiltImage image = put({"box:1"});
    EXPECT_THAT(rig_.request("POST /v1.44/images/box:1/tag?repo=other/name&tag=2"),
                HasSubstr(" 201 Created"));
    EXPECT_THAT(rig_.request("POST /v1.44/images/nope/tag?repo=other&tag=2"), HasSubstr(" 404 "));
    EXPECT_THAT(rig_.request("POST /v1.44/images/box:1/tag?repo=UPPER"), HasSubstr(" 400 "));
    EXPECT_THAT(rig_.request("POST /v1.44/images/box:1/tag"), HasSubstr(" 400 "));
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/" + image.id()),
                AllOf(HasSubstr(" 409 "), HasSubstr("repositories")));
    const std::string first = rig_.request("DELETE /v1.44/images/box:1");
    EXPECT_THAT(first, AllOf(HasSubstr(R"({"Untagged":"box:1"})"), Not(HasSubstr("Deleted"))));
    const std::string second = rig_.request("DELETE /v1.44/images/other/name:2");
    EXPECT_THAT(second, AllOf(HasSubstr(R"({"Untagged":"other/name:2"})"),
                              HasSubstr("{\"Deleted\":\"" + image.id())));
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/box:1"), HasSubstr(" 404 "));
    EXPECT_TRUE(store_.list().empty());
    EXPECT_FALSE(std::filesystem::exists(store_.layer(*Digest::parse(image.unpacked.front()))));
}

TEST_F(EngineTest, ShowsAndKeepsTheImagesOfABuildsSteps) {
    const std::string file = "FROM scratch\nLABEL a=1\nLABEL b=2\n";
    const std::string context =
        test::TarPart{.name = "Dockerfile", .content = file}.bytes() + std::string(1024, '\0');
    const UniqueFd client = rig_.connect();  // which stays to the end: one that goes takes its build along
    test::write_all(client.get(),
                    "POST /v1.44/build?t=made HTTP/1.1\r\nConnection: close\r\nContent-Length: " +
                        std::to_string(context.size()) + "\r\n\r\n" + context);
    ASSERT_THAT(test::read_up_to(client.get(), SIZE_MAX), HasSubstr("Successfully tagged made:latest"));
    const StoredImage image = store_.find("made").value();
    EXPECT_THAT(rig_.request("GET /v1.44/images/made/history"),
                AllOf(HasSubstr("\"Id\":\"" + image.id.text() + "\""),
                      HasSubstr("\"Id\":\"" + image.parent->text() + "\""), Not(HasSubstr("missing"))));
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/made?noprune=1"),
                AllOf(HasSubstr("{\"Deleted\":\"" + image.id.text()), Not(HasSubstr(image.parent->text()))));
    EXPECT_TRUE(store_.find(image.parent->text()));
}

TEST_F(EngineTest, LeavesImagesThatContainersAreOf) {
    const BuiltImage image = put({"box:1", "box:2"});
    const std::string made = rig_.ask(
        "POST /v1.44/containers/create?name=user HTTP/1.1\r\nContent-Length: "
        "17\r\n\r\n{\"Image\":\"box:1\"}");
    ASSERT_THAT(made, HasSubstr(" 201 "));
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/box:1"), HasSubstr(R"({"Untagged":"box:1"})"))
        << "there is another name";
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/box:2"),
                AllOf(HasSubstr(" 409 "), HasSubstr("is using its referenced image")));
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/" + image.id() + "?force=1"),
                AllOf(HasSubstr(" 409 "), HasSubstr("is being used by stopped container")));
    EXPECT_THAT(rig_.request("POST /v1.44/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D"),
                HasSubstr(R"("ImagesDeleted":null)"));
    EXPECT_THAT(rig_.request("GET /v1.44/info"), HasSubstr(R"("Containers":1,"ContainersRunning":0)"));
    EXPECT_THAT(rig_.request("GET /v1.44/system/df"),
                AllOf(HasSubstr(R"("LayersSize":)"), HasSubstr(R"("Names":["/user"])")));
    EXPECT_THAT(rig_.request("DELETE /v1.44/containers/user"), HasSubstr(" 204 "));
    EXPECT_THAT(rig_.request("DELETE /v1.44/images/box:2"), HasSubstr("Deleted"));
}

TEST_F(EngineTest, HasDockersNetworksAndWithoutBridgesNoOther) {
    EXPECT_THAT(rig_.request("GET /v1.44/networks"),
                AllOf(HasSubstr(R"("Name":"bridge")"), HasSubstr(R"("Name":"none")")));
    EXPECT_THAT(rig_.request("GET /v1.44/networks/bridge"), HasSubstr(R"("Driver":"bridge")"));
    EXPECT_THAT(rig_.request("GET /v1.44/networks/x"),
                AllOf(HasSubstr(" 404 "), HasSubstr("network x not found")));
    EXPECT_THAT(
        rig_.ask("POST /v1.44/networks/create HTTP/1.1\r\nContent-Length: 15\r\n\r\n{\"Name\":\"mine\"}"),
        AllOf(HasSubstr(" 501 "), HasSubstr("this daemon has none")));
    EXPECT_THAT(rig_.request("GET /v1.44/plugins/x/json"), HasSubstr(" 404 "));
}

TEST_F(EngineTest, HasVolumes) {
    const auto post = [&](const std::string& path, const std::string& body) {
        return rig_.ask("POST /v1.44" + path + " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                        "\r\n\r\n" + body);
    };
    EXPECT_THAT(rig_.request("GET /v1.44/volumes"), HasSubstr(R"({"Volumes":[],"Warnings":null})"));
    EXPECT_THAT(rig_.request("GET /v1.44/volumes/x"),
                AllOf(HasSubstr(" 404 "), HasSubstr("get x: no such volume")));
    const std::string made =
        post("/volumes/create", R"({"Name":"one","Driver":"local","DriverOpts":{},"Labels":{"a":"b"}})");
    EXPECT_THAT(made,
                AllOf(HasSubstr(" 201 "), HasSubstr(R"("Driver":"local","Labels":{"a":"b"},"Mountpoint":")"),
                      HasSubstr(R"(/volumes/one/_data","Name":"one","Options":null,"Scope":"local"})")));
    EXPECT_THAT(made, testing::ContainsRegex(R"("CreatedAt":"20[-0-9]+T[0-9:]+Z")"));
    EXPECT_THAT(rig_.request("GET /v1.44/volumes/one"), HasSubstr(R"("Name":"one")"));
    post("/volumes/create", R"({"Name":"two"})");
    post("/volumes/create", "{}");
    put({"box:1"});
    EXPECT_THAT(post("/containers/create?name=user",
                     R"({"Image":"box:1","HostConfig":{"Binds":["two:/t:ro","/folder:/f"]}})"),
                HasSubstr(" 201 "));
    EXPECT_THAT(
        rig_.request("GET /v1.44/containers/user/json"),
        AllOf(HasSubstr(R"({"Type":"volume","Name":"two","Source":")"),
              HasSubstr(R"("Destination":"/t","Driver":"local","Mode":"ro","RW":false,"Propagation":""})"),
              HasSubstr(R"({"Type":"bind","Source":"/folder","Destination":"/f","Mode":"","RW":true,)"
                        R"("Propagation":"rprivate"})"),
              HasSubstr(R"("Destination":"/v")")));
    const auto listed = [&](const std::string& filters) {
        const std::string answer = rig_.request("GET /v1.44/volumes?filters=" + filters);
        return (answer.find(R"("Name":"one")") != std::string::npos ? "one " : std::string{}) +
               (answer.find(R"("Name":"two")") != std::string::npos ? "two" : "");
    };
    EXPECT_EQ(listed("%7B%22label%22%3A%5B%22a%3Db%22%5D%7D"), "one ");
    EXPECT_EQ(listed("%7B%22dangling%22%3A%5B%22true%22%5D%7D"), "one ");
    EXPECT_EQ(listed("%7B%22dangling%22%3A%5B%22false%22%5D%7D"), "two");
    EXPECT_EQ(listed("%7B%22name%22%3A%5B%22tw%22%5D%7D"), "two");
    EXPECT_EQ(listed("%7B%22driver%22%3A%5B%22local%22%5D%7D"), "one two");
    EXPECT_THAT(rig_.request("GET /v1.44/volumes?filters=%7B%22x%22%3A%5B%22y%22%5D%7D"),
                AllOf(HasSubstr(" 400 "), HasSubstr("invalid filter 'x'")));
    EXPECT_THAT(rig_.request("GET /v1.44/containers/json?all=1&filters=%7B%22volume%22%3A%5B%22two%22%5D%7D"),
                HasSubstr(R"("Names":["/user"])"));
    EXPECT_THAT(rig_.request("GET /v1.44/containers/json?all=1&filters=%7B%22volume%22%3A%5B%22one%22%5D%7D"),
                HasSubstr("[]"));
    EXPECT_THAT(rig_.request("GET /v1.44/system/df"), HasSubstr(R"("UsageData":{"RefCount":1,"Size":)"));
    EXPECT_THAT(rig_.request("DELETE /v1.44/volumes/two"),
                AllOf(HasSubstr(" 409 "), HasSubstr("remove two: volume is in use - [")));
    EXPECT_THAT(rig_.request("DELETE /v1.44/volumes/x"),
                AllOf(HasSubstr(" 404 "), HasSubstr("get x: no such volume")));
    EXPECT_THAT(rig_.request("DELETE /v1.44/volumes/x?force=1"), HasSubstr(" 204 "));
    for (const char* body :
         {"[]", R"({"Name":7})", R"({"Name":"a/b"})", R"({"Name":"one","DriverOpts":{"a":"b"}})"}) {
        EXPECT_THAT(post("/volumes/create", body), HasSubstr(" 400 ")) << body;
    }
    EXPECT_THAT(post("/volumes/create", R"({"Name":"vv","Driver":"nfs"})"), HasSubstr(" 404 "));
    // Since 1.42 those that have names are kept, unless all are asked for.
    EXPECT_THAT(rig_.request("POST /v1.44/volumes/prune"), Not(HasSubstr("\"one\"")));
    EXPECT_EQ(listed(""), "one two");
    EXPECT_THAT(
        rig_.request(
            "POST "
            "/v1.44/volumes/prune?filters=%7B%22all%22%3A%5B%221%22%5D%2C%22label%21%22%3A%5B%22a%22%5D%7D"),
        HasSubstr(R"("VolumesDeleted":null)"));
    EXPECT_THAT(rig_.request("POST /v1.41/volumes/prune"),
                HasSubstr(R"({"VolumesDeleted":["one"],"SpaceReclaimed":)"));
    EXPECT_EQ(listed(""), "two");
    EXPECT_THAT(rig_.request("DELETE /v1.44/containers/user?v=1"), HasSubstr(" 204 "));
    EXPECT_THAT(rig_.request("GET /v1.44/volumes"), Not(HasSubstr("anonymous")));
    EXPECT_THAT(rig_.request("DELETE /v1.44/volumes/two"), HasSubstr(" 204 "));
}

TEST_F(EngineTest, PrunesWhatNobodyNames) {
    const BuiltImage older = put({"box:1"});
    const BuiltImage newer = put({"box:1"}, "of another content");
    EXPECT_THAT(rig_.request("POST /v1.44/images/prune?filters=%7B%22label%22%3A%5B%22z%22%5D%7D"),
                HasSubstr(R"("ImagesDeleted":null)"));
    const std::string gone = rig_.request("POST /v1.44/images/prune");
    EXPECT_THAT(gone, AllOf(HasSubstr("{\"Deleted\":\"" + older.id()), Not(HasSubstr(newer.id()))));
    EXPECT_THAT(gone, Not(HasSubstr(R"("SpaceReclaimed":0)")));
    const std::string rest =
        rig_.request("POST /v1.44/images/prune?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D");
    EXPECT_THAT(rest, AllOf(HasSubstr(R"({"Untagged":"box:1"})"), HasSubstr(newer.id())));
    EXPECT_THAT(rig_.request("POST /images/prune?filters=%7B%22until%22%3A%5B%221h%22%5D%7D"),
                HasSubstr(" 400 "));
    EXPECT_THAT(rig_.request("POST /v1.44/build/prune"),
                HasSubstr(R"({"CachesDeleted":null,"SpaceReclaimed":0})"));
}

TEST_F(EngineTest, APushThatCannotBeIsALine) {
    put({"127.0.0.1:1/box:1"});
    const std::string refused = rig_.request("POST /v1.44/images/127.0.0.1:1/box/push?tag=1");
    EXPECT_THAT(refused, AllOf(HasSubstr(" 200 OK"),
                               HasSubstr(R"({"status":"The push refers to repository [127.0.0.1:1/box]"})"),
                               HasSubstr(R"({"errorDetail":{"message":"cannot push 127.0.0.1:1/box:1 to )")));
    EXPECT_THAT(rig_.request("POST /v1.44/images/127.0.0.1:1/box/push?tag=2"),
                HasSubstr(R"("error":"tag does not exist: 127.0.0.1:1/box:2"})"));
    EXPECT_THAT(rig_.request("POST /v1.44/images/127.0.0.1:1/box:2/push"),
                HasSubstr("tag does not exist: 127.0.0.1:1/box:2"));
    EXPECT_THAT(rig_.request("POST /v1.44/images/box/push"),
                HasSubstr("An image does not exist locally with the tag: box"));
    const std::string digest = "sha256:" + std::string(64, 'a');
    for (const std::string path : {"UPPER/push?tag=1", "box/push?tag=%2F", "box/push?platform=%7B%7D"}) {
        EXPECT_THAT(rig_.request("POST /v1.44/images/" + path), HasSubstr(" 400 ")) << path;
    }
    EXPECT_THAT(rig_.request("POST /v1.44/images/box@" + digest + "/push"),
                HasSubstr("cannot push a digest reference"));
    EXPECT_THAT(rig_.request("POST /v1.44/images/127.0.0.1:1/box/push?tag=1", "X-Registry-Auth: ***\r\n"),
                HasSubstr(" 400 "));
}

TEST_F(EngineTest, APullThatCannotBeIsAnAnswer) {
    for (const char* query : {"", "?fromImage=", "?fromImage=UPPER", "?fromImage=a&tag=%2F",
                              "?fromImage=a&platform=linux/arm64"}) {
        EXPECT_THAT(rig_.request(std::string{"POST /v1.44/images/create"} + query), HasSubstr(" 400 "))
            << query;
    }
    EXPECT_THAT(rig_.request("POST /v1.44/images/create?fromImage=127.0.0.1:1/a&tag=1"),
                AllOf(HasSubstr(" 404 "), HasSubstr("{\"message\":\"cannot pull 127.0.0.1:1/a:1")));
    EXPECT_THAT(rig_.request("POST /v1.44/images/create?fromImage=127.0.0.1:1/a", "X-Registry-Auth: ***\r\n"),
                HasSubstr(" 400 "));
}

TEST_F(EngineTest, AnArchiveOrALoginThatCannotBeIsAnAnswer) {
    const auto post = [&](const std::string& path, const std::string& body) {
        return rig_.ask("POST /v1.44" + path + " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                        "\r\n\r\n" + body);
    };
    const std::string noise(2000, 'x');
    EXPECT_THAT(post("/images/load", noise), AllOf(HasSubstr(" 400 "), HasSubstr("checksum")));
    EXPECT_THAT(post("/images/create?fromSrc=-", noise), AllOf(HasSubstr(" 400 "), HasSubstr("checksum")));
    EXPECT_THAT(post("/images/create?fromSrc=http%3A%2F%2Fa%2Fb", ""), HasSubstr(" 400 "));
    EXPECT_THAT(post("/images/create?fromSrc=-&changes=CMD%20a&changes=ONBUILD%20x", noise),
                AllOf(HasSubstr(" 400 "), HasSubstr("ONBUILD is not supported")));
    EXPECT_THAT(post("/images/create?fromSrc=-&platform=linux/arm64", noise), HasSubstr(" 400 "));
    EXPECT_THAT(post("/images/create?fromSrc=-&repo=a&tag=%2F", noise), HasSubstr(" 400 "));
    EXPECT_TRUE(store_.list().empty());
    EXPECT_THAT(rig_.request("GET /v1.44/images/get"), HasSubstr(" 400 "));
    EXPECT_THAT(rig_.request("HEAD /v1.44/images/get?names=box"), HasSubstr(" 404 "));
    EXPECT_THAT(rig_.request("GET /v1.44/images/nope/get"), HasSubstr(" 404 "));
    put({"box:1", "box:2"});
    EXPECT_THAT(rig_.request("GET /v1.44/images/get?names=box%3A1&names=nope"), HasSubstr(" 404 "));
    EXPECT_THAT(rig_.request("GET /v1.44/images/box/get"),
                AllOf(HasSubstr("application/x-tar"), HasSubstr(R"("RepoTags":["box:1","box:2"])")));
    const std::pair<const char*, unsigned> rows[] = {
        {"", 400},
        {"[]", 400},
        {"{}", 400},
        {R"({"username":"a:b","password":"c"})", 400},
        {R"({"username":"a","identitytoken":"c"})", 400},
        {R"({"username":"a","password":"b","serveraddress":"A B"})", 400},
        {R"({"username":"a","password":"b","serveraddress":"127.0.0.1:1"})", 500},
    };
    for (const auto& [body, status] : rows) {
        EXPECT_THAT(post("/auth", body), HasSubstr(" " + std::to_string(status) + " ")) << body;
    }
}

}  // namespace
}  // namespace hull::container

// What a client wants to have built.
#include "container/api/build_query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <string>

#include "container/api/api_error.h"
#include "container/api/registry_login.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

BuildQuery parse(const std::string& query) {
    return parse_build_query(RequestTarget::parse("/v1.44/build" + query));
}

TEST(BuildQuery, IsWhatTheClientSays) {
    // As docker 28 and docker-py have it.
    const BuildQuery query = parse(
        "?t=a:1&t=host:5000/b&dockerfile=sub/"
        "File&buildargs=%7B%22A%22:%221%22,%22B%22:null%7D&labels=%7B%22l%22:%22x"
        "%22%7D&nocache=True&pull=1&q=False&rm=1&forcerm=0&target=t&memory=1000&memswap=-1&networkmode=none&"
        "extrahosts=a:1.2.3.4&extrahosts=b:::1&ulimits=%5B%7B%22Name%22:%22nofile%22%7D%5D&cachefrom=%5B%5D&"
        "remote=&"
        "version=1&platform=linux&shmsize=64");
    ASSERT_EQ(query.names.size(), 2);
    EXPECT_EQ(query.names[1].text(), "host:5000/b:latest");
    EXPECT_EQ(query.file, "sub/File");
    EXPECT_THAT(query.options.arguments,
                ElementsAre(Pair("A", std::optional<std::string>{"1"}), Pair("B", std::nullopt)));
    EXPECT_THAT(query.options.labels, ElementsAre(Pair("l", "x")));
    EXPECT_FALSE(query.options.uses_cache);
    EXPECT_TRUE(query.options.pulls);
    EXPECT_FALSE(query.is_quiet);
    EXPECT_TRUE(query.options.removes);
    EXPECT_FALSE(query.options.always_removes);
    EXPECT_EQ(query.options.target, "t");
    EXPECT_THAT(query.options.notes, testing::IsEmpty());
    EXPECT_EQ(boost::json::serialize(query.host_config),
              R"({"Memory":1000,"MemorySwap":-1,"ShmSize":64,"NetworkMode":"none",)"
              R"("ExtraHosts":["a:1.2.3.4","b:::1"],"Ulimits":[{"Name":"nofile"}],)"
              R"("LogConfig":{"Type":"none","Config":{}}})");
    const BuildQuery plain = parse("");
    EXPECT_EQ(plain.file, "Dockerfile");
    EXPECT_TRUE(plain.options.uses_cache && plain.options.removes);
    EXPECT_FALSE(parse("?rm=0").options.removes);
    EXPECT_EQ(parse("?cachefrom=%5B%22x%22%5D").options.notes.size(), 1);
}

TEST(BuildQuery, RefusesByName) {
    const std::tuple<const char*, unsigned, const char*> rows[] = {
        {"?t=A", 400, "repository name must be lowercase"},
        {"?t=a@sha256:0123456789012345678901234567890123456789012345678901234567890123", 400,
         "build tag cannot contain a digest"},
        {"?remote=https://host/x.git", 501, "fetches no context"},
        {"?squash=1", 501, "--squash"},
        {"?version=2", 501, "DOCKER_BUILDKIT=0"},
        {"?session=x", 501, "DOCKER_BUILDKIT=0"},
        {"?outputs=%5B%7B%7D%5D", 501, "--output"},
        {"?platform=linux/none", 400, "do not run here"},
        {"?buildargs=x", 400, "invalid value for \"buildargs\""},
        {"?buildargs=%5B%5D", 400, "invalid value for \"buildargs\""},
        {"?labels=%7B%22a%22:1%7D", 400, "invalid value for \"labels\""},
        {"?memory=much", 400, "invalid value for \"memory\""},
    };
    for (const auto& [query, status, why] : rows) {
        try {
            parse(query);
            ADD_FAILURE() << query << " was taken";
        } catch (const ApiError& error) {
            EXPECT_EQ(error.status(), status) << query;
            EXPECT_THAT(error.what(), HasSubstr(why));
        }
    }
}

TEST(BuildQuery, FindsTheLoginOfARegistryAmongAll) {
    // {"https://index.docker.io/v1/":{"username":"u","password":"p"},"host:5000":{"username":"v","password":"q"}}
    const std::string header =
        "eyJodHRwczovL2luZGV4LmRvY2tlci5pby92MS8iOnsidXNlcm5hbWUiOiJ1IiwicGFzc3dvcmQiOiJwIn0sImhvc3Q6NTAwMCI6"
        "eyJ1c2Vy"
        "bmFtZSI6InYiLCJwYXNzd29yZCI6InEifX0=";
    EXPECT_EQ(parse_registry_logins(header, "docker.io"), "dTpw");
    EXPECT_EQ(parse_registry_logins(header, "host:5000"), "djpx");
    EXPECT_EQ(parse_registry_logins(header, "other"), "");
    EXPECT_EQ(parse_registry_logins("e30=", "docker.io"), "");
    EXPECT_THROW(parse_registry_logins("!", "docker.io"), ApiError);
}

}  // namespace
}  // namespace hull::container

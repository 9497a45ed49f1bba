// What registries ask for, and what docker's configuration has for them.
#include "container/image/authorization.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull::container {
namespace {

/// "scheme(name=value,…)" of each.
std::string told(std::string_view value) {
    std::string text;
    for (const Challenge& challenge : parse_challenges(value)) {
        text += challenge.scheme + "(";
        for (const auto& [name, parameter] : challenge.parameters) {
            text.append(name).append("=").append(parameter).append(",");
        }
        text += ")";
    }
    return text;
}

TEST(Challenge, IsReadAsRegistriesWriteIt) {
    for (const auto& [value, wanted] : std::initializer_list<std::pair<std::string_view, std::string>>{
             {R"(Bearer realm="https://a/t",service="a.b",scope="repository:x/y:pull")",
              "bearer(realm=https://a/t,scope=repository:x/y:pull,service=a.b,)"},
             {"Basic realm=\"Registry Realm\"", "basic(realm=Registry Realm,)"},
             {"bEaReR  ReAlM = https://a/t , service=x", "bearer(realm=https://a/t,service=x,)"},
             {R"(Basic realm="b", Bearer realm="c",service="d")",
              "basic(realm=b,)bearer(realm=c,service=d,)"},
             {"Negotiate", "negotiate()"},
             {R"(Bearer realm="a\"b\\c")", "bearer(realm=a\"b\\c,)"},
             {R"(Bearer realm="one",realm="two")", "bearer(realm=one,)"},
             {R"(Bearer realm="a, b=c")", "bearer(realm=a, b=c,)"},
             // What nobody should write.
             {"", ""},
             {",,, ,", ""},
             {"=", ""},
             {"realm=x", ""},
             {R"(Bearer realm="no end)", "bearer()"},
             {R"(Bearer realm="no end\)", "bearer()"},
             {"Bearer realm=", "bearer(realm=,)"},
             {"Bearer \x01\x02", "bearer()"},
             {R"(Bearer realm="")", "bearer(realm=,)"},
         }) {
        EXPECT_EQ(told(value), wanted) << value;
    }
}

TEST(Credentials, AreThoseOfTheRegistry) {
    const test::TemporaryFolder folder;
    const auto file = folder.file("config.json", R"({"auths":{
        "https://index.docker.io/v1/":{"auth":"aHVi"},"localhost:5000":{"auth":"bG9jYWw="},
        "https://r.example.com":{"auth":"ci4="},"kept.elsewhere":{}},"credsStore":"x"})");
    EXPECT_EQ(find_credentials(file, "registry-1.docker.io"), "aHVi");
    EXPECT_EQ(find_credentials(file, "localhost:5000"), "bG9jYWw=");
    EXPECT_EQ(find_credentials(file, "r.example.com"), "ci4=");
    EXPECT_EQ(find_credentials(file, "localhost"), "");
    EXPECT_EQ(find_credentials(file, "kept.elsewhere"), "");
    EXPECT_EQ(find_credentials(folder.path() / "none.json", "localhost:5000"), "");
    EXPECT_EQ(find_credentials(folder.file("empty.json", "{}"), "localhost:5000"), "");
    test::expect_error([&] { find_credentials(folder.file("a", "{"), "r"); }, ExitStatus::bad_file,
                       {"docker's configuration", "no JSON"});
    test::expect_error(
        [&] { find_credentials(folder.file("b", R"({"auths":{"r":{"auth":"a\r\nX: y"}}})"), "r"); },
        ExitStatus::bad_file, {"'r'", "base64"});
    test::expect_error([&] { find_credentials(folder.file("c", R"({"auths":{"r":1}})"), "r"); },
                       ExitStatus::bad_file, {"'r'"});
}

}  // namespace
}  // namespace hull::container

// Pushing images to a registry on the loopback that does what it should, or does not.
#include "container/image/push.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "container/image/url.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/http_server.h"
#include "tests/support/image_builder.h"
#include "tests/support/image_store.h"
#include "tests/support/noise.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using test::BuiltImage;
using test::expect_error;
using test::HttpAnswer;
using test::HttpRequest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Takes what is pushed; `twist` makes of an answer what it likes.
class TakingRegistry {
  public:
    using Twist = std::function<void(const HttpRequest&, HttpAnswer&)>;

    explicit TakingRegistry(Twist twist = nullptr)
        : twist_{std::move(twist)}, server_{[this](const HttpRequest& request) {
              HttpAnswer answer = serve(request);
              if (twist_) {
                  twist_(request, answer);
              }
              return answer;
          }} {}

    [[nodiscard]] std::string host() const { return server_.host(); }
    [[nodiscard]] Reference reference(const std::string& name = "app:1") const {
        return Reference::parse(host() + "/" + name);
    }
    [[nodiscard]] std::vector<HttpRequest> requests() const { return server_.requests(); }
    [[nodiscard]] int asked(const std::string& method) const {
        const auto all = server_.requests();
        return static_cast<int>(std::ranges::count(all, method, &HttpRequest::method));
    }

    std::map<std::string, std::string> blobs;      ///< by digest
    std::map<std::string, std::string> manifests;  ///< by tag, behind their media types and a space

  private:
    HttpAnswer serve(const HttpRequest& request) {
        const auto after = [&](const std::string& mark) {
            const size_t place = request.path.find(mark);
            return place == std::string::npos ? "" : request.path.substr(place + mark.size());
        };
        if (request.path == "/v2/") {
            return {};
        }
        if (request.method == "POST") {
            return {.status = 202, .headers = {"Location: /v2/app/blobs/uploads/" + std::to_string(++last_)}};
        }
        const std::string upload = after("/uploads/");
        const std::string name = upload.substr(0, upload.find('?'));
        if (request.method == "PATCH") {
            parts_[name] += request.body;
            return {.status = 202, .headers = {"Location: /v2/app/blobs/uploads/" + name + "?state=x"}};
        }
        if (request.method == "PUT" && !upload.empty()) {
            const std::string digest = after("?state=x&digest=");
            if (test::digest_of(parts_[name]).text() != digest) {
                return {.status = 400, .body = R"({"errors":[{"code":"DIGEST_INVALID"}]})"};
            }
            blobs[digest] = parts_[name];
            return {.status = 201};
        }
        if (request.method == "PUT") {
            manifests[after("/manifests/")] = request.header("Content-Type") + " " + request.body;
            return {.status = 201};
        }
        return {.status = blobs.contains(after("/blobs/")) ? 200 : 404, .body = "{}"};
    }

    Twist twist_;
    int last_ = 0;
    std::map<std::string, std::string> parts_;
    test::HttpServer server_;  // the last: it calls
};

class PushTest : public testing::Test {
  protected:
    PushTest() {
        const std::vector<std::string> archives{test::layer_of("a", test::noise(300'000, 1)),
                                                test::layer_of("b", "small")};
        image_.emplace(archives, "amd64", R"("config":{"Cmd":["sh"]})");
        test::store_image(store_, "app:1", archives, R"("config":{"Cmd":["sh"]})");
    }

    Pushed push_to(const Reference& reference) {
        std::atomic<bool> is_given_up = false;
        return push(store_, *store_.find("app:1"), reference, options_, is_given_up,
                    [this](const PushProgress& progress) {
                        phases_[progress.layer.text()].push_back(progress.phase);
                    });
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path() / "store", Store::Use::shared};
    std::optional<BuiltImage> image_;
    RegistryOptions options_{.insecure = {}, .mirrors = {}, .credentials = {}, .patience = 5s};
    std::map<std::string, std::vector<PushProgress::Phase>> phases_;
};

TEST_F(PushTest, WhatArrivesIsWhatIsThereToTheByte) {
    const TakingRegistry registry;
    const Pushed pushed = push_to(registry.reference());
    EXPECT_EQ(pushed.manifest, test::digest_of(image_->manifest));
    EXPECT_EQ(pushed.size, image_->manifest.size());
    EXPECT_EQ(registry.blobs, image_->blobs);
    EXPECT_EQ(registry.manifests.at("1"), std::string{BuiltImage::kManifestType} + " " + image_->manifest);
    using Phase = PushProgress::Phase;
    EXPECT_EQ(phases_[image_->unpacked[0]].front(), Phase::waiting);
    EXPECT_EQ(phases_[image_->unpacked[0]][1], Phase::pushing);
    EXPECT_EQ(phases_[image_->unpacked[0]].back(), Phase::pushed);
    EXPECT_EQ(registry.requests().back().path, "/v2/app/manifests/1") << "it comes last";

    phases_.clear();
    const int before = registry.asked("POST");
    push_to(registry.reference("app:2"));
    EXPECT_EQ(registry.asked("POST"), before) << "nothing that is there is sent again";
    EXPECT_THAT(phases_[image_->unpacked[1]], ElementsAre(Phase::waiting, Phase::there));
    EXPECT_EQ(registry.manifests.size(), 2U);
}

TEST_F(PushTest, AManifestThatDoesNotSayWhatItIsIsToldFromItsConfiguration) {
    const auto type_of = [](const char* config) {
        const std::string text = std::string{R"({"schemaVersion":2,"config":)"} +
                                 BuiltImage::descriptor(config, "{}") + R"(,"layers":[]})";
        return std::get<Manifest>(parse_manifest(text, "", Platform::of_this_host())).media_type;
    };
    EXPECT_EQ(type_of("application/vnd.oci.image.config.v1+json"),
              "application/vnd.oci.image.manifest.v1+json");
    EXPECT_EQ(type_of("application/vnd.docker.container.image.v1+json"),
              "application/vnd.docker.distribution.manifest.v2+json");
}

TEST_F(PushTest, ATokenIsForPullAndPush) {
    const std::string secret = "dXNlcjpzZWNyZXQ=";
    std::string host;
    const TakingRegistry registry{[&](const HttpRequest& request, HttpAnswer& answer) {
        if (request.path.starts_with("/token?")) {
            const bool is_right = request.header("Authorization") == "Basic " + secret &&
                                  request.path.find("scope=repository:app:pull,push") != std::string::npos;
            answer = {.status = is_right ? 200 : 401, .body = R"({"token":"abc.def"})"};
        } else if (request.header("Authorization") != "Bearer abc.def") {
            answer = {.status = 401,
                      .body = R"({"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]})",
                      .headers = {"WWW-Authenticate: Bearer realm=\"http://" + host +
                                  R"(/token",service="s",scope="repository:app:pull")"}};
        }
    }};
    host = registry.host();
    for (const char* const login : {"", "eDp5"}) {
        options_.login = login;
        expect_error([&] { push_to(registry.reference()); }, ExitStatus::registry_failure,
                     {"cannot push", "access is denied", "docker login"});
    }
    EXPECT_THAT(registry.manifests, IsEmpty());
    options_.login = secret;
    push_to(registry.reference());
    EXPECT_EQ(registry.manifests.size(), 1U);
}

TEST_F(PushTest, ATokenThatEndsMeanwhileIsRenewed) {
    std::string host;
    int patched = 0;
    const TakingRegistry registry{[&](const HttpRequest& request, HttpAnswer& answer) {
        if (request.path.starts_with("/token?")) {
            answer = {.body = R"({"token":"t)" + std::to_string(patched) + R"("})"};
        } else if (request.method == "PATCH" && patched++ == 0) {
            answer = {.status = 401,
                      .headers = {"WWW-Authenticate: Bearer realm=\"http://" + host + "/token\""}};
        }
    }};
    host = registry.host();
    // The twist has taken nothing from what had come; so the same bytes are there twice, and the digest
    // tells.
    expect_error([&] { push_to(registry.reference()); }, ExitStatus::registry_failure, {"DIGEST_INVALID"});
    EXPECT_TRUE(std::ranges::any_of(registry.requests(), [](const HttpRequest& request) {
        // A number that counts what was sent at the same time, too.
        return request.method == "PATCH" && request.header("Authorization") > "Bearer t0";
    }));
}

TEST_F(PushTest, AuthorizationGoesNowhereElse) {
    const TakingRegistry elsewhere;
    int number = 0;
    const TakingRegistry registry{[&](const HttpRequest& request, HttpAnswer& answer) {
        if (request.header("Authorization") != "Basic YTpi") {
            answer = {.status = 401, .headers = {"WWW-Authenticate: Basic realm=\"r\""}};
        } else if (request.method == "POST") {
            answer.headers = {"Location: http://" + elsewhere.host() + "/v2/app/blobs/uploads/away" +
                              std::to_string(++number)};
        }
    }};
    options_.login = "YTpi";
    push_to(registry.reference());
    EXPECT_EQ(elsewhere.asked("PATCH"), 3);
    EXPECT_EQ(elsewhere.asked("PUT"), 3);
    for (const HttpRequest& request : elsewhere.requests()) {
        EXPECT_EQ(request.header("Authorization"), "") << "of no business there";
    }
    EXPECT_EQ(registry.manifests.size(), 1U);
}

TEST_F(PushTest, ARegistryThatFailsOrLiesIsTold) {
    struct Row {
        const char* what;
        std::string method;
        std::string path;
        std::function<void(HttpAnswer&)> twist;
        std::vector<std::string> words;
    };
    const auto status = [](int code) { return [code](HttpAnswer& answer) { answer = {.status = code}; }; };
    const auto location = [](const std::string& place) {
        return [place](HttpAnswer& answer) { answer.headers = {"Location: " + place}; };
    };
    for (const Row& row : {
             Row{"no registry at all", "GET", "/v2/", status(404), {"status 404"}},
             Row{"it cannot say what it has", "HEAD", "/blobs/", status(500), {"status 500"}},
             Row{"it takes no uploads", "POST", "/uploads/", status(405), {"status 405"}},
             Row{"it forbids them",
                 "POST",
                 "/uploads/",
                 [](HttpAnswer& answer) {
                     answer = {.status = 403, .body = R"({"errors":[{"message":"read\nonly"}]})"};
                 },
                 {"access is denied (read?only)", "docker login"}},
             Row{"it wants to know who and does not say how",
                 "POST",
                 "/uploads/",
                 status(401),
                 {"who you are"}},
             Row{"it does not say where to",
                 "POST",
                 "/uploads/",
                 [](HttpAnswer& answer) { answer.headers = {}; },
                 {"where a layer is to go"}},
             Row{"it sends elsewhere: a file",
                 "POST",
                 "/uploads/",
                 location("file:///etc/passwd"),
                 {"where a layer is to go"}},
             Row{"it sends elsewhere: somebody",
                 "POST",
                 "/uploads/",
                 location("http://a:b@localhost/"),
                 {"where a layer is to go"}},
             Row{"it sends elsewhere: nowhere",
                 "POST",
                 "/uploads/",
                 location("http://"),
                 {"where a layer is to go"}},
             Row{"it sends elsewhere: a closed port",
                 "POST",
                 "/uploads/",
                 location("http://127.0.0.1:1/x"),
                 {"cannot push"}},
             Row{"it does not take the bytes", "PATCH", "/uploads/", status(413), {"status 413"}},
             Row{"it sends what it should take away", "PATCH", "/uploads/", status(307), {"status 307"}},
             Row{"it does not answer to the end",
                 "PATCH",
                 "/uploads/",
                 [](HttpAnswer& answer) {
                     answer.body = "x";
                     answer.said_size = 5;
                     answer.status = 500;
                 },
                 {"cannot push"}},
             Row{"it answers without end",
                 "PATCH",
                 "/uploads/",
                 [](HttpAnswer& answer) { answer = {.status = 500, .body = std::string(3'000'000, 'x')}; },
                 {"larger"}},
             Row{"it has other bytes than were sent",
                 "PUT",
                 "/uploads/",
                 [](HttpAnswer& answer) {
                     answer = {.status = 400, .body = R"({"errors":[{"code":"DIGEST_INVALID"}]})"};
                 },
                 {"DIGEST_INVALID"}},
             Row{"it does not take the manifest",
                 "PUT",
                 "/manifests/",
                 [](HttpAnswer& answer) {
                     answer = {.status = 400, .body = R"({"errors":[{"code":"MANIFEST_INVALID"}]})"};
                 },
                 {"MANIFEST_INVALID"}},
         }) {
        SCOPED_TRACE(row.what);
        const TakingRegistry registry{[&](const HttpRequest& request, HttpAnswer& answer) {
            if (request.method == row.method && request.path.find(row.path) != std::string::npos) {
                row.twist(answer);
            }
        }};
        options_.patience = 1s;
        const auto error = test::error_of([&] { push_to(registry.reference()); });
        ASSERT_TRUE(error) << "no error";
        EXPECT_THAT(error->what(), testing::Not(HasSubstr("\n")));
        for (const std::string& word : row.words) {
            EXPECT_THAT(error->what(), HasSubstr(word));
        }
        EXPECT_TRUE(row.path == "/manifests/" || registry.asked("PUT") == 0 || registry.manifests.empty());
    }
}

TEST_F(PushTest, ALayerThatHasBecomeShorterIsToldAndNotSent) {
    const TakingRegistry registry;
    std::filesystem::resize_file(store_.blob(*Digest::parse(image_->packed[0])), 1000);
    expect_error([&] { push_to(registry.reference()); }, ExitStatus::bad_file, {"cannot read", "shorter"});
    std::filesystem::remove(store_.blob(*Digest::parse(image_->packed[0])));
    expect_error([&] { push_to(registry.reference()); }, ExitStatus::bad_file, {"cannot read"});
    EXPECT_THAT(registry.manifests, IsEmpty());
}

TEST_F(PushTest, WhoGivesUpIsNotKept) {
    const TakingRegistry registry;
    std::atomic<bool> is_given_up = false;
    expect_error(
        [&] {
            push(store_, *store_.find("app:1"), registry.reference(), options_, is_given_up,
                 [&](const PushProgress&) { is_given_up = true; });
        },
        ExitStatus::registry_failure, {"given up"});
    EXPECT_THAT(registry.manifests, IsEmpty());
}

TEST(Url, LeadsOnlyWhereItMay) {
    const auto resolve = [](const std::string& base, const std::string& location) {
        return resolve_url(base, location).value_or("none");
    };
    EXPECT_EQ(resolve("https://r:5000/v2/a/", "/v2/b?x=1"), "https://r:5000/v2/b?x=1");
    EXPECT_EQ(resolve("https://r/v2/a/", "u"), "https://r/v2/a/u");
    EXPECT_EQ(resolve("https://r/v2/", "https://s/x"), "https://s/x");
    EXPECT_EQ(resolve("http://r/v2/", "https://s/x"), "https://s/x");
    for (const char* const bad : {"http://r/x", "", "file:///x", "ftp://r/x", "https://u@r/x",
                                  "https://u:p@r/x", "https://", "https://r:99999/", "gopher://r"}) {
        EXPECT_EQ(resolve("https://r/v2/", bad), "none") << bad;
    }
    EXPECT_TRUE(has_same_origin("https://r/a", "https://R:443/b"));
    EXPECT_TRUE(has_same_origin("http://r:80", "http://r/"));
    for (const char* const other : {"http://r/", "https://r:444/", "https://s/", "https://r.s/", "", "r"}) {
        EXPECT_FALSE(has_same_origin("https://r/", other)) << other;
    }
    EXPECT_EQ(with_parameter("http://r/x", "digest=sha256:a"), "http://r/x?digest=sha256:a");
    EXPECT_EQ(with_parameter("http://r/x?y=%2F", "digest=sha256:a"), "http://r/x?y=%2F&digest=sha256:a");
}

}  // namespace
}  // namespace hull::container

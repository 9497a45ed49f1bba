// Pulling images from a registry on the loopback that does what it should, or lies.
#include "container/image/pull.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "container/layer/convert.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/http_server.h"
#include "tests/support/image_builder.h"
#include "tests/support/noise.h"
#include "tests/support/program.h"

namespace hull::container {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::BuiltImage;
using test::expect_error;
using test::HttpAnswer;
using test::HttpRequest;
using test::noise;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string after(const std::string& text, const std::string& mark) {
    const size_t place = text.find(mark);
    return place == std::string::npos ? "" : text.substr(place + mark.size());
}

/// Serves an image as app:1, and as library/nginx:latest; `twist` makes of an answer what it likes.
class FakeRegistry {
  public:
    using Twist = std::function<void(const HttpRequest&, HttpAnswer&)>;

    explicit FakeRegistry(BuiltImage image, Twist twist = nullptr)
        : image_{std::move(image)}, twist_{std::move(twist)}, server_{[this](const HttpRequest& request) {
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
    [[nodiscard]] const BuiltImage& image() const { return image_; }
    /// How often something of such a path was asked for.
    [[nodiscard]] int asked(const std::string& part) const {
        const auto all = server_.requests();
        return static_cast<int>(std::ranges::count_if(
            all, [&](const HttpRequest& request) { return request.path.find(part) != std::string::npos; }));
    }
    [[nodiscard]] std::vector<HttpRequest> requests() const { return server_.requests(); }

  private:
    HttpAnswer serve(const HttpRequest& request) const {
        const std::string manifest = after(request.path, "/manifests/");
        if (manifest == "1" || manifest == "latest" || manifest == test::digest_of(image_.manifest).text()) {
            return {.body = image_.manifest,
                    .headers = {std::string{"Content-Type: "} + BuiltImage::kManifestType}};
        }
        const auto blob = image_.blobs.find(after(request.path, "/blobs/"));
        if (blob != image_.blobs.end()) {
            return {.body = blob->second};
        }
        return {.status = 404,
                .body = R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})"};
    }

    BuiltImage image_;
    Twist twist_;
    test::HttpServer server_;
};

class PullTest : public testing::Test {
  protected:
    PullTest() : image_{{test::layer_of("a", noise(300'000, 1)), test::layer_of("b", "small")}} {}

    [[nodiscard]] fs::path root() const { return folder_.path() / "store"; }
    Pulled pull_from(const Reference& reference, const RegistryOptions& options) {
        Store store{root(), Store::Use::shared};
        return pull(store, reference, options, [this](const LayerProgress& progress) {
            phases_[progress.layer.text()].push_back(progress.phase);
        });
    }
    Pulled pull_from(const FakeRegistry& registry) { return pull_from(registry.reference(), options_); }
    [[nodiscard]] std::optional<StoredImage> find(const std::string& name) const {
        return Store{root(), Store::Use::shared}.find(name);
    }

    /// What has a place in the store is what it is called, and nothing else is there.
    void expect_whole() const {
        EXPECT_TRUE(fs::is_empty(root() / "tmp"));
        for (const auto& entry : fs::directory_iterator{root() / "blobs/sha256"}) {
            EXPECT_EQ(test::digest_of(test::contents_of(entry.path())).digits(), entry.path().filename());
        }
        EXPECT_NO_THROW((void)Store(root(), Store::Use::shared).list());
    }
    [[nodiscard]] bool has_images() const { return !Store{root(), Store::Use::shared}.list().empty(); }

    const test::TemporaryFolder folder_;
    const BuiltImage image_;
    RegistryOptions options_{.insecure = {}, .mirrors = {}, .credentials = {}, .patience = 5s};
    std::map<std::string, std::vector<LayerProgress::Phase>> phases_;
};

TEST_F(PullTest, AnImageComesWholeAndOnce) {
    const FakeRegistry registry{image_};
    const Pulled pulled = pull_from(registry);
    EXPECT_TRUE(pulled.is_new);
    EXPECT_EQ(pulled.image.text(), image_.id());
    EXPECT_EQ(pulled.manifest, test::digest_of(image_.manifest));
    const auto found = find(registry.reference().text());
    ASSERT_TRUE(found);
    ASSERT_EQ(found->layers.size(), 2U);
    // The disks are what the archives become, and the blobs are what came.
    const test::TemporaryFolder other;
    const std::string archive = test::layer_of("a", noise(300'000, 1));
    const UniqueFd disk{open((other.path() / "disk").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    convert_layer(test::source_of(archive), disk.get(), uint64_t{1} << 30U);
    EXPECT_EQ(test::contents_of(found->layers[0]), test::contents_of(other.path() / "disk"));
    const Store store{root(), Store::Use::shared};
    for (const auto& [digest, blob] : image_.blobs) {
        EXPECT_EQ(test::contents_of(store.blob(Digest::parse(digest).value())), blob);
    }
    using Phase = LayerProgress::Phase;
    EXPECT_EQ(phases_[image_.packed[0]].front(), Phase::waiting);
    EXPECT_EQ(phases_[image_.packed[0]].end()[-2], Phase::downloaded);
    EXPECT_EQ(phases_[image_.packed[0]].back(), Phase::complete);

    phases_.clear();
    EXPECT_FALSE(pull_from(registry).is_new);
    EXPECT_THAT(phases_[image_.packed[0]], ElementsAre(Phase::waiting, Phase::there));
    EXPECT_EQ(registry.asked("/blobs/"), 3) << "nothing that was there is fetched again";
    EXPECT_TRUE(pull_from(registry.reference("other:1"), options_).is_new) << "another name";
    expect_whole();
}

TEST_F(PullTest, ADigestAndAnIndexLeadToTheSameImage) {
    const std::string index = image_.index("amd64");
    const FakeRegistry registry{
        image_, [&](const HttpRequest& request, HttpAnswer& answer) {
            if (request.path.ends_with("/multi") || request.path.ends_with(test::digest_of(index).text())) {
                answer = {
                    .body = index,
                    .headers = {std::string{"Content-Type: "} + BuiltImage::kIndexType + "; charset=utf-8"}};
            }
        }};
    const Pulled by_tag = pull_from(registry.reference("app:multi"), options_);
    EXPECT_EQ(by_tag.image.text(), image_.id());
    EXPECT_EQ(by_tag.manifest, test::digest_of(index));
    const std::string name = "app@" + test::digest_of(index).text();
    EXPECT_TRUE(find(registry.host() + "/" + name)) << "a tag's digest is a name, too";
    EXPECT_FALSE(pull_from(registry.reference(name), options_).is_new);
    EXPECT_TRUE(
        pull_from(registry.reference("app@" + test::digest_of(image_.manifest).text()), options_).is_new);
    EXPECT_THAT(registry.requests().front().header("Accept"),
                testing::AllOf(HasSubstr("image.index.v1+json"), HasSubstr("manifest.list.v2+json"),
                               HasSubstr("image.manifest.v1+json"), HasSubstr("manifest.v2+json")));
}

TEST_F(PullTest, ALayerThatIsThereTwiceIsFetchedOnce) {
    const std::string archive = test::layer_of("a", "same");
    const FakeRegistry registry{BuiltImage{{archive, archive, archive}}};
    pull_from(registry);
    EXPECT_EQ(registry.asked("/blobs/"), 2);
    EXPECT_EQ(find(registry.reference().text())->layers.size(), 3U);
}

TEST_F(PullTest, ThatALayerUnpacksToAnotherIsNotBelievedSinceBothAreThere) {
    pull_from(FakeRegistry{image_});
    // An image whose configuration has the two the wrong way round, all of whose pieces are in the store.
    BuiltImage liar = image_;
    const auto descriptor = [](const BuiltImage& image) {
        return BuiltImage::descriptor("application/vnd.oci.image.config.v1+json", image.config);
    };
    const std::string before = descriptor(liar);
    const size_t first = liar.config.find(image_.unpacked[0]);
    const size_t second = liar.config.find(image_.unpacked[1]);
    liar.config.replace(second, image_.unpacked[1].size(), image_.unpacked[0]);
    liar.config.replace(first, image_.unpacked[0].size(), image_.unpacked[1]);
    liar.blobs[liar.id()] = liar.config;
    liar.manifest.replace(liar.manifest.find(before), before.size(), descriptor(liar));
    const FakeRegistry registry{liar};
    expect_error([&] { pull_from(registry); }, ExitStatus::bad_file, {"unpacked", "configuration says"});
    EXPECT_FALSE(find(registry.reference().text()));
    expect_whole();
}

TEST_F(PullTest, AStoreThatDoesNotKnowWhatUnpacksToWhatLooksAgain) {
    const FakeRegistry registry{image_};
    pull_from(registry);
    for (const auto& entry : fs::directory_iterator{root() / "unpacked/sha256"}) {
        std::ofstream{entry.path()} << "nothing";
    }
    phases_.clear();
    pull_from(registry);
    using Phase = LayerProgress::Phase;
    EXPECT_EQ(phases_[image_.packed[0]][1], Phase::converting);
    EXPECT_EQ(registry.asked("/blobs/"), 3) << "but does not fetch again";
    phases_.clear();
    pull_from(registry);
    EXPECT_THAT(phases_[image_.packed[0]], ElementsAre(Phase::waiting, Phase::there));
}

TEST_F(PullTest, WhatHadComeBeforeAFailureIsNotFetchedAgain) {
    bool is_broken = true;
    const FakeRegistry registry{image_, [&](const HttpRequest& request, HttpAnswer& answer) {
                                    if (is_broken && request.path.ends_with(image_.packed[0])) {
                                        answer.pause = 300ms;  // the other one is done meanwhile
                                        answer.bytes_between_pauses = answer.body.size() / 2;
                                        answer.said_size = answer.body.size();
                                        answer.body.resize(answer.body.size() / 2);
                                    }
                                }};
    expect_error([&] { pull_from(registry); }, ExitStatus::registry_failure, {"cannot pull", "app:1"});
    EXPECT_FALSE(has_images());
    expect_whole();
    is_broken = false;
    pull_from(registry);
    EXPECT_EQ(registry.asked(image_.packed[1]), 1);
    EXPECT_EQ(registry.asked(image_.packed[0]), 2);
}

/// A twist of the answer to one path.
FakeRegistry::Twist at(const std::string& path, std::function<void(HttpAnswer&)> what) {
    return [path, what = std::move(what)](const HttpRequest& request, HttpAnswer& answer) {
        if (request.path.find(path) != std::string::npos) {
            what(answer);
        }
    };
}

TEST_F(PullTest, ARegistryThatLiesOrFailsIsToldAndHurtsNothing) {
    struct Row {
        const char* what;
        FakeRegistry::Twist twist;
        ExitStatus status;
        std::vector<std::string> words;
    };
    const std::string layer = image_.packed[0];
    const auto bad = ExitStatus::bad_file;
    const auto failed = ExitStatus::registry_failure;
    for (const Row& row : {
             Row{"a layer with another digest",
                 at(layer, [](HttpAnswer& answer) { answer.body[4] = 'x'; }),  // gzip's time
                 bad,
                 {"not what its manifest says"}},
             Row{"a layer that is broken",
                 at(layer, [](HttpAnswer& answer) { answer.body[1000] ^= 1; }),
                 bad,
                 {"cannot unpack"}},
             Row{"a layer that is larger",
                 at(layer, [](HttpAnswer& answer) { answer.body += "more"; }),
                 bad,
                 {"larger"}},
             Row{"a layer that is smaller",
                 at(layer, [](HttpAnswer& answer) { answer.body.pop_back(); }),
                 bad,
                 {"smaller"}},
             Row{"an empty layer",
                 at(layer, [](HttpAnswer& answer) { answer.body.clear(); }),
                 bad,
                 {"smaller"}},
             Row{"a layer that breaks off",
                 at(layer,
                    [](HttpAnswer& answer) {
                        answer.said_size = answer.body.size();
                        answer.body.resize(100'000);
                    }),
                 failed,
                 {"cannot pull"}},
             Row{"a layer that is not there",
                 at(layer, [](HttpAnswer& answer) { answer.status = 404; }),
                 failed,
                 {"no such image"}},
             Row{"a layer that is forbidden",
                 at(layer, [](HttpAnswer& answer) { answer.status = 403; }),
                 failed,
                 {"access is denied", "docker login"}},
             Row{"a layer that stalls",
                 at(layer,
                    [](HttpAnswer& answer) {
                        answer.pause = 30s;
                        answer.bytes_between_pauses = 50'000;
                    }),
                 failed,
                 {"too slow"}},
             Row{"a layer that trickles",
                 at(layer,
                    [](HttpAnswer& answer) {
                        answer.pause = 50ms;
                        answer.bytes_between_pauses = 10;
                    }),
                 failed,
                 {"too slow"}},
             Row{"a configuration that is another",
                 at(image_.id(), [](HttpAnswer& answer) { answer.body[0] = ' '; }),
                 bad,
                 {"another digest"}},
             Row{"a configuration that is larger",
                 at(image_.id(), [](HttpAnswer& answer) { answer.body += ' '; }),
                 bad,
                 {"larger"}},
             Row{"an endless manifest",
                 at("/manifests/1", [](HttpAnswer& answer) { answer.body = std::string(5'000'000, ' '); }),
                 bad,
                 {"larger"}},
             Row{"no manifest",
                 at("/manifests/1", [](HttpAnswer& answer) { answer.body = "<html>"; }),
                 bad,
                 {"no JSON"}},
             Row{"an error with a message of its own",
                 at("/manifests/1",
                    [](HttpAnswer& answer) {
                        answer = {.status = 500, .body = "{\"errors\":[{\"message\":\"a\\n\\u001b[31mb\"}]}"};
                    }),
                 failed,
                 {"(a??[31mb)"}},
             Row{"an error without one",
                 at("/manifests/1", [](HttpAnswer& answer) { answer = {.status = 503}; }),
                 failed,
                 {"status 503"}},
             Row{"an index that leads to itself",
                 at("/manifests/",
                    [&, index = image_.index("amd64")](HttpAnswer& answer) { answer.body = index; }),
                 bad,
                 {"another digest"}},
             Row{"redirects without end",
                 at("/blobs/",
                    [](HttpAnswer& answer) {
                        answer = {.status = 307, .headers = {"Location: /v2/app/blobs/x"}};
                    }),
                 failed,
                 {"redirects"}},
             Row{"a redirect to a file",
                 at("/blobs/",
                    [](HttpAnswer& answer) {
                        answer = {.status = 307, .headers = {"Location: file:///etc/passwd"}};
                    }),
                 failed,
                 {"cannot pull"}},
             Row{"headers without end",
                 at("/blobs/",
                    [](HttpAnswer& answer) { answer.headers.assign(10, "X: " + std::string(60'000, 'x')); }),
                 failed,
                 {"cannot pull"}},
         }) {
        SCOPED_TRACE(row.what);
        std::error_code ignored;
        fs::remove_all(root(), ignored);
        const FakeRegistry registry{image_, row.twist};
        options_.patience = 1s;
        const auto error = test::error_of([&] { pull_from(registry); });
        ASSERT_TRUE(error) << "no error";
        EXPECT_EQ(error->status(), row.status) << error->what();
        EXPECT_THAT(error->what(), testing::Not(HasSubstr("\n")));
        for (const std::string& word : row.words) {
            EXPECT_THAT(error->what(), HasSubstr(word));
        }
        EXPECT_FALSE(has_images());
        expect_whole();
    }
}

TEST_F(PullTest, AnImageThatDoesNotFitTogetherIsRefused) {
    // Another archive than the configuration says; fewer layers; another architecture; a layer that leads
    // out.
    struct Row {
        BuiltImage image;
        std::string_view word;
    };
    const std::string good = test::layer_of("a", "1");
    const auto with_config = [](BuiltImage image, const std::string& from, const std::string& to) {
        const std::string before =
            BuiltImage::descriptor("application/vnd.oci.image.config.v1+json", image.config);
        image.config.replace(image.config.find(from), from.size(), to);
        image.blobs[image.id()] = image.config;
        const std::string now =
            BuiltImage::descriptor("application/vnd.oci.image.config.v1+json", image.config);
        image.manifest.replace(image.manifest.find(before), before.size(), now);
        return image;
    };
    const BuiltImage image{{good}};
    for (const Row& row : {
             Row{with_config(image, image.unpacked[0], "sha256:" + std::string(64, 'a')), "unpacked"},
             Row{with_config(image, "\"" + image.unpacked[0] + "\"", ""), "another number of layers"},
             Row{BuiltImage({good}, "arm64"), "another architecture"},
             Row{BuiltImage({test::layer_of("../../outside", "1")}), "outside"},
             Row{BuiltImage({"no archive at all" + std::string(1024, 'x')}), "layer"},
         }) {
        SCOPED_TRACE(row.word);
        const FakeRegistry registry{row.image};
        expect_error([&] { pull_from(registry); }, ExitStatus::bad_file, {row.word});
        EXPECT_FALSE(has_images());
        EXPECT_TRUE(fs::is_empty(root() / "layers/sha256"));
        expect_whole();
    }
}

TEST_F(PullTest, AuthorizationIsGivenWhereItBelongsAndNowhereElse) {
    const std::string secret = "dXNlcjpzZWNyZXQ=";
    const test::HttpServer elsewhere{[&](const HttpRequest& request) {
        return HttpAnswer{.body = image_.blobs.at(after(request.path, "/"))};
    }};
    std::string host;
    const FakeRegistry registry{
        image_, [&](const HttpRequest& request, HttpAnswer& answer) {
            if (request.path.starts_with("/token?")) {
                const bool is_right = request.header("Authorization") == "Basic " + secret &&
                                      request.path.find("scope=repository:app:pull") != std::string::npos &&
                                      request.path.find("service=the%20registry") != std::string::npos;
                answer = {.status = is_right ? 200 : 403, .body = R"({"token":"abc.def"})"};
            } else if (request.header("Authorization") != "Bearer abc.def") {
                answer = {.status = 401,
                          .headers = {"WWW-Authenticate: Bearer realm=\"http://" + host +
                                      R"(/token",service="the registry",scope="repository:app:pull")"}};
            } else if (request.path.find("/blobs/") != std::string::npos) {
                answer = {.status = 307,
                          .headers = {"Location: http://" + elsewhere.host() + "/" +
                                      after(request.path, "/blobs/")}};
            }
        }};
    host = registry.host();
    expect_error([&] { pull_from(registry); }, ExitStatus::registry_failure,
                 {"cannot pull", "access is denied", "docker login"});
    options_.credentials =
        folder_.file("config.json", R"({"auths":{")" + host + R"(":{"auth":")" + secret + R"("}}})");
    pull_from(registry);
    EXPECT_TRUE(find(registry.reference().text()));
    ASSERT_EQ(elsewhere.requests().size(), 3U);
    for (const HttpRequest& request : elsewhere.requests()) {
        EXPECT_EQ(request.header("Authorization"), "") << "of no business there";
    }
}

TEST_F(PullTest, ATokenIsTakenFromNowhereStrange) {
    struct Row {
        std::string realm;
        std::string token;
        std::string word;
    };
    for (const Row& row : {
             Row{"file:///etc/passwd", "", "no TLS"},
             Row{"", "", "no TLS"},
             Row{"HERE", R"({"token":"a\r\nX-Other: b"})", "no token"},
             Row{"HERE", R"({"token":""})", "no token"},
             Row{"HERE", R"({"token":1})", "token"},
             Row{"HERE", "nothing", "no JSON"},
         }) {
        SCOPED_TRACE(row.realm + row.token);
        std::string host;
        const FakeRegistry registry{
            image_, [&](const HttpRequest& request, HttpAnswer& answer) {
                answer = {.body = row.token};
                if (!request.path.starts_with("/token")) {
                    const std::string where = row.realm == "HERE" ? "http://" + host + "/token" : row.realm;
                    answer = {.status = 401, .headers = {"WWW-Authenticate: Bearer realm=\"" + where + "\""}};
                }
            }};
        host = registry.host();
        const auto error = test::error_of([&] { pull_from(registry); });
        ASSERT_TRUE(error);
        EXPECT_THAT(error->what(), HasSubstr(row.word));
    }
}

TEST_F(PullTest, BasicAuthenticationIsAnsweredWithWhatDockerKnows) {
    const FakeRegistry registry{image_, [](const HttpRequest& request, HttpAnswer& answer) {
                                    if (request.header("Authorization") != "Basic YTpi") {
                                        answer = {.status = 401,
                                                  .headers = {"WWW-Authenticate: Basic realm=\"r\""}};
                                    }
                                }};
    expect_error([&] { pull_from(registry); }, ExitStatus::registry_failure, {"no credentials"});
    const auto write = [&](const std::string& auth) {
        options_.credentials = folder_.file(
            "config.json", R"({"auths":{")" + registry.host() + R"(":{"auth":")" + auth + R"("}}})");
    };
    write("eDp5");
    expect_error([&] { pull_from(registry); }, ExitStatus::registry_failure, {"access is denied"});
    write("YTpi");
    pull_from(registry);
    EXPECT_TRUE(has_images());
}

TEST_F(PullTest, AMirrorStandsInForTheHubAndIsPassedOverWhereItFails) {
    const FakeRegistry broken{image_,
                              [](const HttpRequest&, HttpAnswer& answer) { answer = {.status = 500}; }};
    const FakeRegistry good{image_};
    options_.mirrors = {"http://" + broken.host(), "http://" + good.host() + "/"};
    pull_from(Reference::parse("nginx"), options_);
    EXPECT_EQ(broken.requests().size(), 1U);
    EXPECT_EQ(good.asked("/v2/library/nginx/"), 4);
    EXPECT_TRUE(find("nginx"));
    EXPECT_TRUE(find("nginx:latest"));
    // Others' images are not asked of it.
    const FakeRegistry other{image_};
    pull_from(other.reference(), options_);
    EXPECT_EQ(good.requests().size(), 4U);
    for (const char* const url :
         {"ftp://a", "a", "http://", "http://u:p@h", "http://h?x", "http://h\r\nX:"}) {
        options_.mirrors = {url};
        expect_error([&] { pull_from(Reference::parse("nginx"), options_); }, ExitStatus::usage,
                     {"--registry-mirror"});
    }
}

TEST_F(PullTest, WhoIsNotThereIsNamed) {
    std::string host;
    {
        const FakeRegistry gone{image_};
        host = gone.host();
    }
    expect_error([&] { pull_from(Reference::parse(host + "/app"), options_); }, ExitStatus::registry_failure,
                 {"cannot pull " + host + "/app:latest", host});
}

TEST_F(PullTest, TwoAtOnceAreInNobodysWay) {
    const FakeRegistry registry{image_, [](const HttpRequest&, HttpAnswer& answer) {
                                    answer.pause = 20ms;
                                    answer.bytes_between_pauses = 50'000;
                                }};
    {
        std::vector<std::jthread> others;
        for (int count = 0; count < 3; ++count) {
            others.emplace_back([&] {
                Store store{root(), Store::Use::shared};
                EXPECT_NO_THROW(pull(store, registry.reference(), options_, [](const LayerProgress&) {}));
            });
        }
    }
    expect_whole();
    EXPECT_TRUE(find(registry.reference().text()));
}

TEST_F(PullTest, AKillAtAnyMomentLeavesTheStoreWhole) {
    const FakeRegistry registry{image_, [](const HttpRequest&, HttpAnswer& answer) {
                                    answer.pause = 5ms;
                                    answer.bytes_between_pauses = 60'000;
                                }};
    const std::string name = registry.reference().text();
    constexpr int kKills = 12;
    for (int kill = 0; kill < kKills; ++kill) {
        test::Program hulld{{HULL_DAEMON, "pull", "--data-root", root().string(), name}};
        std::this_thread::sleep_for(std::chrono::milliseconds{20 * (kill + 1)});
        hulld.end(SIGKILL);
        { const Store opened{root(), Store::Use::shared}; }
        expect_whole();
    }
    pull_from(registry);
    EXPECT_EQ(find(name)->id.text(), image_.id());
    Store store{root(), Store::Use::shared};
    store.remove(name, false);
    store.collect();
    EXPECT_TRUE(fs::is_empty(root() / "blobs/sha256"));
    EXPECT_TRUE(fs::is_empty(root() / "layers/sha256"));
    EXPECT_TRUE(fs::is_empty(root() / "unpacked/sha256"));
}

}  // namespace
}  // namespace hull::container

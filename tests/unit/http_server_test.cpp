// What clients of the daemon may send, and what they are answered.
#include "container/api/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "container/api/filters.h"
#include "container/api/registry_login.h"
#include "tests/support/api_client.h"

namespace hull::container {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RequestTarget, HasAVersionAPathAndAQuery) {
    const auto plain = RequestTarget::parse("/images/json");
    EXPECT_EQ(plain.version, kApiVersion);
    EXPECT_EQ(plain.path, "/images/json");
    EXPECT_TRUE(plain.query.empty());
    const auto several = RequestTarget::parse("/images/get?names=a&x=&names=b%3a1");
    EXPECT_EQ(several.find_all("names"), (std::vector<std::string>{"a", "b:1"}));
    EXPECT_EQ(several.find("names"), "a");
    EXPECT_TRUE(several.find_all("nothing").empty());

    const auto whole =
        RequestTarget::parse("/v1.24/images/a%2Fb/json?all=1&filters=%7B%7D&t=a+b&none&all=0&x=");
    EXPECT_EQ(whole.version, 24U);
    EXPECT_EQ(whole.path, "/images/a/b/json");
    EXPECT_EQ(whole.find("filters"), "{}");
    EXPECT_EQ(whole.find("t"), "a b");
    EXPECT_EQ(whole.find("none"), "");
    EXPECT_EQ(whole.find("x"), "");
    EXPECT_EQ(whole.find("missing"), std::nullopt);
    EXPECT_TRUE(whole.is_set("all"));
    EXPECT_EQ(whole.between("/images/", "/json"), "a/b");
    EXPECT_EQ(whole.between("/images/a/b", "/json"), std::nullopt) << "nothing is between";
    EXPECT_EQ(whole.between("/images/", "/history"), std::nullopt);
    EXPECT_EQ(RequestTarget::parse("/vacuum/x").path, "/vacuum/x");
    EXPECT_EQ(RequestTarget::parse("/v1.44").path, "/v1.44") << "nothing is behind it";
    for (const char* no : {"0", "False", "NO", "none", ""}) {
        EXPECT_FALSE(RequestTarget::parse(std::string{"/?f="} + no).is_set("f")) << no;
    }
    for (const char* yes : {"1", "True", "yes", "2"}) {
        EXPECT_TRUE(RequestTarget::parse(std::string{"/?f="} + yes).is_set("f")) << yes;
    }
}

TEST(RequestTarget, RefusesWhatIsMalformedOrOfAnotherTime) {
    const std::pair<const char*, const char*> rows[] = {
        {"", "slash"},
        {"images", "slash"},
        {"/%", "escape"},
        {"/%4", "escape"},
        {"/%4g", "escape"},
        {"/%-1", "escape"},
        {"/a%00b", "NUL"},
        {"/?a=%00", "NUL"},
        {"/?%zz=1", "escape"},
        {"/v1.45/_ping", "client version 1.45 is too new. Maximum supported API version is 1.44"},
        {"/v2.1/_ping", "too new"},
        {"/v1.23/_ping", "client version 1.23 is too old. Minimum supported API version is 1.24"},
        {"/v0.99/_ping", "too new"},
        {"/v0.30/_ping", "too old"},
    };
    for (const auto& [text, told] : rows) {
        try {
            RequestTarget::parse(text);
            ADD_FAILURE() << text;
        } catch (const ApiError& error) {
            EXPECT_EQ(error.status(), 400U);
            EXPECT_THAT(error.what(), HasSubstr(told)) << text;
        }
    }
}

TEST(Filters, ComeInTwoForms) {
    EXPECT_TRUE(parse_filters("").empty());
    EXPECT_TRUE(parse_filters("{}").empty());
    const Filters wanted{{"label", {"a=b", "c"}}, {"dangling", {"true"}}};
    EXPECT_EQ(parse_filters(R"({"label":["a=b","c"],"dangling":["true"]})"), wanted);
    EXPECT_EQ(parse_filters(R"({"label":{"a=b":true,"c":true,"no":false},"dangling":{"true":true}})"),
              wanted);
    for (const char* bad : {"x", "[]", "1", "{\"a\":1}", "{\"a\":[1]}", "{\"a\":null}", "{", "{}x"}) {
        EXPECT_THROW(parse_filters(bad), ApiError) << bad;
    }
    EXPECT_THROW(parse_filters(std::string(100'000, '[')), ApiError);
}

TEST(RegistryLogin, IsANameAndAPassword) {
    EXPECT_EQ(parse_registry_login(""), "");
    EXPECT_EQ(parse_registry_login("e30="), "") << "{}";
    EXPECT_EQ(parse_registry_login("e30"), "") << "without padding";
    // {"username":"user","password":"pa?ss~>"}: in base64, in that of addresses, and what becomes of it.
    EXPECT_EQ(parse_registry_login("eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6InBhP3Nzfj4ifQ=="),
              "dXNlcjpwYT9zc34+");
    EXPECT_EQ(parse_registry_login("eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6InBhP3Nzfj4ifQ"),
              "dXNlcjpwYT9zc34+");
    for (const char* bad : {"e", "!!!!", "bm9uc2Vuc2U=", "W10=",
                            "eyJ1c2VybmFtZSI6MX0=",                             // a name that is a number
                            "eyJpZGVudGl0eXRva2VuIjoiYSJ9",                     // an identity token
                            "eyJ1c2VybmFtZSI6ImE6YiIsInBhc3N3b3JkIjoiIn0="}) {  // a colon in the name
        EXPECT_THROW(parse_registry_login(bad), ApiError) << bad;
    }
    EXPECT_THROW(parse_registry_login(std::string(100'000, 'A')), ApiError);
}

std::atomic<int> ended_waits = 0;

void answer(ApiCall& call) {
    const std::string& path = call.target().path;
    if (path == "/echo" && call.is("POST")) {
        call.send(call.body());
    } else if (path == "/text" && call.is("GET")) {
        call.send_text("some text");
    } else if (path == "/nothing") {
        call.send_nothing();
    } else if (path == "/pieces") {
        call.begin("application/json");
        call.write("one\n");
        call.write("");
        call.write("two\n");
    } else if (path == "/much") {
        call.begin("text/plain");
        while (call.write(std::string(100'000, 'm'))) {
        }
    } else if (path == "/late") {
        call.begin("text/plain");
        throw ApiError{500, "too late to tell"};
    } else if (path == "/same") {
        throw ApiError{304, ""};
    } else if (path == "/stream") {
        const ApiCall::Hijacked client = call.hijack(call.target().is_set("frames"));
        test::write_all(client.socket.get(), "[" + client.first + "]");
        char part[100];
        for (ssize_t got = 0; (got = recv(client.socket.get(), part, sizeof part, 0)) > 0;) {
            test::write_all(client.socket.get(), std::string(part, static_cast<size_t>(got)));
        }
        test::write_all(client.socket.get(), "end");
    } else if (path == "/broken-stream") {
        const ApiCall::Hijacked client = call.hijack(false);
        throw ApiError{500, "too late to tell"};
    } else if (path == "/count") {  // the body's bytes, and of which sum
        std::array<std::byte, 1000> room;
        size_t count = 0;
        unsigned sum = 0;
        while (const size_t got = call.read_body(room)) {
            count += got;
            for (const std::byte byte : std::span{room}.first(got)) {
                sum += std::to_integer<unsigned>(byte);
            }
        }
        call.send_text(std::to_string(count) + " of " + std::to_string(sum) + ".");
    } else if (path == "/count-not") {
        throw ApiError{400, "no need for that"};
    } else if (path == "/wait" || path == "/wait-a-little") {
        const UniqueFd never = make_eventfd();
        constexpr std::chrono::milliseconds kLittle{20};
        const auto until =
            path == "/wait" ? Connection::Clock::time_point::max() : Connection::Clock::now() + kLittle;
        call.begin("text/plain");
        const Connection::Wake wake = call.wait_for(never.get(), until);
        ended_waits += wake == Connection::Wake::ended ? 1 : 0;
        call.write(wake == Connection::Wake::timed_out ? "time is up" : "nobody is there");
    } else if (path == "/error") {
        throw Error{ExitStatus::bad_file, "cannot do it", "it is broken"};
    } else {
        throw ApiError{404, "page not found"};
    }
}

class HttpServerTest : public testing::Test {
  protected:
    [[nodiscard]] std::string ask(std::string_view bytes) const { return rig_.ask(bytes); }
    [[nodiscard]] UniqueFd connect() const { return rig_.connect(); }

    test::ApiRig rig_{answer, [](std::string_view method, const RequestTarget& target) {
                          return method == "POST" && target.path.starts_with("/count");
                      }};
};

TEST_F(HttpServerTest, ABodyOfAnySizeComesPieceByPiece) {
    const auto post = [&](const std::string& path, const std::string& headers, const std::string& body) {
        return ask("POST " + path + " HTTP/1.1\r\n" + headers + "\r\n" + body);
    };
    const auto length = [](size_t bytes) { return "Content-Length: " + std::to_string(bytes) + "\r\n"; };
    EXPECT_THAT(post("/count", length(0), ""), testing::EndsWith("\r\n\r\n0 of 0."));
    EXPECT_THAT(post("/count", length(3), "\1\2\3"), testing::EndsWith("3 of 6."));
    const std::string large(9'000'000, '\1');
    EXPECT_THAT(post("/count", length(large.size()), large), testing::EndsWith("9000000 of 9000000."));
    EXPECT_THAT(post("/echo", length(large.size()), large), HasSubstr(" 413 ")) << "another's may not";
    const std::string chunks = "2\r\n\1\2\r\n1;x=y\r\n\3\r\n0\r\n\r\n";
    EXPECT_THAT(post("/count", "Transfer-Encoding: chunked\r\n", chunks + "GET /text HTTP/1.1\r\n\r\n"),
                testing::AllOf(HasSubstr("3 of 6."), testing::EndsWith("some text")))
        << "the next request is found behind it";
    EXPECT_THAT(post("/count", length(3) + "Expect: 100-continue\r\n", "\1\2\3"),
                testing::AllOf(testing::StartsWith("HTTP/1.1 100 Continue\r\n"), HasSubstr("3 of 6.")));
}

TEST_F(HttpServerTest, ABodyThatIsBrokenOrNotWantedIsAnAnswer) {
    const auto post = [&](const std::string& path, const std::string& rest) {
        return ask("POST " + path + " HTTP/1.1\r\n" + rest);
    };
    EXPECT_THAT(post("/count", "Content-Length: 10\r\n\r\nabc"),
                testing::AllOf(HasSubstr(" 400 "), HasSubstr("ends early")));
    for (const char* const bad : {"zz\r\n", "2\r\nabc\r\n", "ffffffffffffffffff\r\n", "-1\r\n", "2\r\na"}) {
        EXPECT_THAT(post("/count", std::string{"Transfer-Encoding: chunked\r\n\r\n"} + bad),
                    testing::AllOf(HasSubstr(" 400 "), HasSubstr("ends early")))
            << bad;
    }
    // What nobody wanted is read all the same, so that the client comes to its answer.
    const std::string large(3'000'000, 'x');
    EXPECT_THAT(
        post("/count-not", "Content-Length: 3000000\r\n\r\n" + large + "GET /text HTTP/1.1\r\n\r\n"),
        testing::AllOf(HasSubstr(" 400 "), HasSubstr("no need for that"), testing::EndsWith("some text")));
}

TEST_F(HttpServerTest, AnswersOneRequestAfterTheOther) {
    const std::string text =
        ask("GET /text HTTP/1.1\r\nHost: x\r\n\r\n"
            "HEAD /v1.30/text HTTP/1.1\r\n\r\n"
            "POST /echo HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"a\":1}"
            "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
            "DELETE /nothing HTTP/1.1\r\nConnection: close\r\n\r\n"
            "GET /text HTTP/1.1\r\n\r\n");
    EXPECT_THAT(text, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
    for (const char* field :
         {"Api-Version: 1.44\r\n", "Ostype: linux\r\n", "Server: Hull/", "Docker-Experimental: false\r\n",
          "\r\n\r\nsome textHTTP/1.1 200 OK\r\n", "Content-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n",
          "{\"a\":1}\n", "[1,2]\n", "HTTP/1.1 204 No Content\r\n"}) {
        EXPECT_THAT(text, HasSubstr(field));
    }
    EXPECT_THAT(text, testing::EndsWith("\r\n\r\n"));
    EXPECT_THAT(text.substr(text.find("204")), Not(HasSubstr("Content-Length")));
}

TEST_F(HttpServerTest, SendsPiecesAsTheyCome) {
    const std::string text = ask("GET /pieces HTTP/1.1\r\n\r\nGET /text HTTP/1.1\r\n\r\n");
    EXPECT_THAT(text, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_THAT(text, HasSubstr("\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\nHTTP/1.1 200"));
    EXPECT_THAT(text, testing::EndsWith("some text"));
}

TEST_F(HttpServerTest, SaysWhatIsWrong) {
    const std::string long_field = "GET /text HTTP/1.1\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n";
    const std::string deep =
        "POST /echo HTTP/1.1\r\nContent-Length: 80\r\n\r\n" + std::string(40, '[') + std::string(40, ']');
    const std::pair<std::string, std::vector<const char*>> rows[] = {
        {"GET /else HTTP/1.1\r\n\r\n", {" 404 ", R"({"message":"page not found"})"}},
        {"PUT /text HTTP/1.1\r\n\r\n", {" 404 "}},
        {"GET /error HTTP/1.1\r\n\r\n", {" 500 ", "cannot do it: it is broken"}},
        {"GET /v1.99/text HTTP/1.1\r\n\r\n", {" 400 ", "too new"}},
        {"GET /%% HTTP/1.1\r\n\r\n", {" 400 ", "escape"}},
        {"GET text HTTP/1.1\r\n\r\n", {" 400 "}},
        {"nonsense\r\n\r\n", {" 400 ", "the request is no HTTP"}},
        {"GET /text HTTP/9.9\r\n\r\n", {" 400 "}},
        {std::string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11}, {" 400 "}},
        {"GET /text HTTP/1.1\r\nno colon\r\n\r\n", {" 400 "}},
        {long_field, {" 431 ", "64 KiB"}},
        {"POST /echo HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", {" 413 ", "4 MiB"}},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + std::string(5'000'000, 'c'),
         {" 413 "}},
        {"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", {" 400 "}},
        {"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", {" 400 "}},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", {" 400 "}},
        {"POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\n{a}", {" 400 ", "no JSON"}},
        {deep, {" 400 ", "no JSON"}},
    };
    for (const auto& [request, told] : rows) {
        const std::string text = ask(request);
        for (const char* each : told) {
            EXPECT_THAT(text, HasSubstr(each)) << request.substr(0, 60);
        }
        EXPECT_THAT(text, HasSubstr("Api-Version: 1.44")) << request.substr(0, 60);
    }
    EXPECT_EQ(ask(""), "");
    EXPECT_EQ(ask("GET /te"), "") << "what ends in the middle has nobody to answer to";
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"), "");
    EXPECT_THAT(ask("GET /late HTTP/1.1\r\n\r\nGET /text HTTP/1.1\r\n\r\n"), Not(HasSubstr("some text")))
        << "an answer that broke off is the connection's last";
    EXPECT_THAT(ask("GET /text HTTP/1.1\r\n\r\n"), HasSubstr("some text")) << "it serves on";
}

TEST_F(HttpServerTest, AsksForABodyThatWaitsToBeAskedFor) {
    const UniqueFd fd = connect();
    test::write_all(fd.get(), "POST /echo HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    char part[200];
    ssize_t got = recv(fd.get(), part, sizeof part, 0);
    EXPECT_EQ(std::string(part, static_cast<size_t>(std::max<ssize_t>(got, 0))),
              "HTTP/1.1 100 Continue\r\n\r\n");
    test::write_all(fd.get(), "[]");
    got = recv(fd.get(), part, sizeof part, 0);
    EXPECT_THAT(std::string(part, static_cast<size_t>(std::max<ssize_t>(got, 0))),
                HasSubstr("HTTP/1.1 200 OK"));
}

TEST_F(HttpServerTest, GivesAConnectionUp) {
    const std::string upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: TCP\r\n";
    const std::string body = "Content-Length: 2\r\n\r\n{}";
    const std::pair<std::string, std::vector<const char*>> rows[] = {
        {"POST /v1.41/stream HTTP/1.1\r\n" + upgrade + body,
         {"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
          "Connection: Upgrade\r\nUpgrade: tcp\r\n"}},
        {"POST /v1.42/stream?frames=1 HTTP/1.1\r\n" + upgrade + body,
         {"101 UPGRADED", "application/vnd.docker.multiplexed-stream\r\n"}},
        {"POST /v1.41/stream?frames=1 HTTP/1.1\r\n" + upgrade + body,
         {"101 UPGRADED", "application/vnd.docker.raw-stream\r\n"}},
        {"POST /v1.42/stream HTTP/1.1\r\n" + upgrade + body,
         {"101 UPGRADED", "application/vnd.docker.raw-stream\r\n"}},
        {"POST /v1.44/stream?frames=1 HTTP/1.1\r\n" + body,
         {"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"}},
        {"POST /v1.44/stream HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + body, {" 200 OK\r\n"}},
    };
    for (const auto& [request, told] : rows) {
        const std::string text = ask(request + "GET /text HTTP/1.1\r\n\r\n");
        for (const char* each : told) {
            EXPECT_THAT(text, HasSubstr(each)) << request;
        }
        EXPECT_THAT(text, HasSubstr("Api-Version: 1.44\r\n\r\n[")) << request;
        // What came behind the request is the stream's, at once or later, and nobody answers it.
        const std::string stream = text.substr(text.find("\r\n\r\n[") + 5);
        std::string plain;
        std::ranges::copy_if(stream, std::back_inserter(plain), [](char each) { return each != ']'; });
        EXPECT_EQ(plain, "GET /text HTTP/1.1\r\n\r\nend") << request;
    }
    EXPECT_THAT(ask("POST /broken-stream HTTP/1.1\r\n" + upgrade + body),
                testing::AllOf(HasSubstr("101 UPGRADED"), Not(HasSubstr("too late"))));
    EXPECT_THAT(
        ask("GET /same HTTP/1.1\r\n\r\nGET /text HTTP/1.1\r\n\r\n"),
        testing::AllOf(HasSubstr("304 Not Modified"), Not(HasSubstr("message")), HasSubstr("some text")));
}

TEST_F(HttpServerTest, WaitsNoLongerThanSomebodyDoes) {
    EXPECT_THAT(ask("GET /text HTTP/1.1\r\n\r\n"), HasSubstr("some text"));
    ended_waits = 0;
    {
        // Its answer begins at once, and more requests do not end the wait.
        const UniqueFd fd = connect();
        test::write_all(fd.get(), "GET /wait-a-little HTTP/1.1\r\n\r\nGET /wait HTTP/1.1\r\n\r\n");
        std::string text;
        while (text.find("time is up") == std::string::npos || text.find("200 OK") == text.rfind("200 OK")) {
            char part[4096];
            const ssize_t got = recv(fd.get(), part, sizeof part, 0);
            ASSERT_GT(got, 0) << text;
            text.append(part, static_cast<size_t>(got));
        }
        EXPECT_EQ(ended_waits, 0);
    }
    for (int tries = 0; ended_waits == 0 && tries < 500; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    EXPECT_EQ(ended_waits, 1) << "its client has gone";
    const UniqueFd waits = connect();
    test::write_all(waits.get(), "GET /wait HTTP/1.1\r\n\r\n");
    char byte = 0;
    EXPECT_EQ(recv(waits.get(), &byte, 1, 0), 1);
    rig_.end();
    EXPECT_EQ(ended_waits, 2) << "the server has stopped";
}

TEST_F(HttpServerTest, ManyAreServedAtOnceAndTheRestWait) {
    std::vector<UniqueFd> silent;
    for (size_t number = 0; number < HttpServer::kMostConnections - 1; ++number) {
        silent.push_back(connect());
    }
    EXPECT_THAT(ask("GET /text HTTP/1.1\r\n\r\n"), HasSubstr("some text"));
    silent.push_back(connect());
    const UniqueFd waits = connect();
    test::write_all(waits.get(), "GET /text HTTP/1.1\r\n\r\n");
    char part[4096];
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    EXPECT_LT(recv(waits.get(), part, sizeof part, MSG_DONTWAIT), 0);
    silent.pop_back();
    EXPECT_GT(recv(waits.get(), part, sizeof part, 0), 0);
    silent.push_back(connect());
    rig_.end();  // full as it is
}

TEST_F(HttpServerTest, EndsWhateverItsClientsDo) {
    const UniqueFd silent = connect();
    const UniqueFd half = connect();
    test::write_all(half.get(), "GET /te");
    const UniqueFd deaf = connect();
    test::write_all(deaf.get(), "GET /much HTTP/1.1\r\n\r\n");
    EXPECT_THAT(ask("GET /text HTTP/1.1\r\n\r\n"), HasSubstr("some text"));
    rig_.end();
    char byte = 0;
    EXPECT_EQ(recv(silent.get(), &byte, 1, 0), 0);
}

}  // namespace
}  // namespace hull::container

// What docker's clients are answered about containers, whose supervisors have no machines here.
#include "container/api/container_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <boost/json/parse.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "container/api/container_streams.h"
#include "container/api/engine.h"
#include "container/supervisor/log.h"
#include "container/supervisor/stream_frame.h"
#include "tests/support/api_client.h"
#include "tests/support/fake_supervisor.h"
#include "tests/support/image_store.h"

namespace hull::container {
namespace {

namespace json = boost::json;
using test::FakeSupervisor;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

std::string body_of(const std::string& answer) {
    return answer.substr(std::min(answer.size(), answer.find("\r\n\r\n") + 4));
}

/// The time of day on which nothing here depends.
constexpr std::chrono::seconds kPatience{20};

/// A client that stays, and what it has got so far.
class Client {
  public:
    Client(const test::ApiRig& rig, const std::string& request) : fd_{rig.connect()} {
        const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        test::write_all(fd_.get(), request);
    }
    /// All that has come when `text` has.
    const std::string& until(const std::string& text) {
        char part[4096];
        while (got_.find(text) == std::string::npos) {
            const ssize_t count = recv(fd_.get(), part, sizeof part, 0);
            if (count <= 0) {
                ADD_FAILURE() << "'" << text << "' does not come, but: " << got_;
                break;
            }
            got_.append(part, static_cast<size_t>(count));
        }
        return got_;
    }
    /// All that comes until the connection ends.
    const std::string& whole() {
        char part[4096];
        for (ssize_t count = 0; (count = recv(fd_.get(), part, sizeof part, 0)) > 0;) {
            got_.append(part, static_cast<size_t>(count));
        }
        return got_;
    }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    UniqueFd fd_;
    std::string got_;
};

class ContainerApiTest : public testing::Test {
  protected:
    ContainerApiTest() {
        test::store_image(store_, "box", {std::string(1024, '\0')}, R"("config":{"Cmd":["sh"]})");
    }

    static std::string post(const std::string& path, const std::string& body = "",
                            const std::string& headers = "") {
        return "POST /v1.44" + path + " HTTP/1.1\r\n" + headers +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    [[nodiscard]] std::string ask_post(const std::string& path, const std::string& body = "") const {
        return rig_.ask(post(path, body));
    }
    [[nodiscard]] std::string get(const std::string& path) const { return rig_.request("GET /v1.44" + path); }
    std::string create(const std::string& name, const std::string& body = R"({"Image":"box"})") {
        const std::string answer = ask_post("/containers/create?name=" + name, body);
        EXPECT_THAT(answer, HasSubstr(" 201 ")) << answer;
        return std::string{json::parse(body_of(answer)).at("Id").as_string()};
    }
    std::string start(const std::string& name, const std::string& body = R"({"Image":"box"})") {
        std::string id = create(name, body);
        EXPECT_THAT(ask_post("/containers/" + name + "/start"), HasSubstr(" 204 "));
        return id;
    }
    json::value inspect(const std::string& name) {
        return json::parse(body_of(get("/containers/" + name + "/json")));
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path() / "root", Store::Use::alone};
    Events events_;
    test::FakeSupervisors supervisors_;
    Containers containers_{store_.root(), store_, GuestKernel{"/kernel", {}}, events_,
                           [this](const ContainerFiles& files) { supervisors_.start(files); }};
    Engine engine_{store_, {.insecure = {}, .mirrors = {}, .credentials = {}}, containers_, events_};
    test::ApiRig rig_{[this](ApiCall& call) { engine_.answer(call); }};
};

TEST_F(ContainerApiTest, AContainerFromItsCreationToItsEnd) {
    const std::string id = create("one", R"({"Image":"box","Labels":{"a":"b"}})");
    EXPECT_EQ(id.size(), 64U);
    EXPECT_EQ(inspect("one").at_pointer("/State/Status"), "created");
    EXPECT_EQ(inspect("one").at_pointer("/Config/Hostname").as_string(), id.substr(0, 12));
    EXPECT_THAT(get("/containers/json"), testing::EndsWith("[]\n"));
    EXPECT_THAT(get("/containers/json?all=1"), HasSubstr(R"("Names":["/one"])"));
    EXPECT_THAT(ask_post("/containers/one/start"), HasSubstr(" 204 "));
    EXPECT_THAT(ask_post("/containers/one/start"), AllOf(HasSubstr(" 304 "), Not(HasSubstr("message"))));
    EXPECT_THAT(get("/containers/json"), HasSubstr(R"("State":"running")"));
    EXPECT_EQ(inspect(id.substr(0, 5)).at_pointer("/State/Running"), true);
    EXPECT_THAT(ask_post("/containers/one/pause"), HasSubstr(" 204 "));
    EXPECT_THAT(ask_post("/containers/one/attach?stream=1"), HasSubstr(" 409 "));
    EXPECT_THAT(ask_post("/containers/one/unpause"), HasSubstr(" 204 "));
    EXPECT_THAT(ask_post("/containers/one/kill?signal=SIGUSR1x"),
                AllOf(HasSubstr(" 400 "), HasSubstr("Invalid signal: SIGUSR1x")));
    EXPECT_THAT(ask_post("/containers/one/resize?h=5&w=9"), HasSubstr(" 200 "));
    EXPECT_THAT(ask_post("/containers/one/rename?name=two"), HasSubstr(" 204 "));
    EXPECT_THAT(rig_.request("DELETE /containers/two"), HasSubstr(" 409 "));
    EXPECT_THAT(ask_post("/containers/two/stop?t=1&signal=INT"), HasSubstr(" 204 "));
    EXPECT_THAT(supervisors_.wait_for(1).asked(), AllOf(Contains("signal 2"), Contains("resize")));
    EXPECT_THAT(ask_post("/containers/two/stop"), HasSubstr(" 304 "));
    EXPECT_EQ(inspect("two").at_pointer("/State/ExitCode"), 130);
    EXPECT_THAT(ask_post("/containers/two/restart"), HasSubstr(" 204 "));
    EXPECT_THAT(ask_post("/containers/two/kill"), HasSubstr(" 204 "));
    EXPECT_THAT(body_of(ask_post("/containers/two/wait?condition=removed")), Not(HasSubstr("StatusCode")))
        << "who goes away is not waited for";
    EXPECT_THAT(rig_.request("DELETE /containers/two?force=1&v=1"), HasSubstr(" 204 "));
    EXPECT_THAT(get("/containers/two/json"),
                AllOf(HasSubstr(" 404 "), HasSubstr(R"({"message":"No such container: two"})")));
}

TEST_F(ContainerApiTest, WaitsForAnEndThatIsYetToCome) {
    create("one");
    Client now{rig_, post("/containers/one/wait?condition=not-running")};
    EXPECT_THAT(now.until("StatusCode"), HasSubstr(R"({"StatusCode":0})"));
    Client next{rig_, post("/containers/one/wait?condition=next-exit")};
    next.until("\r\n\r\n");  // before the container is started
    Client removed{rig_, post("/containers/one/wait?condition=removed")};
    removed.until("\r\n\r\n");
    EXPECT_THAT(ask_post("/containers/one/start"), HasSubstr(" 204 "));
    Client running{rig_, post("/containers/one/wait")};
    running.until("\r\n\r\n");
    supervisors_.wait_for(1).end(3);
    EXPECT_THAT(next.until("}"), HasSubstr(R"({"StatusCode":3})"));
    EXPECT_THAT(running.until("}"), HasSubstr(R"({"StatusCode":3})"));
    Client after{rig_, post("/containers/one/wait")};
    EXPECT_THAT(after.until("}"), HasSubstr(R"({"StatusCode":3})"));
    EXPECT_THAT(rig_.request("DELETE /containers/one"), HasSubstr(" 204 "));
    EXPECT_THAT(removed.until("}"), HasSubstr(R"({"StatusCode":3})"));
    EXPECT_THAT(ask_post("/containers/one/wait"), HasSubstr(" 404 "));
    create("two");
    EXPECT_THAT(ask_post("/containers/two/wait?condition=bored"),
                AllOf(HasSubstr(" 400 "), HasSubstr("invalid condition")));
}

TEST_F(ContainerApiTest, HandsClientsToTheirContainer) {
    create("one", R"({"Image":"box","OpenStdin":true})");
    const std::string upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    Client client{rig_,
                  post("/containers/one/attach?stream=1&stdin=1&stdout=1&stderr=1", "", upgrade) + "typed"};
    EXPECT_THAT(client.until("\r\n\r\n"), HasSubstr("101 UPGRADED"));
    EXPECT_THAT(ask_post("/containers/one/start"), HasSubstr(" 204 "));
    EXPECT_THAT(supervisors_.wait_for(1).asked(), Contains("attach"));
    const std::vector<UniqueFd> theirs = supervisors_.wait_for(1).clients();
    ASSERT_EQ(theirs.size(), 1U);
    test::write_all(theirs[0].get(), framed(1, "hello"));
    EXPECT_THAT(client.until("hello"), testing::EndsWith(framed(1, "hello")));
    EXPECT_THAT(ask_post("/containers/one/attach?stream=1&detachKeys=x-y"),
                AllOf(HasSubstr(" 400 "), HasSubstr("Invalid escape keys")));
    EXPECT_THAT(ask_post("/containers/nope/attach?stream=1"), HasSubstr(" 404 "));
}

TEST_F(ContainerApiTest, RunsFurtherCommands) {
    const std::string id = start("one");
    const auto make = [&](const std::string& program) {
        const std::string answer =
            ask_post("/containers/one/exec", R"({"AttachStdout":true,"Cmd":[")" + program + "\"]}");
        EXPECT_THAT(answer, HasSubstr(" 201 "));
        return std::string{json::parse(body_of(answer)).at("Id").as_string()};
    };
    const std::string exec = make("ls");
    EXPECT_THAT(get("/exec/" + exec + "/json"),
                AllOf(HasSubstr(R"("Running":false,"ExitCode":null)"), HasSubstr("\"ContainerID\":\"" + id)));
    const std::string upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    Client client{rig_, post("/exec/" + exec + "/start", R"({"Detach":false,"Tty":false})", upgrade)};
    EXPECT_THAT(client.until("\r\n\r\n"), HasSubstr("application/vnd.docker.multiplexed-stream"));
    for (int tries = 0;
         tries < 500 && body_of(get("/exec/" + exec + "/json")).find("\"Running\":true") == std::string::npos;
         ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    EXPECT_THAT(ask_post("/exec/" + exec + "/resize?h=3&w=4"), HasSubstr(" 201 "));
    EXPECT_THAT(ask_post("/exec/" + exec + "/start", "{}"),
                AllOf(HasSubstr(" 409 "), HasSubstr("already run")));
    supervisors_.wait_for(1).end_exec(1, 5);
    EXPECT_THAT(get("/exec/" + exec + "/json"), HasSubstr(R"("Running":false,"ExitCode":5)"));

    // What cannot be started says so in the stream, which is all that is left to say it in.
    const std::string missing = make("nosuch");
    Client told{rig_, post("/exec/" + missing + "/start", "{}", upgrade)};
    EXPECT_THAT(told.whole(), AllOf(HasSubstr("101 UPGRADED"), HasSubstr("nosuch")));
    EXPECT_THAT(get("/exec/" + missing + "/json"), HasSubstr(R"("ExitCode":127)"));
    EXPECT_THAT(ask_post("/exec/" + make("ls") + "/start", R"({"Detach":true})"), HasSubstr(" 200 "));
    EXPECT_THAT(ask_post("/exec/none/start", "{}"),
                AllOf(HasSubstr(" 404 "), HasSubstr("No such exec instance")));
    EXPECT_THAT(ask_post("/containers/one/exec", "{}"),
                AllOf(HasSubstr(" 400 "), HasSubstr("No exec command")));
    EXPECT_THAT(ask_post("/containers/one/exec", "nonsense"), HasSubstr(" 400 "));
    EXPECT_THAT(ask_post("/containers/one/exec"), HasSubstr(" 400 "));
}

TEST_F(ContainerApiTest, ShowsAndFollowsItsLog) {
    start("one");
    start("two", R"({"Image":"box","Tty":true})");
    create("none", R"({"Image":"box","HostConfig":{"LogConfig":{"Type":"none"}}})");
    LogWriter log{containers_.find("one").files.log(), {}};
    log.add(LogStream::output, "first\n");
    log.add(LogStream::errors, "second\n");
    LogWriter raw{containers_.find("two").files.log(), {}};
    raw.add(LogStream::output, "plain\r\n");

    EXPECT_THAT(get("/containers/one/logs?stdout=1&stderr=1"),
                AllOf(HasSubstr("vnd.docker.multiplexed-stream"),
                      HasSubstr(framed(1, "first\n") + framed(2, "second\n"))));
    EXPECT_THAT(get("/containers/one/logs?stdout=1&stderr=1&tail=1"),
                AllOf(Not(HasSubstr("first")), HasSubstr("second")));
    EXPECT_THAT(get("/containers/one/logs?stdout=1&tail=nonsense"),
                AllOf(HasSubstr("first"), Not(HasSubstr("second"))));
    EXPECT_THAT(get("/containers/one/logs?stderr=1&timestamps=1"), HasSubstr("Z second\n"));
    EXPECT_THAT(get("/containers/one/logs?stdout=1&since=4000000000"), Not(HasSubstr("first")));
    EXPECT_THAT(get("/containers/one/logs?stdout=1&until=1"), Not(HasSubstr("first")));
    EXPECT_THAT(get("/containers/two/logs?stdout=1"),
                AllOf(HasSubstr("vnd.docker.raw-stream"), HasSubstr("\r\nplain\r\n")));
    EXPECT_THAT(get("/containers/one/logs"),
                AllOf(HasSubstr(" 400 "), HasSubstr("you must choose at least one stream")));
    EXPECT_THAT(get("/containers/one/logs?stdout=1&since=x"), HasSubstr(" 400 "));
    EXPECT_THAT(get("/containers/none/logs?stdout=1"),
                AllOf(HasSubstr(" 501 "), HasSubstr("configured logging driver does not support reading")));
    EXPECT_THAT(get("/containers/nope/logs?stdout=1"), HasSubstr(" 404 "));

    Client follows{rig_, "GET /containers/one/logs?follow=1&stdout=1 HTTP/1.1\r\nConnection: close\r\n\r\n"};
    follows.until("first");
    log.add(LogStream::output, "third\n");
    follows.until("third");
    log.add(LogStream::output, "last");
    log.flush();
    supervisors_.wait_for(1).end(0);
    EXPECT_THAT(follows.whole(), AllOf(HasSubstr("last"), testing::EndsWith("0\r\n\r\n")));
}

TEST_F(ContainerApiTest, TellsWhatHappens) {
    Client all{rig_, "GET /v1.44/events HTTP/1.1\r\n\r\n"};
    Client some{rig_, "GET /v1.44/events?filters=%7B%22event%22%3A%5B%22die%22%5D%7D HTTP/1.1\r\n\r\n"};
    all.until("\r\n\r\n");
    some.until("\r\n\r\n");
    const std::string id = start("one");
    supervisors_.wait_for(1).end(4);
    EXPECT_THAT(all.until(R"("status":"die")"),
                AllOf(HasSubstr(R"("status":"create")"), HasSubstr(R"("status":"start")"), HasSubstr(id)));
    EXPECT_THAT(some.until("timeNano"), AllOf(HasSubstr(R"("exitCode":"4")"), Not(HasSubstr("create"))));
    EXPECT_THAT(get("/events?since=1&until=4000000000&filters=%7B%22type%22%3A%5B%22image%22%5D%7D"),
                Not(HasSubstr("die")));
    Client past{rig_, "GET /v1.44/events?since=1&until=" + std::to_string(std::time(nullptr) - 1) +
                          " HTTP/1.1\r\nConnection: close\r\n\r\n"};
    EXPECT_THAT(past.whole(), testing::EndsWith("0\r\n\r\n"));
    EXPECT_THAT(get("/events?since=x"), HasSubstr(" 400 "));
    EXPECT_THAT(get("/events?filters=%7B%22x%22%3A%5B%22y%22%5D%7D"), HasSubstr(" 400 "));
}

TEST_F(ContainerApiTest, MeasuresAndPrunes) {
    start("one");
    create("two");
    EXPECT_THAT(get("/containers/two/stats?stream=0"), HasSubstr(R"("memory_stats":{})"));
    Client once{rig_, "GET /containers/one/stats?stream=0&one-shot=1 HTTP/1.1\r\nConnection: close\r\n\r\n"};
    EXPECT_THAT(once.whole(), HasSubstr(R"("pids_stats":{"current":3})"));
    EXPECT_THAT(get("/containers/one/stats?stream=1&one-shot=1"), HasSubstr(" 400 "));
    EXPECT_THAT(get("/containers/one/top?ps_args=-o%20pid,args"),
                AllOf(HasSubstr(" 200 "),
                      HasSubstr(R"({"Titles":["PID","COMMAND"],"Processes":[["7","sh -c x"]]})")));
    EXPECT_THAT(get("/containers/one/top"), HasSubstr(R"(["root","7","0","0",)"));
    EXPECT_THAT(get("/containers/one/top?ps_args=-L"), AllOf(HasSubstr(" 400 "), HasSubstr("'-L'")));
    EXPECT_THAT(get("/containers/two/top"), AllOf(HasSubstr(" 409 "), HasSubstr("is not running")));
    EXPECT_THAT(ask_post("/containers/prune?filters=%7B%22x%22%3A%5B%22y%22%5D%7D"), HasSubstr(" 400 "));
    const std::string pruned = ask_post("/containers/prune");
    EXPECT_THAT(pruned, HasSubstr(R"("ContainersDeleted":[")"));
    EXPECT_THAT(pruned, Not(HasSubstr(R"("SpaceReclaimed":0)")));
    EXPECT_THAT(get("/containers/two/json"), HasSubstr(" 404 "));
    EXPECT_THAT(get("/containers/one/json"), HasSubstr(" 200 "));
}

TEST_F(ContainerApiTest, SaysWhatIsWrong) {
    create("one");
    const std::tuple<std::string, unsigned, const char*> rows[] = {
        {post("/containers/create", R"({"Image":"nginx"})"), 404, "No such image: nginx:latest"},
        {post("/containers/create", R"({"Image":"Not A Name"})"), 400, "invalid reference format"},
        {post("/containers/create", "{}"), 400, "no image is named"},
        {post("/containers/create"), 400, "no JSON"},
        {post("/containers/create", "[[[["), 400, "no JSON"},
        {post("/containers/create?name=one", R"({"Image":"box"})"), 409,
         R"(Conflict. The container name \"/one\" is already in use by container)"},
        {post("/containers/create?name=-a", R"({"Image":"box"})"), 400,
         "Invalid container name (-a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"},
        {post("/containers/create?platform=linux/s390x", R"({"Image":"box"})"), 400, "do not run here"},
        {post("/containers/nope/start"), 404, "No such container: nope"},
        {post("/containers/one/start", R"({"Binds":[]})"), 400, "non-empty request body"},
        {post("/containers/one/start?checkpoint=x"), 501, "checkpoint"},
        {post("/containers/one/stop?t=x"), 400, "invalid value for \\\"t\\\""},
        {post("/containers/one/stop?t=99999999999"), 400, "invalid value"},
        {post("/containers/one/kill"), 409, "is not running"},
        {post("/containers/one/pause"), 409, "is not running"},
        {post("/containers/one/exec", R"({"Cmd":["x"]})"), 409, "is not running"},
        {post("/containers/one/resize?h=1"), 400, "invalid value for \\\"w\\\""},
        {post("/containers/one/resize?h=-1&w=1"), 400, "invalid value for \\\"h\\\""},
        {post("/containers/one/rename"), 400, "Neither old nor new names may be empty"},
        {post("/containers/one/rename?name=a%2Fb"), 400, "Invalid container name"},
        {"DELETE /containers/one?link=1 HTTP/1.1\r\n\r\n", 501, "links"},
        {"GET /containers/json?filters=x HTTP/1.1\r\n\r\n", 400, "invalid filters"},
        {"GET /containers/json?limit=x HTTP/1.1\r\n\r\n", 400, "invalid value"},
        {"GET /containers/one/elsewhere HTTP/1.1\r\n\r\n", 404, "page not found"},
        {"GET /exec/nope/json HTTP/1.1\r\n\r\n", 404, "No such exec instance: nope"},
    };
    for (const auto& [request, status, told] : rows) {
        const std::string answer = rig_.ask(request);
        EXPECT_THAT(answer, AllOf(HasSubstr("HTTP/1.1 " + std::to_string(status) + " "), HasSubstr(told)))
            << request;
        EXPECT_THAT(answer, HasSubstr(R"({"message":")")) << request;
    }
}

}  // namespace
}  // namespace hull::container

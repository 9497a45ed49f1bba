// Debian's docker-compose, unchanged, with projects of several services.
#include "tests/support/compose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

namespace hull::test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

class Compose : public ComposeProject {};

TEST_F(Compose, BringsAProjectUpScalesItAndTakesItDown) {
    write("docker-compose.yml", R"(version: "2.4"
services:
  web:
    image: box
    command: ["sh", "-c", "echo a page >/tmp/index.html; exec httpd -f -p 80 -h /tmp"]
    ports: ["8082:80"]
    volumes: ["data:/data"]
    depends_on:
      store:
        condition: service_healthy
  store:
    image: box
    command: ["sh", "-c", "sleep 2; mkdir /served; echo stored >/served/index.html; exec httpd -f -p 80 -h /served"]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1/"]
      interval: 1s
      retries: 60
volumes:
  data:
)");
    const Ran up = compose("up -d");
    EXPECT_EQ(up.status, 0) << up.out;
    EXPECT_THAT(compose("ps").out, AllOf(ContainsRegex("site_store_1 .*Up \\(healthy\\)"),
                                         ContainsRegex("site_web_1 .*Up .*0\\.0\\.0\\.0:8082->80/tcp")));
    EXPECT_TRUE(comes_true("test \"$(curl -s http://127.0.0.1:8082)\" = 'a page'"));
    EXPECT_EQ(docker("exec site_web_1 wget -q -O - http://store/").out, "stored\n");

    // What has not changed is left alone: the labels and the names came back as they were given.
    const Ran scaled = compose("up -d --scale store=2");
    EXPECT_EQ(scaled.status, 0) << scaled.out;
    EXPECT_THAT(scaled.out, HasSubstr("site_web_1 is up-to-date"));
    const std::string both = "docker exec site_web_1 busybox nslookup store | grep -c '^Address: 172'";
    EXPECT_TRUE(comes_true("test \"$(" + both + ")\" = 2")) << shell(both).out;

    daemon_->end(SIGKILL);
    start_daemon();
    EXPECT_TRUE(comes_true("test \"$(curl -s http://127.0.0.1:8082)\" = 'a page'"));
    const Ran restarted = compose("restart store");
    EXPECT_EQ(restarted.status, 0) << restarted.out;
    EXPECT_TRUE(comes_true("docker exec site_web_1 wget -q -O - http://store/"))
        << shell("docker exec site_web_1 wget -O - http://store/; docker ps -a").out;

    const Ran down = compose("down -v");
    EXPECT_EQ(down.status, 0) << down.out;
    EXPECT_EQ(shell("docker ps -aq; docker volume ls -q; docker network ls -q --filter driver=bridge "
                    "--filter type=custom")
                  .out,
              "");
}

TEST_F(Compose, TellsWhatAServiceCannotHave) {
    write("docker-compose.yml", R"(version: "2.4"
services:
  web:
    image: box
    network_mode: host
)");
    const Ran up = compose("up -d");
    EXPECT_NE(up.status, 0);
    EXPECT_THAT(up.out, HasSubstr("is not supported: each container is in a virtual machine of its own"));
}

}  // namespace
}  // namespace hull::test

// Projects as people have them, with Debian's docker-compose and real services.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <optional>
#include <string>

#include "tests/support/compose.h"
#include "tests/support/debians_registry.h"

namespace hull::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

/// With the images of scripts/example-images behind a mirror.
class ComposeProjects : public ComposeProject {
  protected:
    static void SetUpTestSuite() {
        Docker::SetUpTestSuite();
        const Ran made = run_command(HULL_SOURCE_DIR "/scripts/example-images 2>&1 | tail -n 1");
        registry_.emplace("", made.out.substr(0, made.out.find('\n')));
    }
    static void TearDownTestSuite() {
        registry_.reset();
        Docker::TearDownTestSuite();
    }
    void SetUp() override {
        ComposeProject::SetUp();
        if (!IsSkipped()) {
            daemon_->end(SIGTERM);
            start_daemon({"--registry-mirror", "http://" + registry_->host()});
        }
    }

    /// What a page says in the end: its services need their time.
    static std::string page(const std::string& wanted, const std::string& path = "") {
        const std::string fetch = "curl -s http://127.0.0.1:8082/" + path;
        static_cast<void>(comes_true("test \"$(" + fetch + ")\" = '" + wanted + "'"));
        return shell(fetch).out;
    }
    /// Goes well, or shows what it said.
    static void must(const std::string& words) {
        const Ran ran = compose(words);
        EXPECT_EQ(ran.status, 0) << words << ": " << ran.out << shell("docker ps -a").out;
    }
    static void expect_nothing_is_left() {
        docker("volume prune -f");  // of what images have on volumes without a name, which "down" leaves
        EXPECT_EQ(shell("docker ps -aq; docker volume ls -q; docker network ls -q --filter type=custom").out,
                  "");
    }

  private:
    static inline std::optional<DebiansRegistry> registry_;
};

/// Those that show little that the others do not, and take minutes in the test host.
class FurtherComposeProjects : public ComposeProjects {
  protected:
    void SetUp() override {
        if (number_from("HULL_PROJECTS", 2) < 4) {
            GTEST_SKIP() << "HULL_PROJECTS is less than 4";
        }
        ComposeProjects::SetUp();
    }
};

constexpr const char* kPage = R"(
CMD ["busybox", "httpd", "-f", "-p", "80", "-h", "/www"]
)";

TEST_F(FurtherComposeProjects, WebServiceWithRedis) {
    write("count", "#!/bin/sh\necho Content-Type: text/plain\necho\nredis-cli -h store incr hits\n");
    write("Dockerfile", std::string{"FROM redis\nCOPY --chmod=755 count /www/cgi-bin/count\n"} + kPage);
    write("docker-compose.yml", R"(version: "2.4"
services:
  web:
    build: .
    ports: ["8082:80"]
    depends_on: [store]
  store:
    image: redis
    volumes: ["data:/data"]
volumes:
  data:
)");
    must("up -d");
    EXPECT_EQ(shell("curl -s --retry 30 --retry-all-errors http://127.0.0.1:8082/cgi-bin/count").out, "1\n");
    EXPECT_EQ(shell("curl -s http://127.0.0.1:8082/cgi-bin/count").out, "2\n");
    EXPECT_EQ(compose("exec -T store redis-cli get hits").out, "2\n");
    EXPECT_THAT(compose("logs store").out, HasSubstr("Ready to accept connections"));
    EXPECT_THAT(compose("images").out, ContainsRegex("site_web_1 +site_web +latest"));
    must("stop");
    EXPECT_THAT(compose("ps").out, ContainsRegex("site_web_1 .*Exit 1?[0-9]*"));
    must("start");
    EXPECT_EQ(shell("curl -s --retry 30 --retry-all-errors http://127.0.0.1:8082/cgi-bin/count").out, "3\n")
        << "redis has kept it in its volume";
    must("restart");
    must("down");
    must("up -d");
    EXPECT_EQ(shell("curl -s --retry 30 --retry-all-errors http://127.0.0.1:8082/cgi-bin/count").out, "4\n");
    must("down -v --rmi local");
    expect_nothing_is_left();
}

TEST_F(ComposeProjects, WebServiceWithPostgreSql) {
    write("count", R"(#!/bin/sh
echo Content-Type: text/plain
echo
PGPASSWORD=secret psql -h db -U app -qtA -c "insert into visits default values" -c "select count(*) from visits"
)");
    write("Dockerfile",
          std::string{"FROM postgres\nENTRYPOINT []\nCOPY --chmod=755 count /www/cgi-bin/count\n"} + kPage);
    write("docker-compose.yml", R"(version: "2.4"
services:
  web:
    build: .
    ports: ["8082:80"]
    depends_on:
      db:
        condition: service_healthy
  db:
    image: postgres
    env_file: db.env
    volumes: ["data:/var/lib/postgresql/data"]
    healthcheck:
      test: ["CMD", "pg_isready", "-h", "127.0.0.1", "-U", "app"]
      interval: 1s
      retries: 120
volumes:
  data:
    driver_opts:
      type: block
      size: 1g
)");
    write("db.env", "POSTGRES_USER=app\nPOSTGRES_PASSWORD=secret\n");
    must("up -d");
    EXPECT_THAT(compose("ps").out, ContainsRegex("site_db_1 .*Up \\(healthy\\)"));
    must("exec -T db psql -q -U app -c 'create table visits (id serial)'");
    EXPECT_EQ(page("1", "cgi-bin/count"), "2\n") << compose("logs").out;
    // What it was told is committed is there, however it ends.
    must("kill db");
    must("start db");
    EXPECT_TRUE(comes_true("docker exec site_db_1 pg_isready -h 127.0.0.1 -U app"));
    EXPECT_EQ(shell("curl -s http://127.0.0.1:8082/cgi-bin/count").out, "3\n") << compose("logs db").out;
    EXPECT_THAT(compose("logs db").out, HasSubstr("database system was not properly shut down"));
    must("down");
    must("up -d");
    EXPECT_EQ(shell("curl -s --retry 30 --retry-all-errors http://127.0.0.1:8082/cgi-bin/count").out, "4\n");
    must("down -v --rmi local");
    expect_nothing_is_left();
}

TEST_F(ComposeProjects, NginxInFrontOfReplicas) {
    write("front.conf",
          "server {\n  listen 80;\n  resolver 127.0.0.11 valid=1s;\n  location / {\n"
          "    set $service http://app:80;\n    proxy_pass $service;\n  }\n}\n");
    write("docker-compose.yml", R"(version: "2.4"
services:
  front:
    image: nginx
    ports: ["8082:80"]
    volumes: ["./front.conf:/etc/nginx/conf.d/default.conf:ro"]
    depends_on: [app]
  app:
    image: busybox
    command: ["sh", "-c", "mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www"]
    scale: 2
)");
    must("up -d");
    const auto answers = [](const std::string& many) {
        return "test \"$(for i in $(seq 20); do curl -sf http://127.0.0.1:8082/; done | sort -u | wc -l)\" "
               "= " +
               many;
    };
    EXPECT_TRUE(comes_true(answers("2"))) << compose("logs").out;
    must("up -d --scale app=3");
    EXPECT_TRUE(comes_true(answers("3")));
    EXPECT_EQ(compose("port front 80").out, "0.0.0.0:8082\n");
    EXPECT_THAT(compose("top front").out, HasSubstr("nginx: worker process"));
    must("up -d --scale app=1");
    EXPECT_TRUE(comes_true(answers("1")));
    must("restart app");
    EXPECT_TRUE(comes_true(answers("1")));
    EXPECT_THAT(compose("logs front").out, HasSubstr("GET / HTTP/1.1"));
    must("down");
    expect_nothing_is_left();
}

TEST_F(FurtherComposeProjects, WorkersWithAQueue) {
    write("docker-compose.yml", R"(version: "2.4"
services:
  store:
    image: redis
  worker:
    image: redis
    restart: always
    depends_on: [store]
    command:
      - sh
      - -c
      - |
        while :; do
          job=$$(redis-cli -h store blpop jobs 2 | tail -n 1)
          [ "$$job" != crash ] || exit 1
          [ -z "$$job" ] || { sleep 0.2; redis-cli -h store rpush done "$$job $$(hostname) "; echo did $$job; }
        done
)");
    must("up -d --scale worker=2");
    const std::string push =
        "run --rm -T worker sh -c 'for i in $(seq 20); do redis-cli -h store rpush jobs job$i; done'";
    must(push);
    const auto has_done = [](const std::string& many) {
        return "test \"$(docker exec site_store_1 redis-cli llen done)\" = " + many;
    };
    EXPECT_TRUE(comes_true(has_done("20"))) << compose("logs").out;
    EXPECT_EQ(
        shell("docker exec site_store_1 redis-cli lrange done 0 -1 | cut -d ' ' -f 2 | sort -u | wc -l").out,
        "2\n")
        << "both have their part";
    EXPECT_THAT(compose("logs worker").out, HasSubstr("did job20"));
    must("exec -T store redis-cli rpush jobs crash");
    must(push);
    EXPECT_TRUE(comes_true(has_done("40"))) << compose("ps").out;
    EXPECT_TRUE(comes_true("docker inspect -f '{{.RestartCount}}' site_worker_1 site_worker_2 | grep -q 1"));
    must("pause worker");
    must("unpause worker");
    must("stop worker");
    must("rm -f worker");
    EXPECT_EQ(shell("docker ps --format '{{.Names}}'").out, "site_store_1\n");
    must("down -v");
    expect_nothing_is_left();
}

}  // namespace
}  // namespace hull::test

// The daemon's containers, with supervisors that have no machines.
#include "container/life/containers.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/support/fake_supervisor.h"
#include "tests/support/files.h"
#include "tests/support/image_store.h"
#include "tests/support/sockets.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using test::FakeSupervisor;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using By = SharedMount::By;
using Stage = ContainerView::Stage;

class ContainersTest : public testing::Test {
  protected:
    ContainersTest() {
        test::store_image(store_, "box", {std::string(1024, '\0')}, R"("config":{})");
        begin();
    }
    ~ContainersTest() override { containers_.reset(); }

    /// A daemon that finds what another has left.
    void begin() {
        containers_.emplace(folder_.path(), store_, GuestKernel{"/kernel", {}}, events_,
                            [this](const ContainerFiles& files) {
                                if (before_start_) {
                                    before_start_();
                                }
                                supervisors_.start(files);
                            });
    }

    static ExecConfig exec_of(const char* program) {
        ExecConfig config;
        config.command = {program};
        return config;
    }
    ContainerSpec spec() {
        ContainerSpec spec;
        spec.image = store_.find("box").value().id.text();
        spec.image_name = "box";
        spec.run.config.command = {"sleep", "9"};
        spec.config = {{"Labels", {{"of", "test"}}}};
        return spec;
    }
    std::string started(const std::string& name, ContainerSpec of) {
        std::string id = containers_->create(name, std::move(of));
        containers_->start(id);
        return id;
    }
    ContainerView wait_for(const std::string& id, Stage stage) {
        for (int tries = 0; tries < 2000; ++tries) {
            const ContainerView view = containers_->find(id);
            if (view.stage == stage) {
                return view;
            }
            std::this_thread::sleep_for(10ms);
        }
        ADD_FAILURE() << id << " is " << containers_->find(id).stage_word();
        return containers_->find(id);
    }
    /// All that was told by the time at which this was, the action itself last.
    std::vector<std::string> actions_up_to(const std::string& last) {
        std::vector<std::string> all;
        for (int tries = 0; tries < 2000 && (all.empty() || all.back() != last); ++tries) {
            std::ranges::move(actions(), std::back_inserter(all));
            std::this_thread::sleep_for(10ms);
        }
        return all;
    }
    static unsigned status_of(const std::function<void()>& call) {
        try {
            call();
            return 200;
        } catch (const ApiError& error) {
            told() = error.what();
            return error.status();
        }
    }
    static std::string& told() {
        static std::string text;
        return text;
    }
    /// The actions that were told since the last look.
    std::vector<std::string> actions() {
        std::vector<std::string> all;
        for (const Event& event : listener_->take()) {
            if (event.type != "network") {  // of which networks_test.cpp
                all.push_back(event.action);
            }
        }
        return all;
    }
    bool has_folder(const std::string& id) const {
        return std::filesystem::exists(folder_.path() / "containers" / id.substr(0, 12));
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path(), Store::Use::shared};
    Events events_;
    std::shared_ptr<Events::Listener> listener_ = events_.listen();
    std::function<void()> before_start_;  // of a supervisor, where it is set
    test::FakeSupervisors supervisors_;
    std::optional<Containers> containers_;
};

TEST_F(ContainersTest, HaveNamesOfTheirOwn) {
    const std::string id = containers_->create("one", spec());
    EXPECT_EQ(id.size(), 64U);
    EXPECT_EQ(containers_->find("one").id, id);
    EXPECT_EQ(containers_->find("/one").id, id);
    EXPECT_EQ(containers_->find(id.substr(0, 6)).name, "one");
    EXPECT_EQ(containers_->find("one").spec->run.config.host_name, id.substr(0, 12));
    EXPECT_EQ(status_of([&] { containers_->create("one", spec()); }), 409U);
    EXPECT_THAT(told(), HasSubstr("is already in use by container \"" + id));
    for (const char* name : {"a", "-a", "a b", "../a", "a/b", "ä"}) {
        EXPECT_EQ(status_of([&] { containers_->create(name, spec()); }), 400U) << name;
    }
    const std::string other = containers_->create("", spec());
    EXPECT_GE(containers_->find(other).name.size(), 2U);
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->find("nobody")); }), 404U);
    EXPECT_EQ(told(), "No such container: nobody");
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->find("")); }), 404U);

    containers_->rename("one", "two");
    EXPECT_EQ(containers_->find("two").id, id);
    EXPECT_EQ(status_of([&] { containers_->rename(other, "two"); }), 409U);
    EXPECT_EQ(status_of([&] { containers_->rename(other, "no/name"); }), 400U);
    containers_.reset();
    begin();
    EXPECT_EQ(containers_->find("two").id, id);
}

TEST_F(ContainersTest, RunAndEnd) {
    const std::string id = containers_->create("one", spec());
    EXPECT_EQ(containers_->find(id).stage, Stage::created);
    containers_->start("one");
    EXPECT_EQ(containers_->find(id).stage, Stage::running);
    EXPECT_EQ(status_of([&] { containers_->start("one"); }), 304U);
    EXPECT_EQ(supervisors_.last_run().machine.kernel, "/kernel");
    EXPECT_EQ(supervisors_.last_run().machine.layers.size(), 1U);
    EXPECT_EQ(supervisors_.last_run().config.command, (std::vector<std::string>{"sleep", "9"}));

    supervisors_.wait_for(1).end(3, true);
    const ContainerView ended = wait_for(id, Stage::exited);
    EXPECT_EQ(ended.state.exit_status, 3);
    EXPECT_TRUE(ended.state.is_out_of_memory);
    EXPECT_EQ(ended.restarts, 0U);
    containers_->start("one");
    EXPECT_EQ(supervisors_.count(), 2U);
    EXPECT_EQ(containers_->find(id).stage, Stage::running);
    EXPECT_THAT(actions(), ElementsAre("create", "start", "oom", "die", "start"));
}

TEST_F(ContainersTest, SayWhyTheyCannotRun) {
    supervisors_.start_status = 127;
    const std::string id = containers_->create("one", spec());
    EXPECT_EQ(status_of([&] { containers_->start(id); }), 400U);
    EXPECT_THAT(told(), HasSubstr("executable file not found in $PATH"));
    EXPECT_EQ(containers_->find(id).stage, Stage::created);
    EXPECT_EQ(containers_->find(id).state.exit_status, 127);
    ContainerSpec passing = spec();
    passing.is_removed_at_end = true;
    const std::string other = containers_->create("two", passing);
    EXPECT_EQ(status_of([&] { containers_->start(other); }), 400U);
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->find(other)); }), 404U);
    EXPECT_FALSE(has_folder(other));

    ContainerSpec strange = spec();
    strange.image = "sha256:" + std::string(64, '0');
    strange.image_name = "gone";
    containers_->create("three", strange);
    EXPECT_EQ(status_of([&] { containers_->start("three"); }), 404U);
    EXPECT_EQ(told(), "No such image: gone");
}

TEST_F(ContainersTest, StopBySignalOrByForce) {
    const std::string id = started("one", spec());
    containers_->stop(id, std::nullopt);
    EXPECT_THAT(supervisors_.wait_for(1).asked(), ElementsAre("start", "signal 15"));
    EXPECT_EQ(containers_->find(id).stage, Stage::exited);
    EXPECT_EQ(containers_->find(id).state.exit_status, 143);
    EXPECT_EQ(status_of([&] { containers_->stop(id, std::nullopt); }), 304U);

    supervisors_.obeys = FakeSupervisor::Obeys::kill_only;
    ContainerSpec own = spec();
    own.stop_signal = SIGQUIT;
    const std::string other = started("two", own);
    containers_->stop(other, 0s);
    EXPECT_THAT(supervisors_.wait_for(2).asked(), ElementsAre("start", "signal 3", "signal 9"));
    EXPECT_EQ(containers_->find(other).state.exit_status, 137);
}

TEST_F(ContainersTest, StartAgainByTheirPolicy) {
    ContainerSpec trying = spec();
    trying.restart = {RestartPolicy::Kind::on_failure, 2};
    const std::string id = started("one", trying);
    std::atomic<int> shown{0};
    before_start_ = [&] {
        const ContainerView view = containers_->find(id);
        shown += view.stage == Stage::restarting && view.state.exit_status == 1 &&
                         view.state.finished > view.state.started
                     ? 1
                     : 0;
    };
    for (size_t run = 1; run <= 3; ++run) {
        supervisors_.wait_for(run).end(1);
    }
    EXPECT_EQ(wait_for(id, Stage::exited).restarts, 2U);
    EXPECT_EQ(shown, 2) << "until it runs again it is shown how it ended";
    before_start_ = nullptr;
    std::this_thread::sleep_for(300ms);
    EXPECT_EQ(supervisors_.count(), 3U);

    ContainerSpec always = spec();
    always.restart.kind = RestartPolicy::Kind::always;
    const std::string other = started("two", always);
    supervisors_.wait_for(4).end(0);
    supervisors_.wait_for(5);
    wait_for(other, Stage::running);
    containers_->stop(other, std::nullopt);
    EXPECT_EQ(containers_->find(other).stage, Stage::exited);
    std::this_thread::sleep_for(300ms);
    EXPECT_EQ(supervisors_.count(), 5U);

    containers_->start(other);
    supervisors_.wait_for(6).end(0);
    wait_for(other, Stage::restarting);
    containers_->remove(other, true);
    EXPECT_FALSE(has_folder(other));
}

TEST_F(ContainersTest, GoWhenTheyAreToldTo) {
    const std::string id = started("one", spec());
    EXPECT_EQ(status_of([&] { containers_->remove(id, false); }), 409U);
    EXPECT_THAT(told(), HasSubstr("Stop the container before attempting removal or force remove"));
    containers_->remove(id, true);
    EXPECT_THAT(supervisors_.wait_for(1).asked(), Contains("end"));
    EXPECT_FALSE(has_folder(id));
    EXPECT_EQ(status_of([&] { containers_->remove(id, true); }), 404U);
    EXPECT_THAT(actions_up_to("destroy"), ElementsAre("create", "start", "die", "destroy"));

    ContainerSpec passing = spec();
    passing.is_removed_at_end = true;
    const std::string other = started("two", passing);
    containers_->restart(other, 1s);
    EXPECT_EQ(containers_->find(other).stage, Stage::running);
    EXPECT_THAT(supervisors_.wait_for(2).asked(), ElementsAre("start", "keep", "signal 15"))
        << "what it has written is to be there after its restart";
    supervisors_.wait_for(3).end(0);
    EXPECT_THAT(actions_up_to("destroy"),
                ElementsAre("create", "start", "kill", "die", "stop", "start", "restart", "die", "destroy"));
    EXPECT_FALSE(has_folder(other));
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->find(other)); }), 404U);
}

TEST_F(ContainersTest, AreFoundAgain) {
    ContainerSpec open = spec();
    open.ports = {{.container_port = 80, .host_address = "127.0.0.1"}, {"udp", 53, "", 0}};
    const std::string runs = started("runs", open);
    const std::vector<PortBinding> ports = containers_->find(runs).ports;
    EXPECT_GT(ports.at(0).host_port, 0U);
    containers_->start_exec(containers_->make_exec(runs, exec_of("ls")), std::nullopt);
    const std::string ends = started("ends", spec());
    const std::string is_killed = started("is_killed", spec());
    ContainerSpec always = spec();
    always.restart.kind = RestartPolicy::Kind::unless_stopped;
    const std::string is_up = started("is_up", always);
    const std::string is_stopped = started("is_stopped", always);
    containers_->stop(is_stopped, std::nullopt);
    containers_->create("never", always);
    containers_.reset();
    supervisors_.wait_for(2).end(5);
    supervisors_.wait_for(3).die();
    supervisors_.wait_for(4).end(0);
    const std::filesystem::path below = folder_.path() / "containers";
    std::filesystem::create_directory(below / "unfinished");
    std::filesystem::create_directory(below / "broken");
    std::ofstream{below / "broken/config.json"} << "{\"Id\":";
    std::this_thread::sleep_for(50ms);

    begin();
    EXPECT_EQ(wait_for(runs, Stage::running).ports, ports);
    EXPECT_EQ(containers_->find_exec(containers_->make_exec(runs, exec_of("ls"))).number, 2)
        << "the first may run still";
    EXPECT_EQ(wait_for(ends, Stage::exited).state.exit_status, 5);
    EXPECT_EQ(wait_for(is_killed, Stage::exited).state.exit_status, 137);
    EXPECT_EQ(containers_->find(is_killed).state.error, "its supervisor was killed");
    wait_for(is_up, Stage::running);
    EXPECT_EQ(containers_->find(is_stopped).stage, Stage::exited);
    EXPECT_EQ(containers_->find("never").stage, Stage::created);
    EXPECT_EQ(supervisors_.count(), 6U);
    EXPECT_FALSE(std::filesystem::exists(below / "unfinished"));
    EXPECT_TRUE(std::filesystem::exists(below / "broken/config.json"));
    supervisors_.wait_for(1).end(7);
    EXPECT_EQ(wait_for(runs, Stage::exited).state.exit_status, 7);
}

TEST_F(ContainersTest, OutliveTheirSupervisor) {
    const std::string id = started("one", spec());
    supervisors_.wait_for(1).die();
    const ContainerView view = wait_for(id, Stage::exited);
    EXPECT_EQ(view.state.exit_status, 137);
    EXPECT_THAT(RunState::from_json(test::contents_of(view.files.state())).error,
                HasSubstr("its supervisor was killed"));
}

TEST_F(ContainersTest, TakeClientsBeforeTheyRun) {
    const std::string id = containers_->create("one", spec());
    auto [client, end] = test::make_socket_pair();
    containers_->attach(id, {.socket = std::move(end), .input = true});
    containers_->start(id);
    std::vector<UniqueFd> clients = supervisors_.wait_for(1).clients();
    ASSERT_EQ(clients.size(), 1U);
    ASSERT_EQ(write(clients[0].get(), "hi", 2), 2);
    EXPECT_EQ(test::read_up_to(client.get(), 2), "hi");
    clients.clear();
    EXPECT_EQ(test::read_up_to(client.get(), 1), "") << "the daemon has kept its client";
}

TEST_F(ContainersTest, RunFurtherCommands) {
    const std::string id = containers_->create("one", spec());
    EXPECT_EQ(status_of([&] { containers_->make_exec(id, exec_of("ls")); }), 409U);
    containers_->start(id);
    const std::string exec = containers_->make_exec(id, exec_of("ls"));
    EXPECT_FALSE(containers_->find_exec(exec).is_running);
    auto [client, end] = test::make_socket_pair();
    containers_->start_exec(exec, AttachedClient{.socket = std::move(end)});
    EXPECT_TRUE(containers_->find_exec(exec).is_running);
    EXPECT_EQ(status_of([&] { containers_->start_exec(exec, std::nullopt); }), 409U);
    static_cast<void>(actions());
    supervisors_.wait_for(1).end_exec(99, 1);  // of another daemon
    supervisors_.wait_for(1).end_exec(1, 4);
    std::vector<Event> events;
    for (int tries = 0; tries < 2000 && events.empty(); ++tries) {
        events = listener_->take();
        std::this_thread::sleep_for(10ms);
    }
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].action, "exec_die");
    EXPECT_EQ(events[0].attributes,
              (std::map<std::string, std::string>{
                  {"execID", exec}, {"exitCode", "4"}, {"image", "box"}, {"name", "one"}, {"of", "test"}}));
    EXPECT_EQ(containers_->find_exec(exec).exit_status, 4);
    EXPECT_FALSE(containers_->find_exec(exec).is_running);

    ExecConfig words = exec_of("nosuch");
    words.command = {"nosuch", "a", "b c"};
    const std::string missing = containers_->make_exec(id, words);
    auto [other, others_end] = test::make_socket_pair();
    containers_->start_exec(missing, AttachedClient{.socket = std::move(others_end)});
    const std::string told = test::read_up_to(other.get(), 4096);
    EXPECT_EQ(told.substr(0, 4), std::string({'\1', '\0', '\0', '\0'}));
    EXPECT_THAT(told, HasSubstr("exec: \"nosuch\": not found"));
    EXPECT_EQ(containers_->find_exec(missing).exit_status, 127);
    EXPECT_THAT(actions(), ElementsAre("exec_create: nosuch a b c", "exec_start: nosuch a b c"));
    EXPECT_EQ(status_of([&] {
                  containers_->start_exec(containers_->make_exec(id, exec_of("nosuch")), std::nullopt);
              }),
              400U);
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->find_exec("none")); }), 404U);

    const std::string last = containers_->make_exec(id, exec_of("ls"));
    containers_->start_exec(last, std::nullopt);
    containers_->stop(id, std::nullopt);
    EXPECT_EQ(containers_->find_exec(last).exit_status, 137) << "it ended with its container";
}

TEST_F(ContainersTest, PauseAndSayHowTheyAre) {
    const std::string id = started("one", spec());
    containers_->pause(id);
    EXPECT_EQ(containers_->find(id).stage, Stage::paused);
    EXPECT_EQ(status_of([&] { containers_->pause(id); }), 409U);
    EXPECT_EQ(status_of([&] { containers_->start(id); }), 409U);
    EXPECT_EQ(status_of([&] { containers_->make_exec(id, exec_of("ls")); }), 409U);
    containers_->resume(id);
    EXPECT_EQ(containers_->find(id).stage, Stage::running);
    EXPECT_EQ(containers_->group(id), (std::map<std::string, std::string>{{"pids.current", "3\n"}}));
    static_cast<void>(actions());
    EXPECT_EQ(containers_->processes(id).all.size(), 1U);
    EXPECT_THAT(actions(), ElementsAre("top"));
    containers_->send_signal(id, SIGHUP);
    wait_for(id, Stage::exited);
    EXPECT_EQ(status_of([&] { containers_->send_signal(id, SIGHUP); }), 409U);
    EXPECT_EQ(status_of([&] { containers_->pause(id); }), 409U);
    EXPECT_TRUE(containers_->group(id).empty());
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->processes(id)); }), 409U);
}

TEST_F(ContainersTest, AreUpdatedWhereTheyRunAndWhereTheyDoNot) {
    const std::string id = started("one", spec());
    static_cast<void>(actions_up_to("start"));
    const auto change = [](const ContainerSpec& from) {
        EXPECT_EQ(from.run.config.group.memory, std::nullopt);
        return SpecChange{.host_config = {{"Memory", 7}},
                          .restart = {.kind = RestartPolicy::Kind::always},
                          .limits = {.memory = 7, .cpus = 0.5}};
    };
    supervisors_.wait_for(1).refuses_limits = true;
    EXPECT_EQ(status_of([&] { containers_->update(id, change); }), 409U);
    EXPECT_EQ(told(), "its machine is too small");
    EXPECT_EQ(containers_->find(id).spec->run.config.group.memory, std::nullopt);
    supervisors_.wait_for(1).refuses_limits = false;
    containers_->update(id, change);
    EXPECT_THAT(supervisors_.wait_for(1).asked(), Contains("limit 7 500000000"));
    EXPECT_THAT(actions(), ElementsAre("update"));
    const auto check = [&] {
        const ContainerView view = containers_->find(id);
        EXPECT_EQ(view.spec->run.config.group.memory, 7U);
        EXPECT_EQ(view.spec->run.config.group.cpus, 0.5);
        EXPECT_EQ(view.spec->host_config.at("Memory"), 7);
        EXPECT_EQ(view.spec->restart.kind, RestartPolicy::Kind::always);
    };
    check();
    containers_.reset();
    begin();
    check();
    supervisors_.wait_for(1).end(0);
    static_cast<void>(supervisors_.wait_for(2));
    wait_for(id, Stage::running);
    EXPECT_EQ(supervisors_.last_run().config.group.memory, 7U) << "and by its new policy it runs again";
    containers_->stop(id, 0s);
    containers_->update(id, [](const ContainerSpec& from) {
        return SpecChange{.host_config = from.host_config, .restart = {}, .limits = {.processes = 9}};
    });
    containers_.reset();
    begin();
    EXPECT_EQ(containers_->find(id).spec->run.config.group.processes, 9U);
    EXPECT_EQ(containers_->find(id).spec->run.config.group.memory, std::nullopt);
    EXPECT_EQ(status_of([&] { containers_->update("nobody", change); }), 404U);
}

TEST_F(ContainersTest, TellOfTheirHealth) {
    ContainerSpec probed = spec();
    probed.run.health = HealthProbe{.command = {"/bin/sh", "-c", "curl x"}};
    const std::string id = started("one", probed);
    EXPECT_EQ(containers_->find(id).state.health->word(), "starting") << "as soon as it runs";
    EXPECT_EQ(supervisors_.last_run().health->command.size(), 3U);
    static_cast<void>(actions());
    supervisors_.wait_for(1).probe(Health::Status::healthy, 0);
    EXPECT_THAT(actions_up_to("health_status: healthy"),
                ElementsAre("exec_create: /bin/sh -c curl x", "exec_start: /bin/sh -c curl x", "exec_die",
                            "health_status: healthy"));
    EXPECT_EQ(containers_->find(id).state.health->word(), "healthy");
    supervisors_.wait_for(1).die();
    EXPECT_EQ(wait_for(id, Stage::exited).state.health->word(), "unhealthy");
}

TEST_F(ContainersTest, HaveVolumesThatTheyUse) {
    const auto volume = [](const char* name, const char* target) {
        return ContainerMount{.kind = ContainerMount::Kind::volume,
                              .source = {},
                              .target = target,
                              .volume = name,
                              .mode = {},
                              .is_filled = true,
                              .is_anonymous = *name == '\0'};
    };
    ContainerSpec with = spec();
    const std::filesystem::path made = folder_.path() / "made/deep";
    with.mounts = {volume("", "/anonymous"),
                   volume("named", "/named"),
                   {.source = made,
                    .target = "/bind",
                    .volume = {},
                    .mode = {},
                    .is_read_only = true,
                    .is_cached = false,
                    .makes_source = true}};
    const std::string id = containers_->create("one", with);
    EXPECT_FALSE(std::filesystem::exists(made)) << "made at the start, as by Docker";
    containers_->start(id);
    EXPECT_TRUE(std::filesystem::is_directory(made));
    const auto shared = [&] { return supervisors_.last_run().config.shared; };
    ASSERT_EQ(shared().size(), 3U);
    EXPECT_EQ(shared()[1].source, folder_.path() / "volumes/named/_data");
    EXPECT_EQ(shared()[1].target, "/named");
    EXPECT_TRUE(shared()[0].is_filled && shared()[1].is_filled && !shared()[2].is_filled);
    EXPECT_TRUE(!shared()[0].is_read_only && shared()[2].is_read_only);
    EXPECT_TRUE(shared()[0].by == By::cached_share && shared()[1].by == By::cached_share)
        << "nobody else can change them";
    EXPECT_EQ(shared()[2].by, By::share);
    const std::string anonymous = containers_->find(id).spec->mounts.at(0).volume;
    EXPECT_EQ(status_of([&] { containers_->volumes().remove(anonymous); }), 409U);
    EXPECT_THAT(actions(), ElementsAre("create", "create", "create", "mount", "mount", "start"));
    supervisors_.wait_for(1).end(0);
    wait_for(id, Stage::exited);
    EXPECT_THAT(actions_up_to("unmount"), Contains("die"));
    containers_->start(id);
    EXPECT_FALSE(shared()[0].is_filled) << "what its user has taken away stays away";
    supervisors_.wait_for(2).end(0);
    wait_for(id, Stage::exited);
    begin();
    EXPECT_EQ(status_of([&] { containers_->volumes().remove("named"); }), 409U) << "of the daemon before";
    const auto kept = containers_->find(id).spec;
    EXPECT_EQ(kept->mounts.at(1).is_cached, std::nullopt);
    EXPECT_EQ(kept->mounts.at(2).is_cached, false);
    containers_->remove(id, false, true);
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->volumes().find(anonymous)); }), 404U);
    containers_->volumes().remove("named");
    EXPECT_TRUE(std::filesystem::exists(made));
}

TEST_F(ContainersTest, HaveADiskOneAtATime) {
    static_cast<void>(containers_->volumes().create({.name = "disk", .options = {{"type", "block"}}}));
    ContainerSpec with = spec();
    with.mounts = {{.kind = ContainerMount::Kind::volume,
                    .source = {},
                    .target = "/v",
                    .volume = "disk",
                    .mode = {},
                    .is_cached = true}};
    const std::string one = started("one", with);
    EXPECT_EQ(supervisors_.last_run().config.shared.at(0).by, By::disk);
    const std::string two = containers_->create("two", with);
    EXPECT_EQ(status_of([&] { containers_->start(two); }), 409U);
    EXPECT_THAT(told(), HasSubstr("stop one first"));
    supervisors_.wait_for(1).end(0);
    wait_for(one, Stage::exited);
    containers_->start(two);
    EXPECT_EQ(supervisors_.last_run().config.shared.at(0).source, folder_.path() / "volumes/disk/disk.ext4");
}

TEST_F(ContainersTest, LeaveAVolumeToWhoSharesIt) {
    ContainerSpec first = spec();
    first.mounts = {{.kind = ContainerMount::Kind::volume,
                     .source = {},
                     .target = "/v",
                     .volume = {},
                     .mode = {},
                     .is_anonymous = true}};
    const std::string one = containers_->create("one", first);
    ContainerSpec second = spec();
    second.mounts = containers_->find(one).spec->mounts;
    second.is_removed_at_end = true;
    const std::string two = started("two", second);
    EXPECT_EQ(supervisors_.last_run().config.shared.at(0).by, By::share)
        << "the other container may change it";
    containers_->remove(one, false, true);
    EXPECT_EQ(containers_->volumes().list().size(), 1U);
    supervisors_.wait_for(1).end(0);
    for (int tries = 0; tries < 1000 && !containers_->volumes().list().empty(); ++tries) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_TRUE(containers_->volumes().list().empty());
}

TEST_F(ContainersTest, StartWithWhatIsMountedAndNotWithout) {
    const auto refused = [&](const std::string& source) {
        ContainerSpec of = spec();
        of.mounts = {{.source = source, .target = "/b", .volume = {}, .mode = {}}};
        const std::string id = containers_->create("", of);
        EXPECT_EQ(status_of([&] { containers_->start(id); }), 400U);
        return told();
    };
    EXPECT_THAT(refused("/no/such"), HasSubstr("bind source path does not exist: /no/such"));
    EXPECT_THAT(refused("/dev/null"), HasSubstr("neither a file nor a folder nor a socket"));
    {
        const std::string place = folder_.path() / "socket";
        const UniqueFd listener = test::listen_unix(place);
        ContainerSpec with = spec();
        with.mounts = {{.source = place, .target = "/run/x", .volume = {}, .mode = {}}};
        started("with", with);
        const ContainerConfig config = supervisors_.last_run().config;
        EXPECT_TRUE(config.shared.empty()) << "which no virtiofsd carries";
        ASSERT_EQ(config.sockets.size(), 1U);
        EXPECT_EQ(config.sockets[0].source + " " + config.sockets[0].target, place + " /run/x");
    }
    ContainerSpec of = spec();
    of.mounts = {{.kind = ContainerMount::Kind::volume,
                  .source = {},
                  .target = "/v",
                  .volume = "bad/name",
                  .mode = {}}};
    EXPECT_EQ(status_of([&] { containers_->create("bad", of); }), 400U);
    EXPECT_EQ(status_of([&] { static_cast<void>(containers_->find("bad")); }), 404U);
    EXPECT_EQ(supervisors_.count(), 1U);
}

TEST_F(ContainersTest, AreLookedIntoWhereTheyRunAndWhereTheyDoNot) {
    const ContentsQuestion question;
    ContainerSpec with = spec();
    with.mounts = {{.kind = ContainerMount::Kind::volume,
                    .source = {},
                    .target = "/v",
                    .volume = "named",
                    .mode = {},
                    .is_filled = true}};
    const std::string id = containers_->create("one", with);
    const auto first = containers_->open_contents("one", question);
    const auto second = containers_->open_contents("one", question);
    FakeSupervisor& quiet = supervisors_.wait_for(1);
    EXPECT_THAT(quiet.asked(), ElementsAre("contents", "contents"));
    EXPECT_TRUE(supervisors_.last_run().is_quiet);
    ASSERT_EQ(supervisors_.last_run().config.shared.size(), 1U) << "what is copied to a volume comes there";
    EXPECT_TRUE(supervisors_.last_run().config.shared[0].is_filled) << "as the start would do before";
    EXPECT_EQ(containers_->find(id).stage, Stage::created);
    containers_->start(id);
    EXPECT_THAT(quiet.asked(), ElementsAre("contents", "contents", "settle"))
        << "no two machines have a disk";
    EXPECT_FALSE(supervisors_.last_run().is_quiet);
    const auto third = containers_->open_contents("one", question);
    FakeSupervisor& run = supervisors_.wait_for(2);
    EXPECT_THAT(run.asked(), ElementsAre("start", "contents"));
    run.end(0);
    wait_for(id, Stage::exited);
    const auto fourth = containers_->open_contents("one", question);
    EXPECT_EQ(supervisors_.count(), 3U);
    EXPECT_EQ(containers_->find(id).state.exit_status, 0);
    containers_->remove("one", false);
    EXPECT_THAT(supervisors_.wait_for(3).asked(), ElementsAre("contents", "end"));
    EXPECT_THROW(static_cast<void>(containers_->open_contents("one", question)), ApiError);
}

TEST_F(ContainersTest, OneThatIsLookedIntoDoesNotRunForTheNextDaemon) {
    const std::string id = containers_->create("one", spec());
    const auto contents = containers_->open_contents("one", {});
    containers_.reset();
    begin();
    EXPECT_THAT(supervisors_.wait_for(1).asked(), ElementsAre("contents", "end"));
    EXPECT_EQ(containers_->find(id).stage, Stage::created);
    const auto again = containers_->open_contents("one", {});
    EXPECT_EQ(supervisors_.count(), 2U) << "one that is gone is no reason to fail";
}

TEST_F(ContainersTest, DoNotTakeAPortThatSomebodyHas) {
    const test::TcpListener taken = test::listen_tcp();
    ContainerSpec open = spec();
    open.ports = {{.container_port = 80, .host_address = "127.0.0.1", .host_port = taken.port}};
    const std::string id = containers_->create("one", open);
    EXPECT_EQ(status_of([&] { containers_->start(id); }), 500U);
    EXPECT_THAT(told(), HasSubstr("failed: port is already allocated"));
    EXPECT_EQ(supervisors_.count(), 0U);
}

}  // namespace
}  // namespace hull::container

// Of Containers: what is in their folders.
#include <poll.h>

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "container/life/container_entry.h"
#include "container/life/containers.h"

namespace hull::container {

namespace json = boost::json;
using Stage = ContainerView::Stage;

namespace {

constexpr std::chrono::seconds kForATransfer{60};
constexpr std::chrono::minutes kForABoot{5};
constexpr std::chrono::seconds kForItsEnd{60};

/// What a supervisor has answered: the transfer, or why there is none; neither where it is gone.
struct Opened {
    std::unique_ptr<GuestContents> contents{};
    std::string why{};
};

bool is_readable_within(const Channel& channel, std::chrono::milliseconds patience) {
    pollfd entry{channel.fd(), POLLIN, 0};
    return poll(&entry, 1, static_cast<int>(patience.count())) == 1;
}

Opened ask_for_contents(const ContainerFiles& files, const ContentsQuestion& question,
                        std::chrono::seconds patience) {
    auto channel = std::make_shared<Channel>(Channel::connect(files.socket()));
    json::object message = question.to_json();
    message["do"] = "contents";
    if (!channel->valid() || !channel->send(message)) {
        return {};
    }
    if (!is_readable_within(*channel, patience)) {
        return {.contents = nullptr, .why = "its guest does not answer"};
    }
    std::optional<Channel::Message> answer = channel->receive();
    if (!answer) {
        return {};
    }
    if (text_in(answer->what, "is") != "contents" || !answer->descriptor.valid()) {
        const std::string why = text_in(answer->what, "why");
        return {.contents = nullptr, .why = why.empty() ? "its supervisor does not obey" : why};
    }
    return {.contents = std::make_unique<GuestContents>(std::move(answer->descriptor), std::move(channel)),
            .why = {}};
}

[[noreturn]] void refuse(const std::string& why) {
    throw ApiError{500, "cannot look into the container: " + why};
}

}  // namespace

std::unique_ptr<GuestContents> Containers::open_contents(const std::string& name,
                                                         const ContentsQuestion& question) {
    const std::shared_ptr<Container> container = look_up(name);
    const auto is_running = [&] {
        return container->stage == Stage::running || container->stage == Stage::paused;
    };
    std::unique_lock operation{container->operation, std::defer_lock};
    bool runs = false;
    {
        const std::lock_guard lock{mutex_};
        runs = is_running();
    }
    if (!runs) {
        operation.lock();  // it may be about to run
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return !container->is_followed || container->stage != Stage::exited; });
        if (container->stage == Stage::restarting) {
            throw ApiError{
                409, "Container " + container->id + " is restarting, wait until the container is running"};
        }
        if (container->stage == Stage::removing) {
            throw ApiError{404, "No such container: " + name};
        }
        runs = is_running();
    }
    if (!runs) {
        return open_at_rest(container, question);
    }
    if (operation.owns_lock()) {
        operation.unlock();
    }
    Opened opened = ask_for_contents(container->files, question, kForATransfer);
    if (!opened.contents) {
        refuse(opened.why.empty() ? "it has ended meanwhile" : opened.why);
    }
    return std::move(opened.contents);
}

/// The caller has its `operation`.
std::unique_ptr<GuestContents> Containers::open_at_rest(const std::shared_ptr<Container>& container,
                                                        const ContentsQuestion& question) {
    ContentsQuestion synced = question;
    if (question.what == ContentsQuestion::What::unpack) {
        synced.flags |= agent::kToTheDisk;  // whatever happens to that machine afterwards
    }
    Opened opened;
    if (container->has_helper) {
        opened = ask_for_contents(container->files, synced, kForABoot);
    }
    if (!opened.contents && opened.why.empty()) {
        const Store::Hold hold = store_.hold();
        RunFile run = run_of(*container, image_of(*container));
        const auto has_started = [&] {
            const std::lock_guard lock{mutex_};
            return container->state.started != std::chrono::system_clock::time_point{};
        };
        share_with(*container, !has_started(), run.config);
        run.is_quiet = true;
        run.machine.cpus = 1;
        run.write(container->files);
        start_supervisor_(container->files);
        container->has_helper = true;
        opened = ask_for_contents(container->files, synced, kForABoot);
    }
    if (!opened.contents) {
        end_helper(*container, "end");
        refuse(opened.why.empty() ? "the machine that is to show it was killed" : opened.why);
    }
    return std::move(opened.contents);
}

/// Returns when no quiet supervisor is there: by "settle" it does its work first, by "end" it is killed. The
/// caller has the container's `operation`.
void Containers::end_helper(Container& container, const char* how) {
    if (std::exchange(container.has_helper, false)) {
        end_quiet_supervisor(container.files, how);
    }
}

void Containers::end_quiet_supervisor(const ContainerFiles& files, const char* how) {
    Channel channel = Channel::connect(files.socket());
    if (!channel.valid() || !channel.send({{"do", how}})) {
        return;
    }
    const auto end = std::chrono::steady_clock::now() + kForItsEnd;
    while (!channel.is_at_end()) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        if (left.count() <= 0 || !is_readable_within(channel, left)) {
            log_warning("the machine that shows what is in '" + files.folder.string() + "' does not end");
            return;
        }
        if (const auto said = channel.receive(); said && text_in(said->what, "is") == "failed") {
            return;  // it is no quiet one any more
        }
    }
}

void Containers::tell_of(const std::string& name, std::string action,
                         std::map<std::string, std::string> attributes) {
    tell(*look_up(name), std::move(action), std::move(attributes));
}

}  // namespace hull::container

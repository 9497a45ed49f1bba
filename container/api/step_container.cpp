#include "container/api/step_container.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/json/array.hpp>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "container/api/create_body.h"
#include "container/api/json_shapes.h"
#include "container/contents/archive_source.h"
#include "container/contents/guest_contents.h"

namespace hull::container {

namespace json = boost::json;

namespace {

/// Takes a stream in frames apart (framed()), as its pieces come.
class FrameReader {
  public:
    explicit FrameReader(BuildOutput& output) : output_{output} {}

    void add(std::string_view bytes) {
        waiting_ += bytes;
        std::string_view rest = waiting_;
        while (rest.size() >= kHeader) {
            size_t size = 0;
            for (size_t at = kHeader - 4; at < kHeader; ++at) {
                size = size << 8U | static_cast<unsigned char>(rest[at]);
            }
            if (rest.size() - kHeader < size) {
                break;
            }
            tell(rest.front() == '\2' ? errors_ : normal_, rest.substr(kHeader, size));
            rest.remove_prefix(kHeader + size);
        }
        waiting_.erase(0, waiting_.size() - rest.size());
    }
    void end() {
        flush(normal_, normal_.size());
        flush(errors_, errors_.size());
    }

  private:
    static constexpr size_t kHeader = 8;
    static constexpr size_t kMostLine = size_t{16} << 10;

    /// Whole lines together: nothing of another stream, and no character's bytes, are parted so.
    void tell(std::string& stream, std::string_view bytes) {
        stream += bytes;
        const size_t end = stream.rfind('\n');
        if (end != std::string::npos) {
            flush(stream, end + 1);
        } else if (stream.size() > kMostLine) {
            flush(stream, stream.size());
        }
    }
    void flush(std::string& stream, size_t size) {
        const std::string text = stream.substr(0, size);
        stream.erase(0, size);
        if (text.empty()) {
            return;
        }
        if (&stream == &errors_) {
            output_.print_error(text);
        } else {
            output_.print(text);
        }
    }

    BuildOutput& output_;
    std::string waiting_;
    std::string normal_;
    std::string errors_;
};

class Step : public StepContainer {
  public:
    Step(Containers& containers, Events& events, std::function<void(int fd)> wait_for, std::string id)
        : containers_{containers}, events_{events}, wait_for_{std::move(wait_for)}, id_{std::move(id)} {}

    [[nodiscard]] const std::string& id() const override { return id_; }

    int run(BuildOutput& output) override {
        const auto listener = events_.listen();  // before it can end
        std::array<int, 2> ends{};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
            throw ApiError{500, "cannot see what a build's command prints: " + errno_text(errno)};
        }
        const UniqueFd ours{ends[0]};
        containers_.attach(id_, {.socket = UniqueFd{ends[1]}});
        containers_.start(id_);
        FrameReader frames{output};
        std::array<char, size_t{16} << 10> room{};
        for (;;) {
            wait_for_(ours.get());
            const ssize_t got = read(ours.get(), room.data(), room.size());
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                break;
            }
            frames.add({room.data(), static_cast<size_t>(got)});
        }
        frames.end();
        for (;;) {
            wait_for_(listener->fd());
            for (const Event& event : listener->take()) {
                if (event.type == "container" && event.id == id_ && event.action == "die") {
                    return containers_.find(id_).state.exit_status;
                }
            }
        }
    }

    TakenLayer changes(Store& store, std::optional<int64_t> latest) override {
        try {
            const auto contents = containers_.open_contents(
                id_, {.what = ContentsQuestion::What::upper, .path = "/", .user = {}});
            ArchiveSource archive{*contents, ArchiveSource::Kind::layer, {}, std::nullopt, latest};
            return take_layer(
                store, [&](std::span<std::byte> bytes) { return archive.read(bytes); }, false);
        } catch (const GuestContentsError& error) {
            throw ApiError{500,
                           std::string{"cannot take what a build's command has changed: "} + error.what()};
        }
    }

    void remove() override { containers_.remove(id_, true); }

  private:
    Containers& containers_;
    Events& events_;
    std::function<void(int fd)> wait_for_;
    std::string id_;
};

}  // namespace

std::unique_ptr<StepContainer> create_step(Containers& containers, Events& events,
                                           std::function<void(int fd)> wait_for, const StepRequest& request) {
    json::object body{{"Image", request.image.id.text()},
                      {"Cmd", array_of(request.command)},
                      {"Entrypoint", json::array{""}},
                      {"Env", array_of(request.environment)},
                      {"AttachStdout", true},
                      {"AttachStderr", true},
                      {"Healthcheck", {{"Test", json::array{"NONE"}}}},
                      {"HostConfig", request.host_config}};
    ContainerSpec spec = parse_create_body(body, request.image);
    spec.run.is_open_afterwards = true;
    return std::make_unique<Step>(containers, events, std::move(wait_for),
                                  containers.create("", std::move(spec)));
}

}  // namespace hull::container

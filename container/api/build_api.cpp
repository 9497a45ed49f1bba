#include "container/api/build_api.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/build_query.h"
#include "container/api/progress_lines.h"
#include "container/api/registry_login.h"
#include "container/api/step_container.h"
#include "container/api/transfer_api.h"
#include "container/build/glob.h"
#include "container/image/exchange.h"
#include "container/image/pull.h"

namespace hull::container {

namespace {

/// What a build tells, line by line; of a quiet one nothing but its image, or, where it fails, all at once.
class Lines : public BuildOutput {
  public:
    Lines(ApiCall& call, bool is_quiet) : call_{call}, lines_{call}, is_quiet_{is_quiet} {}

    void print(const std::string& text) override {
        if (!is_quiet_) {
            return lines_.print(text);
        }
        constexpr size_t kMost = size_t{1} << 20;
        kept_ += text;
        kept_.erase(0, kept_.size() - std::min(kept_.size(), kMost));
    }
    void print_error(const std::string& text) override { print("\x1b[91m" + text + "\x1b[0m"); }
    void tell_image(const Digest& image) override {
        if (!is_quiet_) {
            lines_.tell_of_image(image);
        }
    }
    bool is_given_up() override {
        return lines_.is_vain() ||
               call_.wait_for(never_.get(), Connection::Clock::now()) == Connection::Wake::ended;
    }
    ProgressLines& progress() { return lines_; }
    [[nodiscard]] bool is_quiet() const { return is_quiet_; }
    void fail(const std::string& why, int code = 0) {
        if (!kept_.empty()) {
            lines_.print(kept_);
        }
        lines_.fail(why, code);
    }

  private:
    ApiCall& call_;
    ProgressLines lines_;
    bool is_quiet_;
    std::string kept_;
    UniqueFd never_ = make_eventfd();  // nobody signals it
};

/// A build's host, for one call.
class Host : public BuildHost {
  public:
    Host(Store& store, const RegistryOptions& registries, Containers& containers, Events& events,
         ApiCall& call, Lines& lines, const boost::json::object& host_config)
        : store_{store},
          registries_{registries},
          containers_{containers},
          events_{events},
          call_{call},
          lines_{lines},
          host_config_{host_config} {}

    void pull(const std::string& name) override {
        const Reference reference = Reference::parse(name);
        RegistryOptions registries = registries_;
        registries.login = parse_registry_logins(call_.header("X-Registry-Config"), reference.domain);
        const auto begin = [&, has_begun = false]() mutable {
            if (!std::exchange(has_begun, true) && !lines_.is_quiet()) {
                lines_.progress().tell("Pulling from " + reference.path, reference.tag);
            }
        };
        const Pulled pulled = container::pull(store_, reference, registries,
                                              [&, begin = begin](const LayerProgress& layer) mutable {
                                                  begin();
                                                  if (!lines_.is_quiet()) {
                                                      lines_.progress().tell(layer);
                                                  }
                                              });
        tell_of_image(events_, "pull", reference.familiar_text());
        if (!lines_.is_quiet()) {
            lines_.progress().tell("Digest: " + pulled.manifest.text());
            lines_.progress().tell(
                "Status: " + std::string{pulled.is_new ? "Downloaded newer image" : "Image is up to date"} +
                " for " + reference.familiar_text());
        }
    }

    Fetched fetch(const std::string& url) override {
        auto exchange = std::make_unique<Exchange>(
            connections_,
            Exchange::Request{.url = url, .headers = {}, .tried = "cannot fetch '" + printable(url) + "'"});
        constexpr long kFirstFailure = 400;
        if (exchange->status() >= kFirstFailure) {
            throw ApiError{400,
                           "failed to GET " + url + " with status " + std::to_string(exchange->status())};
        }
        const int64_t modified = exchange->modified();
        return {
            .modified = modified,
            .content = [this, exchange = std::shared_ptr<Exchange>{std::move(exchange)}, done = uint64_t{0},
                        told = std::chrono::steady_clock::time_point{}](std::span<std::byte> room) mutable {
                constexpr std::chrono::milliseconds kOften{200};
                const size_t got = exchange->read(room);
                done += got;
                if (const auto now = std::chrono::steady_clock::now(); got == 0 || now - told > kOften) {
                    told = now;
                    if (lines_.is_given_up()) {
                        throw ApiError{400, "Build cancelled"};
                    }
                    if (!lines_.is_quiet()) {
                        lines_.progress().tell_progress("Downloading", done, exchange->content_length());
                    }
                }
                return got;
            }};
    }

    std::unique_ptr<StepContainer> create(const StoredImage& image, const std::vector<std::string>& command,
                                          const std::vector<std::string>& environment) override {
        return create_step(
            containers_, events_, call_,
            {.image = image, .command = command, .environment = environment, .host_config = host_config_});
    }

  private:
    Store& store_;
    const RegistryOptions& registries_;
    Containers& containers_;
    Events& events_;
    ApiCall& call_;
    Lines& lines_;
    const boost::json::object& host_config_;
    Connections connections_;
};

/// The file that says what is to be done, parsed; files that the context is to be without are taken away.
Dockerfile take_dockerfile(BuildContext& context, std::string name) {
    const auto missing = [&]() -> ApiError {
        return {400, "Cannot locate specified Dockerfile: " + printable(name)};
    };
    constexpr const char* kUsual = "Dockerfile";
    if (!context.look(resolve_path(context, name)) && name == kUsual &&
        context.look(to_lower(name)).has_value()) {
        name = to_lower(name);
    }
    const auto text = context.text(name, kMostDockerfileBytes);
    if (!text) {
        throw missing();
    }
    if (text->empty()) {
        throw ApiError{400, "the Dockerfile (" + name + ") cannot be empty"};
    }
    Dockerfile file;
    try {
        file = parse_dockerfile(*text);
    } catch (const ApiError& error) {
        throw ApiError{400, "failed to parse " + name + ": " + error.what()};
    }
    if (const auto ignored = context.text(".dockerignore", kMostDockerfileBytes)) {
        const std::vector<std::string> lines = ignore_lines(*ignored);
        for (const std::string& each : {std::string{".dockerignore"}, clean_path(name)}) {
            if (is_ignored(each, lines)) {
                context.remove(each);
            }
        }
    }
    return file;
}

}  // namespace

bool BuildApi::is_stream(std::string_view method, const RequestTarget& target) {
    return method == "POST" && target.path == "/build";
}

bool BuildApi::answer(ApiCall& call) {
    if (call.is("POST") && call.target().path == "/build/prune") {
        // What steps left is images, which go with the last one that was made of them.
        call.send({{"CachesDeleted", nullptr}, {"SpaceReclaimed", 0}});
        return true;
    }
    if (!call.is("POST") || call.target().path != "/build") {
        return false;
    }
    build(call);
    return true;
}

void BuildApi::build(ApiCall& call) {
    const BuildQuery query = parse_build_query(call.target());
    Lines lines{call, query.is_quiet};
    try {
        BuildContext context{[&](std::span<std::byte> room) { return call.read_body(room); },
                             store_.root() / "tmp"};
        const Dockerfile file = take_dockerfile(context, query.file);
        const Store::Hold hold = store_.hold();
        Host host{store_, registries_, containers_, events_, call, lines, query.host_config};
        const Digest image = Build{store_, host, lines, context, query.options}.run(file);
        lines.print("Successfully built " + image.short_digits() + "\n");
        for (const Reference& name : query.names) {
            store_.tag(image.text(), name);
            tell_of_image(events_, "tag", name.familiar_text());
            lines.print("Successfully tagged " + name.familiar_text() + "\n");
        }
        if (query.is_quiet) {
            lines.progress().print(image.text() + "\n");
        }
    } catch (const RunFailed& error) {
        lines.fail(error.what(), error.status());
    } catch (const ApiError& error) {
        if (!call.is_begun()) {
            throw;
        }
        lines.fail(error.what());
    } catch (const Error& error) {
        if (!call.is_begun()) {
            throw ApiError{error.status() == ExitStatus::no_resources ? 500U : 400U, error.what()};
        }
        lines.fail(error.what());
    }
}

}  // namespace hull::container

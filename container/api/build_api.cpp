#include "container/api/build_api.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "container/api/build_host.h"
#include "container/api/build_query.h"
#include "container/api/progress_lines.h"
#include "container/api/registry_login.h"

namespace hull::container {

namespace {

/// What a build tells, line by line; of a quiet one nothing but its image, or, where it fails, all at once.
class Lines : public BuildClient {
  public:
    Lines(ApiCall& call, bool is_quiet) : call_{call}, lines_{call}, is_quiet_{is_quiet} {}

    void print(const std::string& text) override {
        if (!is_quiet_) {
            return lines_.print(text);
        }
        kept_.add(text);
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
    void wait_for(int fd) override {
        if (call_.wait_for(fd) == Connection::Wake::ended) {
            throw ApiError{400, "Build cancelled"};
        }
    }
    void tell(const std::string& status, const std::string& id) override {
        if (!is_quiet_) {
            lines_.tell(status, id);
        }
    }
    void tell_layer(const LayerProgress& layer) override {
        if (!is_quiet_) {
            lines_.tell(layer);
        }
    }
    void tell_download(uint64_t done, uint64_t total) override {
        if (!is_quiet_) {
            lines_.tell_progress("Downloading", done, total);
        }
    }
    /// Though it be a quiet one.
    void print_anyway(const std::string& text) { lines_.print(text); }
    void fail(const std::string& why, int code = 0) {
        if (!kept_.text().empty()) {
            lines_.print(kept_.text());
        }
        lines_.fail(why, code);
    }

  private:
    ApiCall& call_;
    ProgressLines lines_;
    bool is_quiet_;
    KeptText kept_;
    UniqueFd never_ = make_eventfd();  // nobody signals it
};

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
        const auto find_registry = [&](const std::string& domain) {
            RegistryOptions registries = registries_;
            registries.login = parse_registry_logins(call.header("X-Registry-Config"), domain);
            return registries;
        };
        ContainersBuildHost host{store_, find_registry, containers_, events_, lines, query.host_config};
        const Digest image = Build{store_, host, lines, context, query.options}.run(file);
        finish_build(store_, events_, lines, image, query.names);
        if (query.is_quiet) {
            lines.print_anyway(image.text() + "\n");
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

#include "container/api/transfer_api.h"

#include <algorithm>
#include <atomic>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/progress_lines.h"
#include "container/api/registry_login.h"
#include "container/image/import.h"
#include "container/image/load.h"
#include "container/image/pull.h"
#include "container/image/push.h"

namespace hull::container {

namespace json = boost::json;

namespace {

/// What "fromImage" and "tag" name together: a tag, or a digest.
Reference pulled_reference(const RequestTarget& target) {
    std::string name = target.find("fromImage").value_or("");
    const std::string tag = target.find("tag").value_or("");
    if (name.empty()) {
        throw ApiError{400, "no image is named (fromImage)"};
    }
    if (!tag.empty()) {
        name += (Digest::parse(tag) ? "@" : ":") + tag;
    }
    return Reference::parse(name);
}

/// Whether "platform", where it is given, is this host's.
void require_platform(const RequestTarget& target) {
    const Platform here = Platform::of_this_host();
    const std::string platform = target.find("platform").value_or("");
    if (!platform.empty() && platform != here.text() && platform != here.os) {
        throw ApiError{400, "images for '" + platform + "' do not run here: this is " + here.text()};
    }
}

/// Whether "NAME" stands without a tag and a digest.
bool is_only_a_name(const std::string& text) {
    const size_t slash = text.rfind('/');
    return text.find_first_of(":@", slash == std::string::npos ? 0 : slash) == std::string::npos;
}

/// Whether an image was found by a name, and not by an id.
bool is_a_name_of(const StoredImage& image, const std::string& text) {
    try {
        const std::string name = Reference::parse(text).text();
        return std::ranges::find(image.names, name) != image.names.end();
    } catch (const Error&) {  // it is a whole id
        return false;
    }
}

/// The images that have tags of a repository, by these.
std::map<std::string, StoredImage> tags_of(const Store& store, const std::string& repository) {
    std::map<std::string, StoredImage> found;
    for (const StoredImage& image : store.list()) {
        for (const std::string& name : image.names) {
            const Reference reference = Reference::parse(name);
            if (!reference.tag.empty() && reference.repository() == repository) {
                found.emplace(reference.tag, image);
            }
        }
    }
    return found;
}

}  // namespace

bool TransferApi::is_stream(std::string_view method, const RequestTarget& target) {
    return method == "POST" &&
           (target.path == "/images/load" || (target.path == "/images/create" && target.find("fromSrc")));
}

bool TransferApi::answer(ApiCall& call) {
    const RequestTarget& target = call.target();
    const bool is_get = call.is("GET") && !call.is("HEAD");
    const bool is_post = call.is("POST");
    if (target.path == "/images/create" && is_post) {
        pull_image(call);
    } else if (target.path == "/auth" && is_post) {
        log_in(call);
    } else if (target.path == "/images/load" && is_post) {
        load_images(call);
    } else if (target.path == "/images/get" && is_get) {
        save_images(call, target.find_all("names"));
    } else if (const auto saved = target.between("/images/", "/get"); saved && is_get) {
        save_images(call, {*saved});
    } else if (const auto name = target.between("/images/", "/push"); name && is_post) {
        push_image(call, *name);
    } else {
        return false;
    }
    return true;
}

RegistryOptions TransferApi::registries_for(const ApiCall& call) const {
    RegistryOptions registries = registries_;
    registries.login = parse_registry_login(call.header("X-Registry-Auth"));
    return registries;
}

void TransferApi::pull_image(ApiCall& call) {
    const RequestTarget& target = call.target();
    if (target.find("fromSrc")) {
        return import_image(call);
    }
    require_platform(target);
    const Reference reference = pulled_reference(target);
    const RegistryOptions registries = registries_for(call);
    ProgressLines lines{call};
    // What the registry says before there is a layer is an answer of its own.
    const auto begin = [&] {
        if (!call.is_begun()) {
            lines.tell("Pulling from " + reference.path, reference.tag);
        }
    };
    try {
        const Pulled pulled = pull(store_, reference, registries, [&](const LayerProgress& layer) {
            begin();
            lines.tell(layer);
        });
        begin();
        tell_of_image(events_, "pull", reference.familiar_text());
        lines.tell("Digest: " + pulled.manifest.text());
        lines.tell(
            "Status: " + std::string{pulled.is_new ? "Downloaded newer image" : "Image is up to date"} +
            " for " + reference.familiar_text());
    } catch (const Error& error) {
        if (!call.is_begun()) {
            throw ApiError{404, error.what()};
        }
        lines.fail(error.what());
    }
}

void TransferApi::push_image(ApiCall& call, const std::string& name) {
    const std::string tag = call.target().find("tag").value_or("");
    const bool is_all = tag.empty() && is_only_a_name(name);
    Reference reference = Reference::parse(tag.empty() ? name : name + ":" + tag);
    if (reference.digest) {
        throw ApiError{400, "cannot push a digest reference"};
    }
    if (!call.target().find("platform").value_or("").empty()) {
        throw ApiError{400, "an image here is of one platform: there is no other to push (--platform)"};
    }
    const RegistryOptions registries = registries_for(call);
    ProgressLines lines{call};
    lines.tell("The push refers to repository [" + reference.repository() + "]");
    try {
        std::map<std::string, StoredImage> images = tags_of(store_, reference.repository());
        if (images.empty()) {
            return lines.fail("An image does not exist locally with the tag: " +
                              reference.familiar_repository());
        }
        if (!is_all) {
            auto wanted = images.extract(reference.tag);
            if (wanted.empty()) {
                return lines.fail("tag does not exist: " + reference.familiar_text());
            }
            images.clear();
            images.insert(std::move(wanted));
        }
        for (const auto& [its_tag, image] : images) {
            reference.tag = its_tag;
            std::atomic<bool> is_given_up = false;
            const Pushed pushed =
                push(store_, image, reference, registries, is_given_up, [&](const PushProgress& layer) {
                    lines.tell(layer);
                    is_given_up = is_given_up || lines.is_vain();
                });
            tell_of_image(events_, "push", reference.familiar_text());
            lines.tell(pushed, its_tag);
        }
    } catch (const Error& error) {
        lines.fail(error.what());
    }
}

void TransferApi::import_image(ApiCall& call) {
    const RequestTarget& target = call.target();
    require_platform(target);
    if (const std::string source = *target.find("fromSrc"); source != "-") {
        throw ApiError{400, "cannot import '" + printable(source) +
                                "': the daemon fetches nothing; get it, and give it to the client ('docker "
                                "import -')"};
    }
    Import import{
        .name = {}, .message = target.find("message").value_or(""), .changes = target.find_all("changes")};
    std::string name = target.find("repo").value_or("");
    if (const std::string tag = target.find("tag").value_or(""); !tag.empty()) {
        name += ":" + tag;
    }
    if (!name.empty()) {
        import.name = Reference::parse(name);
        if (import.name->digest) {
            throw ApiError{400, "cannot import digest reference"};
        }
    }
    try {
        const Digest id = container::import_image(
            store_, [&](std::span<std::byte> room) { return call.read_body(room); }, import);
        tell_of_image(events_, "import", id.text());
        ProgressLines{call}.tell(id.text());
    } catch (const Error& error) {
        const bool is_theirs = error.status() == ExitStatus::bad_file || error.status() == ExitStatus::usage;
        throw ApiError{is_theirs ? 400U : 500U, error.what()};
    }
}

void TransferApi::log_in(ApiCall& call) const {
    const RegistryLogin login = parse_login_body(call.body());
    RegistryOptions registries = registries_;
    registries.login = login.credentials;
    try {
        Registry{{.domain = login.domain, .path = "", .tag = ""}, registries, Registry::Purpose::login}
            .connect();
    } catch (const AccessDenied& error) {
        throw ApiError{401, error.what()};
    }
    call.send({{"Status", "Login Succeeded"}, {"IdentityToken", ""}});
}

void TransferApi::load_images(ApiCall& call) {
    const bool is_quiet = call.target().is_set("quiet");
    ProgressLines lines{call};
    try {
        const std::vector<Loaded> loaded = load(
            store_, [&](std::span<std::byte> room) { return call.read_body(room); }, {},
            [&](const LoadProgress& layer) {
                if (!is_quiet) {
                    lines.tell(layer);
                }
            });
        for (const Loaded& image : loaded) {
            lines.tell(image);
            tell_of_image(events_, "load", image.image.text());
        }
    } catch (const Error& error) {
        if (!call.is_begun()) {
            throw ApiError{error.status() == ExitStatus::bad_file ? 400U : 500U, error.what()};
        }
        lines.fail(error.what());
    }
}

std::vector<SavedImage> TransferApi::images_to_save(const std::vector<std::string>& names) const {
    std::vector<SavedImage> images;
    const auto add = [&](const StoredImage& image, const Reference* name) {
        auto place =
            std::ranges::find(images, image.id, [](const SavedImage& saved) { return saved.image.id; });
        if (place == images.end()) {
            place = images.insert(place, SavedImage{.image = image, .names = {}});
        }
        if (name != nullptr && std::ranges::none_of(place->names, [&](const Reference& other) {
                return other.text() == name->text();
            })) {
            place->names.push_back(*name);
        }
    };
    for (const std::string& text : names) {
        // A name alone means all its tags, as docker has it.
        std::map<std::string, StoredImage> tags;
        const auto image = store_.find(text);
        const bool is_name = image && is_a_name_of(*image, text);
        if (is_only_a_name(text) && (is_name || !image)) {
            Reference reference = Reference::parse(text);
            tags = tags_of(store_, reference.repository());
            for (const auto& [tag, tagged] : tags) {
                reference.tag = tag;
                add(tagged, &reference);
            }
        }
        if (tags.empty() && !image) {
            throw ApiError{404, "No such image: " + text};
        }
        if (tags.empty()) {
            const Reference reference = is_name ? Reference::parse(text) : Reference{};
            add(*image, is_name && !reference.tag.empty() ? &reference : nullptr);
        }
    }
    return images;
}

void TransferApi::save_images(ApiCall& call, const std::vector<std::string>& names) {
    if (names.empty()) {
        throw ApiError{400, "no image is named (names)"};
    }
    const SavedArchive archive{store_, images_to_save(names)};
    call.begin("application/x-tar");
    archive.write([&](std::string_view piece) {
        if (!call.write(piece)) {
            throw ApiError{500, "the client has gone"};
        }
    });
    for (const std::string& name : names) {
        tell_of_image(events_, "save", name);
    }
}

void tell_of_image(Events& events, const std::string& action, const std::string& image) {
    events.tell({.type = "image",
                 .action = action,
                 .id = image,
                 .attributes = {{"name", image}},
                 .time = std::chrono::system_clock::now()});
}

}  // namespace hull::container

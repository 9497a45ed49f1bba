#include "container/image/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/printable.h"
#include "base/small_file.h"
#include "container/image/json.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr const char* kIndexFile = "images.json";
constexpr uint64_t kMostIndexBytes = uint64_t{64} << 20U;
// Each is a file that is locked and has no content: who uses the store at all; who relies on what nothing
// refers to; who changes images.json.
constexpr const char* kUseLock = "use.lock";
constexpr const char* kHoldLock = "hold.lock";
constexpr const char* kChangeLock = "change.lock";

[[noreturn]] void fail(const std::string& tried, const fs::path& path, int error) {
    const bool is_full = error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE;
    throw Error{is_full ? ExitStatus::no_resources : ExitStatus::bad_file, tried + " '" + path.string() + "'",
                errno_text(error),
                is_full ? "make room, or remove images (hull rmi)"
                        : "check who may write there (--data-root says where images are)"};
}

void make_folder(const fs::path& path) {
    std::error_code error;
    if (path.has_parent_path() && !fs::exists(path.parent_path(), error)) {
        make_folder(path.parent_path());
    }
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        fail("cannot make the folder", path, errno);
    }
}

void sync(int fd, const fs::path& path) {
    if (fsync(fd) != 0) {
        fail("cannot write", path, errno);
    }
}

/// So that a name in it outlives the host's death.
void sync_folder(const fs::path& path) {
    const UniqueFd folder{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!folder.valid()) {
        fail("cannot open the folder", path, errno);
    }
    sync(folder.get(), path);
}

void write_all(int fd, std::span<const std::byte> bytes, const fs::path& path) {
    while (!bytes.empty()) {
        const ssize_t written = write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) {
            fail("cannot write", path, errno);
        }
        bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(written, 0)));
    }
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

std::optional<uint64_t> size_of(const fs::path& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
        return std::nullopt;
    }
    return static_cast<uint64_t>(status.st_size);
}

/// All of a file; none where it is missing.
std::optional<std::string> read_whole(const fs::path& path, uint64_t most) {
    UniqueFd file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file.valid() && errno == ENOENT) {
        return std::nullopt;
    }
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0) {
        fail("cannot read", path, errno);
    }
    if (static_cast<uint64_t>(status.st_size) > most) {
        fail("cannot read", path, EFBIG);
    }
    const auto size = static_cast<uint64_t>(status.st_size);
    std::string text(size, '\0');
    read_exactly({.fd = std::move(file), .size = size, .path = path}, "file", 0, text.data(), size);
    return text;
}

bool is_id_or_its_beginning(std::string_view text) {
    return !text.empty() && text.size() <= 64 &&
           text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool has_children(const std::map<Digest, Digest>& parents, const Digest& image) {
    return std::ranges::any_of(parents, [&](const auto& each) { return each.second == image; });
}

[[noreturn]] void refuse_missing(std::string_view image) {
    throw Error{ExitStatus::bad_file, "cannot find the image '" + printable(image) + "'", "no such image",
                "'hull images' lists those that are here"};
}

}  // namespace

fs::path default_data_root() {
    if (geteuid() == 0) {
        return "/var/lib/hull";
    }
    const char* const data = getenv("XDG_DATA_HOME");
    if (data != nullptr && *data == '/') {
        return fs::path{data} / "hull";
    }
    const char* const home = getenv("HOME");
    if (home == nullptr || *home != '/') {
        throw Error{ExitStatus::usage, "cannot tell where images are", "there is no HOME",
                    "give --data-root DIR"};
    }
    return fs::path{home} / ".local/share/hull";
}

Store::Store(fs::path root, Use use) : root_{std::move(root)} {
    for (const char* const folder : {"tmp", "blobs/sha256", "layers/sha256", "unpacked/sha256"}) {
        make_folder(root_ / folder);
    }
    lock_ = lock(kUseLock, (use == Use::alone ? LOCK_EX : LOCK_SH) | LOCK_NB);
    if (!lock_.valid()) {
        throw Error{
            ExitStatus::no_resources, "cannot use the images in '" + root_.string() + "'",
            use == Use::alone ? "other programs of Hull's are using them" : "a daemon has them for itself",
            "end it, or give another folder (--data-root)"};
    }
    if (const UniqueFd nobody = lock(kHoldLock, LOCK_EX | LOCK_NB); nobody.valid()) {
        sweep();
    }
}

UniqueFd Store::lock(const char* name, int how) const {
    const fs::path path = root_ / name;
    UniqueFd file{open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!file.valid()) {
        fail("cannot open", path, errno);
    }
    while (flock(file.get(), how) != 0) {
        if (errno == EWOULDBLOCK) {
            return {};
        }
        if (errno != EINTR) {
            fail("cannot lock", path, errno);
        }
    }
    return file;
}

void Store::sweep() const {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator{root_ / "tmp", error}) {
        fs::remove_all(entry.path(), error);
    }
}

Store::Hold Store::hold() {
    return Hold{lock(kHoldLock, LOCK_SH)};
}

Store::NewFile::~NewFile() {
    if (!path_.empty()) {
        unlink(path_.c_str());
    }
}

void Store::NewFile::append(std::span<const std::byte> bytes) {
    write_all(fd_.get(), bytes, path_);
}

Store::NewFile Store::make_file() {
    std::string name = root_ / "tmp/XXXXXX";
    UniqueFd file{mkostemp(name.data(), O_CLOEXEC)};
    if (!file.valid()) {
        fail("cannot make a file like", name, errno);
    }
    return {std::move(file), name};
}

void Store::keep(NewFile file, const fs::path& place) {
    sync(file.fd(), file.path_);
    if (rename(file.path_.c_str(), place.c_str()) != 0) {
        fail("cannot make", place, errno);
    }
    file.path_.clear();
    sync_folder(place.parent_path());
}

void Store::keep_blob(NewFile file, const Digest& digest) {
    keep(std::move(file), blob(digest));
}

void Store::keep_layer(NewFile file, const Digest& digest) {
    keep(std::move(file), layer(digest));
}

void Store::keep_blob(std::string_view content, const Digest& digest) {
    NewFile file = make_file();
    file.append(bytes_of(content));
    keep_blob(std::move(file), digest);
}

void Store::keep_pair(const Digest& packed, const Digest& unpacked) {
    NewFile file = make_file();
    file.append(bytes_of(unpacked.text()));
    keep(std::move(file), pair(packed));
}

fs::path Store::pair(const Digest& packed) const {
    return root_ / "unpacked/sha256" / packed.digits();
}

fs::path Store::blob(const Digest& digest) const {
    return root_ / "blobs/sha256" / digest.digits();
}

fs::path Store::layer(const Digest& digest) const {
    return root_ / "layers/sha256" / digest.digits();
}

bool Store::has_blob(const Descriptor& descriptor) const {
    return size_of(blob(descriptor.digest)) == descriptor.size;
}

bool Store::has_layer(const Digest& digest) const {
    return size_of(layer(digest)).has_value();
}

std::optional<Digest> Store::unpacked_of(const Digest& packed) const {
    constexpr uint64_t kMostPairBytes = 100;  // a digest has 71
    const std::optional<std::string> text = read_whole(pair(packed), kMostPairBytes);
    return text ? Digest::parse(*text) : std::nullopt;
}

std::string Store::read_blob(const Digest& digest, uint64_t most_bytes) const {
    std::optional<std::string> content = read_whole(blob(digest), most_bytes);
    if (!content || Digest::of(bytes_of(*content)) != digest) {
        throw Error{ExitStatus::bad_file, "cannot use '" + blob(digest).string() + "'",
                    content ? "its content is not what its name says" : "it is missing",
                    "remove the images that need it (hull rmi) and pull them again"};
    }
    return *std::move(content);
}

Store::Index Store::read_index() const {
    const fs::path path = root_ / kIndexFile;
    const std::optional<std::string> text = read_whole(path, kMostIndexBytes);
    Index result;
    if (!text) {
        return result;
    }
    const std::string tried = "cannot use the list of images '" + path.string() + "'";
    const json::object whole = parse_json_object(*text, tried);
    const JsonObject index{whole, tried};
    if (index.number("version") != 1) {
        index.refuse("it is of another version of Hull");
    }
    const JsonObject images = index.object("images");
    for (const std::string& key : images.keys()) {
        const std::optional<Digest> id = Digest::parse(key);
        if (!id) {
            index.refuse("an image's id is no digest");
        }
        const JsonObject image = images.object(key);
        result.manifests.emplace(*id, digest_in(image, "manifest"));
        if (image.has("parent")) {
            result.parents.emplace(*id, digest_in(image, "parent"));
        }
    }
    const JsonObject names = index.object("names");
    for (const std::string& name : names.keys()) {
        const Digest id = digest_in(names, name);
        if (!result.manifests.contains(id)) {
            index.refuse("a name is of an image that is not there");
        }
        result.names.emplace(name, id);
    }
    return result;
}

void Store::write_index(const Index& index) const {
    json::object images;
    for (const auto& [id, manifest] : index.manifests) {
        json::object image{{"manifest", manifest.text()}};
        if (const auto parent = index.parents.find(id); parent != index.parents.end()) {
            image["parent"] = parent->second.text();
        }
        images[id.text()] = std::move(image);
    }
    json::object names;
    for (const auto& [name, id] : index.names) {
        names[name] = id.text();
    }
    const std::string text =
        json::serialize(json::object{{"version", 1}, {"images", images}, {"names", names}}) + "\n";
    // Its maker has the lock of changes.
    replace_file(root_ / kIndexFile, text);
}

Digest Store::nothing() {
    return Digest::of({});
}

bool Store::add(const Digest& config, const Digest& manifest, const std::vector<Reference>& names,
                const std::optional<Digest>& parent) {
    const UniqueFd change = lock(kChangeLock, LOCK_EX);
    Index index = read_index();
    const auto [image, is_new] = index.manifests.try_emplace(config, manifest);
    bool is_changed = is_new || image->second != manifest;
    image->second = manifest;
    if (parent) {
        is_changed = index.parents.try_emplace(config, *parent).second || is_changed;
    }
    for (const Reference& name : names) {
        const auto [place, is_new_name] = index.names.try_emplace(name.text(), config);
        is_changed = is_changed || is_new_name || place->second != config;
        place->second = config;
    }
    if (is_changed) {
        write_index(index);
    }
    return is_changed;
}

std::optional<Digest> Store::resolve(const Index& index, std::string_view text) const {
    const bool has_algorithm = text.starts_with("sha256:");
    const std::string_view digits = has_algorithm ? text.substr(7) : text;
    if (auto id = Digest::parse("sha256:" + std::string{digits}); id && index.manifests.contains(*id)) {
        return id;
    }
    try {
        const auto name = index.names.find(Reference::parse(text).text());
        if (name != index.names.end()) {
            return name->second;
        }
    } catch (const Error&) {  // No name, but perhaps a beginning of an id.
        if (!is_id_or_its_beginning(digits)) {
            throw;
        }
    }
    if (!is_id_or_its_beginning(digits)) {
        return std::nullopt;
    }
    std::optional<Digest> found;
    for (const auto& [id, manifest] : index.manifests) {
        if (id.digits().starts_with(digits)) {
            if (found) {
                throw Error{ExitStatus::usage, "cannot tell which image '" + std::string{text} + "' is",
                            "several ids begin so", "give more of it"};
            }
            found = id;
        }
    }
    return found;
}

StoredImage Store::load(const Index& index, const Digest& id) const {
    StoredImage result{.id = id,
                       .manifest = index.manifests.at(id),
                       .config = ImageConfig::parse(read_blob(id, Manifest::kMostConfigBytes)),
                       .layers = {},
                       .names = {}};
    for (const Digest& digest : result.config.layers) {
        const fs::path& disk = result.layers.emplace_back(layer(digest));
        const std::optional<uint64_t> size = size_of(disk);
        if (!size) {
            throw Error{ExitStatus::bad_file, "cannot use the image " + id.text(),
                        "its layer '" + disk.string() + "' is missing", "pull it again"};
        }
        result.size += *size;
    }
    for (const auto& [name, image] : index.names) {
        if (image == id) {
            result.names.push_back(name);
        }
    }
    if (const auto parent = index.parents.find(id); parent != index.parents.end()) {
        result.parent = parent->second;
    }
    result.is_parent = has_children(index.parents, id);
    return result;
}

std::vector<StoredImage> Store::children(const Digest& parent) const {
    const Index index = read_index();
    std::vector<StoredImage> result;
    for (const auto& [id, its_parent] : index.parents) {
        if (its_parent == parent) {
            result.push_back(load(index, id));
        }
    }
    return result;
}

std::optional<StoredImage> Store::find(std::string_view text) const {
    const Index index = read_index();
    const std::optional<Digest> id = resolve(index, text);
    return id ? std::optional{load(index, *id)} : std::nullopt;
}

bool Store::has(std::string_view text) const {
    return resolve(read_index(), text).has_value();
}

size_t Store::count() const {
    return read_index().manifests.size();
}

std::vector<StoredImage> Store::list() const {
    const Index index = read_index();
    std::vector<StoredImage> result;
    for (const auto& [id, manifest] : index.manifests) {
        result.push_back(load(index, id));
    }
    // Times are all of RFC 3339, nearly always in UTC: their texts' order is theirs.
    std::ranges::stable_sort(result, std::ranges::greater{},
                             [](const StoredImage& image) { return image.config.created; });
    return result;
}

void Store::tag(std::string_view image, const Reference& name) {
    const UniqueFd change = lock(kChangeLock, LOCK_EX);
    Index index = read_index();
    const std::optional<Digest> id = resolve(index, image);
    if (!id) {
        refuse_missing(image);
    }
    index.names.insert_or_assign(name.text(), *id);
    write_index(index);
}

Store::Removed Store::remove(std::string_view image, bool is_forced,
                             const std::function<bool(const Digest&)>& is_used) {
    const UniqueFd change = lock(kChangeLock, LOCK_EX);
    Index index = read_index();
    const std::optional<Digest> id = resolve(index, image);
    if (!id) {
        refuse_missing(image);
    }
    // By a name where it is one of the image's: an id's beginning looks like a name that is not there.
    std::optional<Reference> name;
    if (Digest::parse(image) != id && image != id->digits()) {
        name = Reference::parse(image);
        if (const auto place = index.names.find(name->text());
            place == index.names.end() || place->second != *id) {
            name.reset();
        }
    }
    std::set<std::string> repositories;
    std::set<std::string> tagged;  // those of them in which a tag stays
    for (const auto& [other, its_image] : index.names) {
        if (its_image == *id) {
            const Reference reference = Reference::parse(other);
            repositories.insert(reference.repository());
            if (!reference.tag.empty() && (!name || other != name->text())) {
                tagged.insert(reference.repository());
            }
        }
    }
    if (!name && repositories.size() > 1 && !is_forced) {
        throw Error{ExitStatus::usage, "cannot remove the image " + id->text(),
                    "it is referenced in multiple repositories", "remove its names, or give --force"};
    }
    if (!name && has_children(index.parents, *id)) {
        throw Error{ExitStatus::usage, "cannot remove the image " + id->text(),
                    "image has dependent child images", "remove these before, or a name of it only"};
    }
    Removed result;
    std::erase_if(index.names, [&](const auto& entry) {
        if (entry.second != *id) {
            return false;
        }
        // With the last tag of a repository go its digests.
        const Reference other = Reference::parse(entry.first);
        const bool is_gone = !name || other.text() == name->text() ||
                             (other.digest && !name->digest && other.repository() == name->repository() &&
                              !tagged.contains(other.repository()));
        if (is_gone) {
            result.names.push_back(entry.first);
        }
        return is_gone;
    });
    const auto is_free = [&](const Digest& one) {
        return std::ranges::none_of(index.names, [&](const auto& entry) { return entry.second == one; }) &&
               !has_children(index.parents, one);
    };
    if (is_free(*id)) {
        result.image = id;
        for (std::optional<Digest> gone = id; gone;) {
            index.manifests.erase(*gone);
            const auto child = index.parents.extract(*gone);
            gone.reset();
            if (!child.empty() && index.manifests.contains(child.mapped()) && is_free(child.mapped()) &&
                !is_used(child.mapped())) {
                gone = child.mapped();
                result.parents.push_back(*gone);
            }
        }
    }
    write_index(index);
    return result;
}

std::optional<uint64_t> Store::collect() {
    const UniqueFd nobody = lock(kHoldLock, LOCK_EX | LOCK_NB);
    if (!nobody.valid()) {
        return std::nullopt;
    }
    std::set<fs::path> used;
    for (const auto& [id, manifest_digest] : read_index().manifests) {
        used.insert(blob(id));
        used.insert(blob(manifest_digest));
        for (const Digest& digest : ImageConfig::parse(read_blob(id, Manifest::kMostConfigBytes)).layers) {
            used.insert(layer(digest));
        }
        const auto manifest =
            parse_manifest(read_blob(manifest_digest, Manifest::kMostBytes), "", Platform::of_this_host());
        for (const Descriptor& packed : std::get<Manifest>(manifest).layers) {
            used.insert(blob(packed.digest));
            used.insert(pair(packed.digest));
        }
    }
    uint64_t freed = 0;
    std::error_code ignored;
    for (const char* const folder : {"blobs/sha256", "layers/sha256", "unpacked/sha256"}) {
        for (const auto& entry : fs::directory_iterator{root_ / folder, ignored}) {
            if (!used.contains(entry.path())) {
                freed += size_of(entry.path()).value_or(0);
                unlink(entry.path().c_str());
            }
        }
    }
    sweep();
    return freed;
}

}  // namespace hull::container

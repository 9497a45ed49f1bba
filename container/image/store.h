// Images on the host's disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "container/image/digest.h"
#include "container/image/image_config.h"
#include "container/image/manifest.h"
#include "container/image/reference.h"

namespace hull::container {

struct StoredImage {
    Digest id;  ///< of the configuration, as Docker has it
    Digest manifest;
    ImageConfig config;
    std::vector<std::filesystem::path> layers;  ///< their disks (EROFS), the lowest first
    std::vector<std::string> names;             ///< whole ones, sorted: "docker.io/library/nginx:latest"
    uint64_t size = 0;                          ///< bytes of the disks
    std::optional<Digest> parent{};             ///< of which it was built here; Store::nothing() for scratch
    bool is_parent = false;                     ///< another one that is here was built of it
};

/// /var/lib/hull for root, $XDG_DATA_HOME/hull or ~/.local/share/hull for others.
std::filesystem::path default_data_root();

/// A folder of images: what registries sent as it came (blobs/sha256/DIGITS), the disk of each layer by the
/// digest of its unpacked archive (layers/sha256/DIGITS), what each packed layer was seen to unpack to
/// (unpacked/sha256/DIGITS), and which name is which image (images.json). What
/// has its place is whole and on the disk, whenever a process or the host dies: it is written under tmp/,
/// synced, and renamed; images.json comes last, and what is left over is swept by who opens the store next.
///
/// Several processes may have one open, or one alone. Each function may be called by any thread, and throws
/// Error: no_resources where the disk is full, bad_file where the folder cannot be used or something in it is
/// broken.
class Store {
  public:
    enum class Use { shared, alone };

    /// Makes the folder where it is missing, for this user alone. Throws Error (no_resources) where another
    /// process is in the way.
    Store(std::filesystem::path root, Use use);

    [[nodiscard]] const std::filesystem::path& root() const { return root_; }

    /// As long as one is there, in any process, nothing is taken from the store but names: for who puts
    /// content in before an image refers to it, and for who opens an image's disks after find().
    class Hold {
      public:
        Hold(Hold&&) noexcept = default;

      private:
        friend class Store;
        explicit Hold(UniqueFd lock) : lock_{std::move(lock)} {}
        UniqueFd lock_;
    };
    /// Waits while another process collects what nothing refers to, which is soon done.
    [[nodiscard]] Hold hold();

    /// Content that is being made; removed with this. Its maker has a Hold.
    class NewFile {
      public:
        NewFile(NewFile&& other) noexcept
            : fd_{std::move(other.fd_)}, path_{std::exchange(other.path_, {})} {}
        NewFile& operator=(NewFile&&) = delete;
        NewFile(const NewFile&) = delete;
        ~NewFile();

        [[nodiscard]] int fd() const { return fd_.get(); }
        /// At its end. Throws Error (no_resources).
        void append(std::span<const std::byte> bytes);

      private:
        friend class Store;
        NewFile(UniqueFd fd, std::filesystem::path path) : fd_{std::move(fd)}, path_{std::move(path)} {}
        UniqueFd fd_;
        std::filesystem::path path_;
    };
    [[nodiscard]] NewFile make_file();
    /// Gives it its place. That it has this digest (for a layer: is made of an archive that has) is for the
    /// caller to know.
    void keep_blob(NewFile file, const Digest& digest);
    void keep_layer(NewFile file, const Digest& digest);
    void keep_blob(std::string_view content, const Digest& digest);

    /// That a packed layer, which has its place, unpacks to an archive of this digest, whose disk has, too.
    void keep_pair(const Digest& packed, const Digest& unpacked);

    [[nodiscard]] std::filesystem::path blob(const Digest& digest) const;
    [[nodiscard]] std::filesystem::path layer(const Digest& digest) const;
    /// Whether it is there with this size.
    [[nodiscard]] bool has_blob(const Descriptor& descriptor) const;
    [[nodiscard]] bool has_layer(const Digest& digest) const;
    /// What a packed layer was seen to unpack to; none where that is not known.
    [[nodiscard]] std::optional<Digest> unpacked_of(const Digest& packed) const;
    /// A whole blob, of the size that it was told to have at most. Throws Error (bad_file) where it is
    /// missing or is not what its digest says.
    [[nodiscard]] std::string read_blob(const Digest& digest, uint64_t most_bytes) const;

    /// Makes an image of what is there, and gives it names, which others that had them lose. The caller has a
    /// Hold. False where it was there with these names. `parent` is the one of which it was built.
    bool add(const Digest& config, const Digest& manifest, const std::vector<Reference>& names,
             const std::optional<Digest>& parent = std::nullopt);
    /// What stands for the parent of an image that was built of none.
    static Digest nothing();
    /// The images that were built of one, or of nothing(): among them a build finds what it need not do
    /// again.
    [[nodiscard]] std::vector<StoredImage> children(const Digest& parent) const;
    /// By a name, an id, or the beginning of one (with or without "sha256:"), in Docker's order: a whole id,
    /// a name, a beginning. None where there is no such image. Throws Error (usage) where the beginning is of
    /// several.
    [[nodiscard]] std::optional<StoredImage> find(std::string_view text) const;
    /// Whether find() finds one, which is not looked at: it may be broken.
    [[nodiscard]] bool has(std::string_view text) const;
    /// How many there are.
    [[nodiscard]] size_t count() const;
    /// All, those made last first.
    [[nodiscard]] std::vector<StoredImage> list() const;
    /// Another name for an image. Throws Error (bad_file) where there is no such image.
    void tag(std::string_view image, const Reference& name);

    /// What remove() did.
    struct Removed {
        std::vector<std::string> names;  ///< that are gone
        std::optional<Digest> image;     ///< that is gone with its last name
        std::vector<Digest> parents;     ///< that were there for that one only
    };
    /// Takes a name away, and the image with its last one, unless others were built of it; by an id, the
    /// image with all names, which `is_forced` must allow where they are of several repositories. With it go
    /// those of which it was built that have no name and no other child, and are not `is_used`. What they
    /// consisted of stays for collect(). Throws Error: bad_file where there is no such image, usage where it
    /// must be forced or, by its id, has children.
    Removed remove(
        std::string_view image, bool is_forced,
        const std::function<bool(const Digest&)>& is_used = [](const Digest& /*image*/) { return false; });
    /// Removes what no image refers to, and answers the bytes that it had. Nothing where somebody has a Hold:
    /// then the next one does it.
    std::optional<uint64_t> collect();

  private:
    /// What images.json holds.
    struct Index {
        std::map<Digest, Digest> manifests;   // by image
        std::map<Digest, Digest> parents;     // by image, of those that were built here
        std::map<std::string, Digest> names;  // images by whole name
    };

    [[nodiscard]] Index read_index() const;
    void write_index(const Index& index) const;
    [[nodiscard]] std::optional<Digest> resolve(const Index& index, std::string_view text) const;
    [[nodiscard]] StoredImage load(const Index& index, const Digest& id) const;
    [[nodiscard]] std::filesystem::path pair(const Digest& packed) const;
    [[nodiscard]] UniqueFd lock(const char* name, int how) const;
    void keep(NewFile file, const std::filesystem::path& place);
    void sweep() const;

    std::filesystem::path root_;
    UniqueFd lock_;
};

}  // namespace hull::container

#include "container/image/layer_intake.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"
#include "container/layer/convert.h"
#include "container/layer/decompress.h"

namespace hull::container {

ByteSource file_source(const std::filesystem::path& path) {
    auto file = std::make_shared<UniqueFd>(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto check = [path](bool is_fine) {
        if (!is_fine) {
            throw Error{ExitStatus::bad_file, "cannot read '" + path.string() + "'", errno_text(errno)};
        }
    };
    check(file->valid());
    return [file = std::move(file), check](std::span<std::byte> room) {
        ssize_t got = 0;
        do {
            got = read(file->get(), room.data(), room.size());
        } while (got < 0 && errno == EINTR);
        check(got >= 0);
        return static_cast<size_t>(got);
    };
}

TakenLayer take_layer(Store& store, const ByteSource& packed, bool is_from_store) {
    Sha256 packed_sum;
    Sha256 unpacked_sum;
    uint64_t packed_size = 0;
    std::optional<Store::NewFile> blob;
    if (!is_from_store) {
        blob.emplace(store.make_file());
    }
    const auto take = [&](std::span<std::byte> room) {
        const size_t got = packed(room);
        packed_sum.add(room.first(got));
        packed_size += got;
        if (blob) {
            blob->append(room.first(got));
        }
        return got;
    };
    // What is not packed is what came, and has its digest: computing one is the most that a layer costs.
    bool is_packed = true;
    const auto hash =
        [&, unpacked = unpack(take, Manifest::kMostLayerBytes, &is_packed)](std::span<std::byte> room) {
            const size_t got = unpacked(room);
            if (is_packed) {
                unpacked_sum.add(room.first(got));
            }
            return got;
        };
    Store::NewFile disk = store.make_file();
    convert_layer(hash, disk.fd(), Manifest::kMostLayerBytes);
    const Digest sum = packed_sum.finish();
    return {.packed = sum,
            .packed_size = packed_size,
            .unpacked = is_packed ? unpacked_sum.finish() : sum,
            .blob = std::move(blob),
            .disk = std::move(disk)};
}

void keep_layer(Store& store, TakenLayer layer) {
    if (layer.blob) {
        store.keep_blob(*std::move(layer.blob), layer.packed);
    }
    store.keep_layer(std::move(layer.disk), layer.unpacked);
    store.keep_pair(layer.packed, layer.unpacked);
}

bool has_layer(const Store& store, const Descriptor& packed, const Digest& unpacked) {
    return store.has_blob(packed) && store.has_layer(unpacked) &&
           store.unpacked_of(packed.digest) == unpacked;
}

Descriptor describe_layer(const Store& store, const Digest& packed, uint64_t size) {
    std::array<std::byte, 4> mark{};
    const size_t got = file_source(store.blob(packed))(mark);
    return {.media_type = layer_media_type({reinterpret_cast<const char*>(mark.data()), got}),
            .digest = packed,
            .size = size};
}

void check_layer(const Digest& computed, const Digest& wanted, const std::string& how) {
    if (computed != wanted) {
        throw Error{ExitStatus::bad_file, "cannot use a layer",
                    "it " + how + " (" + wanted.text() + ", and it has " + computed.text() + ")",
                    "where it comes from, or something on the way, is broken or lies"};
    }
}

}  // namespace hull::container

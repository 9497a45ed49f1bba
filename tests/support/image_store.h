// Images that tests put into a store as `hull pull` does, with disks that guests can mount.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "container/image/store.h"
#include "container/layer/convert.h"
#include "tests/support/files.h"
#include "tests/support/image_builder.h"

namespace hull::test {

/// An image of these layers' archives, the lowest first.
inline void store_image(container::Store& store, const std::string& name,
                        const std::vector<std::string>& archives, const std::string& config) {
    const BuiltImage image{archives, "amd64", config};
    const container::Store::Hold hold = store.hold();
    for (const auto& [digest, blob] : image.blobs) {
        store.keep_blob(blob, container::Digest::parse(digest).value());
    }
    for (size_t layer = 0; layer < archives.size(); ++layer) {
        container::Store::NewFile disk = store.make_file();
        container::convert_layer(source_of(archives[layer]), disk.fd(), uint64_t{1} << 30);
        store.keep_layer(std::move(disk), container::Digest::parse(image.unpacked[layer]).value());
    }
    store.keep_blob(image.manifest, digest_of(image.manifest));
    store.add(container::Digest::parse(image.id()).value(), digest_of(image.manifest),
              {container::Reference::parse(name)});
}

/// An archive with a static busybox of this machine's as /bin/busybox, and its commands beside it; and with
/// users, a folder for all, and a file that a further layer may take away.
inline std::string busybox_layer() {
    const std::string program = contents_of("/bin/busybox");
    std::string archive = TarPart{.name = "bin/busybox", .content = program, .mode = 0755}.bytes();
    for (const char* command :
         {"sh",  "cat",   "echo", "head",  "hostname", "id",     "kill", "ls",    "mkdir",
          "nc",  "nproc", "pwd",  "sleep", "stty",     "tail",   "true", "touch", "tty",
          "env", "wc",    "grep", "sort",  "mount",    "ulimit", "wget", "date",  "stat"}) {
        archive += TarPart{.type = '2', .name = std::string{"bin/"} + command, .link = "busybox"}.bytes();
    }
    archive += TarPart{.name = "etc/passwd",
                       .content = "root:x:0:0::/root:/bin/sh\nworker:x:1000:1001::/home/worker:/bin/sh\n"}
                   .bytes();
    archive += TarPart{.name = "etc/group", .content = "root:x:0:\nworkers:x:1001:\nstaff:x:50:root,worker\n"}
                   .bytes();
    archive += TarPart{.name = "etc/old", .content = "old"}.bytes();
    archive += TarPart{.type = '5', .name = "tmp", .mode = 01777}.bytes();
    return archive + std::string(1024, '\0');
}

}  // namespace hull::test

#include "container/layer/convert.h"

#include <utility>
#include <vector>

#include "container/layer/erofs_writer.h"
#include "container/layer/layer_tree.h"

namespace hull::container {

uint64_t convert_layer(ByteSource archive, int file, uint64_t most_bytes) {
    std::vector<std::byte> buffer(size_t{256} << 10);
    // Not a copy: what is behind the archive is read here.
    TarReader reader{[&archive](std::span<std::byte> room) { return archive(room); }};
    LayerTree tree;
    ErofsWriter writer{file, most_bytes};
    while (auto entry = reader.next()) {
        LayerNode* const node = tree.add(std::move(*entry));
        if (node == nullptr || node->size == 0) {
            continue;
        }
        writer.begin_content(*node);
        while (const size_t got = reader.read(buffer)) {
            writer.append(std::span{buffer}.first(got));
        }
    }
    // What is behind the archive's end belongs to what a digest is of.
    while (archive(buffer) != 0) {
    }
    return writer.finish(tree.root());
}

}  // namespace hull::container

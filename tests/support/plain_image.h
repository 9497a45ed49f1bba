// An image that is in no store.
#pragma once

#include <string>

#include "container/image/store.h"

namespace hull::test {

/// It has an id, and says nothing of how it is run.
inline container::StoredImage plain_image() {
    using container::Digest;
    return {.id = *Digest::parse("sha256:" + std::string(64, 'a')),
            .manifest = *Digest::parse("sha256:" + std::string(64, 'b')),
            .config = {},
            .layers = {},
            .names = {},
            .size = 0};
}

}  // namespace hull::test

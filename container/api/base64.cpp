#include "container/api/base64.h"

#include <openssl/evp.h>

namespace hull::container {

std::string base64(std::string_view bytes) {
    constexpr size_t kGroup = 4;  // characters that three bytes make
    std::string encoded((bytes.size() + 2) / 3 * kGroup + 1, '\0');
    EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                    reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    encoded.pop_back();
    return encoded;
}

}  // namespace hull::container

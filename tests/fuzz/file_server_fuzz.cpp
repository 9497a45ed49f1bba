// A guest's requests to hull-file-server, from nearly right to wild, about a folder that stays as it is.
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "devices/fs/fuse_request.h"
#include "devices/fs/server/file_server.h"
#include "tests/fuzz/input.h"
#include "tests/support/files.h"
#include "tests/support/fuse_messages.h"

namespace {

using namespace hull;
using test::require;

constexpr size_t kMostAnswer = 8192;
constexpr size_t kFiles = 5;

const test::TemporaryFolder& shown() {
    static const test::TemporaryFolder folder;
    static const bool is_filled = [] {
        folder.file("file", std::string(10'000, 'x'));
        folder.file("sub/deep/other", "y");
        std::filesystem::create_symlink("sub/deep", folder.path() / "link");
        return true;
    }();
    static_cast<void>(is_filled);
    return folder;
}

std::string make_request(test::FuzzInput& input) {
    static constexpr std::array kNames = {"file", "sub", "deep", "other", "link", "..", ".", "", "a/b"};
    static constexpr std::array<uint32_t, 12> kOpcodes = {
        FUSE_LOOKUP, FUSE_LOOKUP,  FUSE_GETATTR,      FUSE_READLINK, FUSE_READ, FUSE_READDIR,
        FUSE_FORGET, FUSE_READDIR, FUSE_BATCH_FORGET, FUSE_STATFS,   FUSE_INIT, FUSE_OPEN};
    const uint8_t kind = input.byte();
    const uint32_t opcode = kind < 0xf0 ? kOpcodes[kind % kOpcodes.size()] : input.half_word();
    const uint64_t node = input.byte() % 16;
    switch (kind < 0xf0 ? opcode : 0) {
        case FUSE_LOOKUP:
            return test::fuse_lookup(node, kNames.at(input.byte() % kNames.size()));
        case FUSE_READ:
        case FUSE_READDIR:
            return test::fuse_read(node, input.word(), input.half_word(), opcode);
        case FUSE_FORGET:
            return test::fuse_forget(node, input.byte());
        case FUSE_INIT:
            return test::fuse_init(input.byte());
        default: {
            std::string body;
            for (int size = input.byte() % 80; size > 0; --size) {
                body += static_cast<char>(input.byte());
            }
            std::string request = test::fuse_request(opcode, node, body);
            if (input.byte() == 1) {  // a header that lies
                request.resize(input.byte() % (request.size() + 1));
            }
            return request;
        }
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    virtio::FileServer server{UniqueFd{open(shown().path().c_str(), O_PATH | O_CLOEXEC)}, kMostAnswer};
    for (int step = 0; !input.empty() && step < 500; ++step) {
        const std::string request = make_request(input);
        const auto answer = server.answer(std::as_bytes(std::span{request}));
        require(server.known() <= kFiles);
        if (request.size() < sizeof(fuse_in_header)) {
            require(answer.empty());
            continue;
        }
        fuse_in_header header{};
        std::memcpy(&header, request.data(), sizeof header);
        require(virtio::is_answered(header.opcode) != answer.empty());
        if (!answer.empty()) {
            require(answer.size() <= kMostAnswer);
            const auto told =
                test::FuseAnswer::of({reinterpret_cast<const char*>(answer.data()), answer.size()});
            require(told.header.len == answer.size() && told.header.unique == header.unique);
            require(told.header.error <= 0 && (told.header.error == 0 || told.body.empty()));
        }
    }
    return 0;
}

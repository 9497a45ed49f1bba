// Whatever comes down to a guest's agent: frames, and what requests say.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "guest/agent/command.h"
#include "guest/agent/protocol.h"
#include "guest/agent/requests.h"
#include "tests/fuzz/input.h"

namespace {

using namespace hull;
using namespace hull::agent;
using test::require;

/// A text that was taken lies in its frame, with its end.
void require_within(const Frame& frame, const char* text) {
    if (text != nullptr) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(text);
        require(bytes >= frame.payload && bytes + strlen(text) < frame.payload + frame.size);
    }
}

void parse(const Frame& frame) {
    static RunRequest run;
    static RunWords words;
    if (frame.type == kRun) {
        run = RunRequest{};
        if (run.parse(frame, words)) {
            require(run.arguments[0] != nullptr);
            for (const char* const* each : {run.arguments, run.environment, run.hidden, run.unwritable}) {
                for (; *each != nullptr; ++each) {
                    require_within(frame, *each);
                }
            }
            for (const char* text : {run.root, run.host_name, run.group, run.user}) {
                require_within(frame, text);
            }
            require(run.limit_count <= RunRequest::kMostLimits);
            require(!run.joins || (run.namespaces == 0 && run.root == nullptr));
            require(run.host_name == nullptr || strlen(run.host_name) <= 64);
        }
        return;
    }
    Request request;
    if (request.parse(frame)) {
        for (const char* text :
             {request.path, request.source, request.kind, request.options, request.target, request.root}) {
            require_within(frame, text);
        }
        require(frame.type != kMount || (request.path != nullptr && request.kind != nullptr));
        require((frame.type != kBind && frame.type != kCopyUp) ||
                (request.path != nullptr && request.source != nullptr && request.root != nullptr));
        require(frame.type != kSignal || (request.signal >= 1 && request.signal <= 64));
        require(frame.type != kRelay || (request.port >= 1 && request.port <= 65535));
        require((frame.type == kNode || request.mode <= 07777) && request.prefix <= 32 &&
                request.rows <= 65535);
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    // Small, so that frames which are too large are found.
    constexpr size_t kMost = 512;
    test::FuzzInput input{{data, size}};
    const size_t piece = input.byte() % 64 + 1;
    std::vector<uint8_t> room(kHeaderSize + kMost);
    FrameReader reader{room.data(), room.size()};
    while (!input.empty() && !reader.is_bad()) {
        require(reader.space_size() > 0);
        size_t count = 0;
        for (; count < std::min(piece, reader.space_size()) && !input.empty(); ++count) {
            reader.space()[count] = input.byte();
        }
        reader.add(count);
        for (Frame frame; reader.next(frame);) {
            require(frame.size <= kMost);
            parse(frame);
        }
    }
    return 0;
}

// What a Dockerfile says. Input: the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "container/api/api_error.h"
#include "container/build/dockerfile.h"
#include "container/build/expand.h"
#include "container/build/glob.h"
#include "container/build/instruction.h"

using namespace hull::container;

namespace {

void require(bool is_so) {
    if (!is_so) {
        std::abort();
    }
}

std::optional<std::string> look_up(const std::string& name) {
    return name.size() % 2 == 0 ? std::nullopt : std::optional{name + " x"};
}

/// Whatever becomes of a word, it ends, and one that parts has what the whole one has.
void expand(const std::string& word, char escape) {
    try {
        const std::string whole = expand_word(word, escape, look_up);
        size_t size = 0;
        for (const std::string& part : expand_words(word, escape, look_up)) {
            require(!part.empty());
            size += part.size();
        }
        require(size <= whole.size());
    } catch (const ApiError& refused) {
        require(refused.status() == 400);
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const std::vector<std::string> lines = ignore_lines(text);
    static_cast<void>(is_ignored("a/Dockerfile", lines));
    for (const std::string& line : lines) {
        static_cast<void>(matches_pattern(line, "a/Dockerfile"));
    }
    try {
        const Dockerfile file = parse_dockerfile(text);
        require(!file.lines.empty() && (file.escape == '\\' || file.escape == '`'));
        unsigned before = 0;
        for (const DockerfileLine& line : file.lines) {
            require(line.number > before && !line.keyword.empty());
            before = line.number;
            for (const std::string& argument : line.arguments) {
                expand(argument, file.escape);
            }
        }
        const Stages stages = parse_stages(file);
        require(!stages.all.empty());
        for (const BuildStage& stage : stages.all) {
            require(!stage.base.empty());
            for (const Instruction& instruction : stage.instructions) {
                const bool has_pairs = instruction.kind == Instruction::Kind::env ||
                                       instruction.kind == Instruction::Kind::label;
                require(!has_pairs || instruction.arguments.size() % 2 == 0);
                const bool copies =
                    instruction.kind == Instruction::Kind::add || instruction.kind == Instruction::Kind::copy;
                require(!copies || (!instruction.arguments.empty() &&
                                    instruction.arguments.size() + instruction.documents.size() >= 2));
                for (const HereDocument& document : instruction.documents) {
                    require(!document.name.empty() && document.content().size() <= document.text.size());
                    try {
                        static_cast<void>(expand_text(document.content(), file.escape, look_up));
                    } catch (const ApiError& refused) {
                        require(refused.status() == 400);
                    }
                }
                require((instruction.kind == Instruction::Kind::healthcheck) ==
                        instruction.health.has_value());
            }
        }
    } catch (const ApiError& refused) {
        require(refused.status() == 400);
    }
    return 0;
}

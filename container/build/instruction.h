// What a Dockerfile says is to be done.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "container/build/dockerfile.h"
#include "container/image/image_config.h"

namespace hull::container {

/// One instruction whose form is right: flags are known ones, and there are as many arguments as it takes.
struct Instruction {
    enum class Kind {
        add,
        arg,
        cmd,
        copy,
        entrypoint,
        env,
        expose,
        healthcheck,
        label,
        maintainer,
        onbuild,
        run,
        shell,
        stopsignal,
        user,
        volume,
        workdir,
    };
    Kind kind{};
    unsigned line = 0;                         ///< of the file, from 1; 0: of no file
    std::string code;                          ///< as builds print it
    std::map<std::string, std::string> flags;  ///< "chown": "1:1"
    /// Not expanded yet. Of env and label keys and values in turn; of healthcheck without its type; of
    /// onbuild the instruction, whole, with its here-documents.
    std::vector<std::string> arguments;
    bool is_list = false;                   ///< the exec form
    bool is_literal = false;                ///< nothing in it is to be expanded
    std::vector<HereDocument> documents{};  ///< further sources of add and copy; of run, which stand in it
    std::optional<HealthCheck> health;      ///< of healthcheck

    [[nodiscard]] std::string flag(const std::string& name) const;
};

/// FROM and what follows it.
struct BuildStage {
    std::string base;      ///< not expanded yet
    std::string name;      ///< in small letters, or empty
    std::string platform;  ///< not expanded yet, or empty
    std::string code;
    std::vector<Instruction> instructions;
};

struct Stages {
    std::vector<Instruction> arguments;  ///< ARG before the first FROM
    std::vector<BuildStage> all;
    /// By its name or number, as --target has it.
    [[nodiscard]] std::optional<size_t> find(const std::string& name) const;
};

/// Checks a file's instructions. Throws ApiError (400) with dockerd 20.10's words: "dockerfile parse error
/// line 3: unknown instruction: FOO". Any thread.
Stages parse_stages(const Dockerfile& file);

/// Checks one that is no FROM. Throws ApiError (400). Any thread.
Instruction parse_instruction(const DockerfileLine& line);

}  // namespace hull::container

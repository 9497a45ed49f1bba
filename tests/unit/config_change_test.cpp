// Instructions of a Dockerfile that change how an image is run.
#include "container/image/config_change.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/errors.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

ImageConfig changed(const std::string& instructions) {
    ImageConfig config;
    config.os = "linux";
    change_config(config, instructions);
    return config;
}

TEST(ConfigChange, DoesWhatADockerfileSays) {
    EXPECT_THAT(changed(R"(CMD ["a", "b c"])").command, ElementsAre("a", "b c"));
    EXPECT_THAT(changed("cmd echo $A").command, ElementsAre("/bin/sh", "-c", "echo $A"));
    EXPECT_THAT(changed("CMD []").command, IsEmpty());
    EXPECT_THAT(changed("ENTRYPOINT [\"x\"]\n# a note\n\nENTRYPOINT y").entrypoint,
                ElementsAre("/bin/sh", "-c", "y"));
    EXPECT_THAT(changed(R"(ENV A=b C="d e" F=g\ h I='j\k' A=z)").environment,
                ElementsAre("A=z", "C=d e", "F=g h", R"(I=j\k)"));
    EXPECT_THAT(changed("ENV A  b c ").environment, ElementsAre("A=b c"));
    EXPECT_THAT(changed("EXPOSE 80 53/udp 8000-8002\nEXPOSE 80/tcp").exposed_ports,
                ElementsAre("80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"));
    EXPECT_THAT(changed("LABEL a=b \"c d\"=e").labels, ElementsAre(Pair("a", "b"), Pair("c d", "e")));
    EXPECT_EQ(changed("USER 1:2").user, "1:2");
    EXPECT_EQ(changed("WORKDIR /a/b\nWORKDIR ../c").working_folder, "/a/c");
    EXPECT_EQ(changed("WORKDIR ../../..").working_folder, "/");
    EXPECT_THAT(changed("VOLUME [\"/a\", \"/b\"]\nVOLUME /b /c").volumes, ElementsAre("/a", "/b", "/c"));
    EXPECT_EQ(changed("STOPSIGNAL SIGRTMIN+3").stop_signal, "SIGRTMIN+3");
}

TEST(ConfigChange, WhatItMakesIsReadAgain) {
    ImageConfig config = changed(
        "CMD a\nENTRYPOINT [\"b\"]\nENV C=d\nEXPOSE 1\nLABEL e=f\nUSER g\nWORKDIR /h\nVOLUME /i\nSTOPSIGNAL "
        "9");
    config.architecture = "amd64";
    config.created = "2024-01-02T03:04:05Z";
    config.author = "somebody";
    config.layers = {Digest::of({})};
    config.history = {{.created = config.created, .created_by = "j", .comment = "k", .is_empty = false},
                      {.created = config.created, .created_by = "", .comment = "", .is_empty = true}};
    const std::string text = config_text(config);
    EXPECT_EQ(config_text(ImageConfig::parse(text)), text);
    EXPECT_EQ(ImageConfig::parse(text).history[0].comment, "k");
}

TEST(ConfigChange, RefusesWhatIsNoneOfThese) {
    for (const auto& [line, word] : std::initializer_list<std::pair<const char*, const char*>>{
             {"RUN true", "RUN is not supported"},
             {"ONBUILD CMD a", "ONBUILD"},
             {"HEALTHCHECK NONE", "HEALTHCHECK"},
             {"FROM a", "FROM"},
             {"so", "nothing behind"},
             {"CMD", "nothing behind"},
             {"ENV A", "no value"},
             {"ENV A=b c", "KEY=VALUE"},
             {"ENV =b", "KEY=VALUE"},
             {"ENV A=\"b", "not closed"},
             {"ENV A=b\\", "backslash"},
             {"EXPOSE 0", "no port"},
             {"EXPOSE 65536", "no port"},
             {"EXPOSE 80-", "no port"},
             {"EXPOSE 9-8", "before it begins"},
             {"EXPOSE 80/x", "no protocol"},
             {"EXPOSE -1", "no port"},
             {"STOPSIGNAL a b", "no signal"},
             {"VOLUME \"\"", "no place"},
         }) {
        test::expect_error([&, line = line] { changed(line); }, ExitStatus::usage,
                           {"cannot change the image by", word});
    }
}

}  // namespace
}  // namespace hull::container

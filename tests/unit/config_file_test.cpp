#include "vmm/main/config_file.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/errors.h"

namespace hull {
namespace {

std::vector<std::string> flat(const std::vector<Setting>& settings) {
    std::vector<std::string> lines;
    for (const Setting& setting : settings) {
        lines.push_back(setting.key + "=" + setting.value);
    }
    return lines;
}

TEST(ConfigFile, GivesSettingsInTheirOrder) {
    const std::string text = R"( {
        "kernel": "a \u00e9\n", "initramfs": ["x", "y"],
        "cpus": 2, "stop-timeout": 1.50, "hugepages": true, "timing": false, "memory": "2G",
        "big": 123456789012345678901234567890
    }
    )";
    EXPECT_EQ(flat(parse_config(text, "f")),
              (std::vector<std::string>{"kernel=a é\n", "initramfs=x", "initramfs=y", "cpus=2",
                                        "stop-timeout=1.50", "hugepages=true", "timing=false", "memory=2G",
                                        "big=123456789012345678901234567890"}));
    EXPECT_TRUE(parse_config("{}", "f").empty());
}

TEST(ConfigFile, TellsTheLineOfAFault) {
    struct Row {
        const char* name;
        std::string text;
        int line;
        const char* why;
    };
    const std::vector<Row> rows = {
        {"nothing", "", 1, "it ends in the middle"},
        {"blanks", "\n\n  ", 3, "it ends in the middle"},
        {"no object", "\n5", 2, "not a JSON object"},
        {"a text", "\"x\"", 1, "not a JSON object"},
        {"true", "true", 1, "not a JSON object"},
        {"a list", "[\"x\"]", 1, "not a JSON object"},
        {"an empty list", "\n[]", 2, "not a JSON object"},
        {"an object in a list", "[\n{\"cpus\": 1}]", 1, "not a JSON object"},
        {"no comma", "{\n \"cpus\": 1\n \"memory\": 2\n}", 3, ""},
        {"a comma too many", "{\n \"cpus\": 1,\n}", 3, ""},
        {"no quotes", "{\n\n cpus: 1\n}", 3, ""},
        {"unfinished", "{\n \"cpus\": 1\n", 3, "it ends in the middle"},
        {"unfinished text", "{\n \"kernel\": \"a", 2, "it ends in the middle"},
        {"two objects", "{\n}\n{ }", 3, "more behind the closing brace"},
        {"a word behind", "{}\n\nx", 3, "more behind the closing brace"},
        {"null", "{\n \"kernel\":\n null }", 3, "null is no value"},
        {"an object inside", "{\n \"kernel\": {\n} }", 2, "an object inside"},
        {"a list in a list", "{\n \"initramfs\": [\n [] ] }", 3, "a list inside a list"},
        {"an object in a list of files", "{\n \"initramfs\": [\n {} ] }", 3, "an object inside"},
        {"twice", "{\n \"cpus\": 1,\n \"cpus\": 2 }", 3, "'cpus' comes twice"},
        {"twice, written differently", "{ \"cpus\": 1,\n \"cp\\u0075s\": 2 }", 2, "'cpus' comes twice"},
        {"a zero byte in a text", "{\n \"kernel\": \"a\\u0000b\" }", 2, "zero byte"},
        {"a zero byte in a key", "{\n \"ker\\u0000nel\": \"a\" }", 2, "zero byte"},
        {"a zero byte", std::string{"{\n \"kernel\": \0 }", 17}, 2, ""},
        {"a line in a text", "{\n \"kernel\": \"a\nb\" }", 2, ""},
        {"no UTF-8", "{\n \"kernel\": \"\xff\" }", 2, ""},
        {"half a character", "{\n \"kernel\": \"\\ud800\" }", 2, ""},
        {"a comment", "{\n // no\n}", 2, ""},
        {"a byte order mark", "\xef\xbb\xbf{}", 1, ""},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        test::expect_error(
            [&] { parse_config(row.text, "my.json"); }, ExitStatus::usage,
            {"configuration file 'my.json'", "line " + std::to_string(row.line) + ":", row.why});
    }
}

TEST(ConfigFile, TakesWhatIsLargeAndRefusesWhatIsTooLarge) {
    const std::string long_text(200'000, 'x');
    const std::vector<Setting> settings = parse_config("{\"cmdline\": \"" + long_text + "\"}", "f");
    ASSERT_EQ(settings.size(), 1U);
    EXPECT_EQ(settings[0].value, long_text);

    std::string many = "{\"initramfs\": [\"0\"";
    for (int i = 0; i < 2000; ++i) {
        many += ",\n\"x\"";
    }
    test::expect_error([&] { parse_config(many + "]}", "f"); }, ExitStatus::usage, {"line 100"});
    test::expect_error([] { parse_config("{\"" + std::string(2000, 'k') + "\": 1}", "f"); },
                       ExitStatus::usage, {"line 1"});
    test::expect_error([] { parse_config(std::string(100'000, '['), "f"); }, ExitStatus::usage, {"line 1"});
    test::expect_error([] { parse_config("{\"a\":" + std::string(100'000, '['), "f"); }, ExitStatus::usage,
                       {"line 1"});
}

}  // namespace
}  // namespace hull

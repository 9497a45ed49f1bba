// What a Dockerfile says.
#include "container/build/dockerfile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "container/api/api_error.h"
#include "container/build/build_arguments.h"
#include "container/build/expand.h"
#include "container/build/glob.h"
#include "container/build/instruction.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using Kind = Instruction::Kind;

/// Why something is refused; empty where it is not.
template <class Work>
std::string refusal(const Work& work) {
    try {
        work();
        return "";
    } catch (const ApiError& error) {
        EXPECT_EQ(error.status(), 400);
        return error.what();
    }
}

std::string refusal_of(const std::string& text) {
    return refusal([&] { parse_stages(parse_dockerfile(text)); });
}

DockerfileLine line_of(const std::string& text) {
    return parse_dockerfile(text).lines.at(0);
}

TEST(Dockerfile, TakesInstructionsApart) {
    struct Row {
        std::string text;
        std::string keyword;
        std::vector<std::string> flags;
        std::vector<std::string> arguments;
        bool is_list = false;
    };
    const Row rows[] = {
        {"RUN echo  'a  b' ", "run", {}, {"echo  'a  b'"}},
        {"run [\"echo\", \"a b\"]", "run", {}, {"echo", "a b"}, true},
        {"RUN [ -e /x ] && true", "run", {}, {"[ -e /x ] && true"}},
        {"CMD [\"a\"", "cmd", {}, {"[\"a\""}},
        {"CMD []", "cmd", {}, {}, true},
        {"COPY --from=x --chown=1:2 a\t b", "copy", {"--from=x", "--chown=1:2"}, {"a", "b"}},
        {"COPY [\"a b\", \"/c\"]", "copy", {}, {"a b", "/c"}, true},
        {"COPY --chown='a b' -- c d", "copy", {"--chown=a b"}, {"c", "d"}},
        {"ENV a=1 b='x y' c=\"z\\\" w\"", "env", {}, {"a", "1", "b", "'x y'", "c", "\"z\\\" w\""}},
        {"ENV a  b c=d", "env", {}, {"a", "b c=d"}},
        {"LABEL a.b=c\\ d", "label", {}, {"a.b", "c\\ d"}},
        {"ARG a b=\"c d\"", "arg", {}, {"a", "b=\"c d\""}},
        {"EXPOSE 80  81/udp", "expose", {}, {"80", "81/udp"}},
        {"HEALTHCHECK --retries=2 CMD curl  x", "healthcheck", {"--retries=2"}, {"CMD", "curl  x"}},
        {"HEALTHCHECK CMD [\"a\"]", "healthcheck", {}, {"CMD", "a"}, true},
        {"WORKDIR /a b", "workdir", {}, {"/a b"}},
        {"ONBUILD RUN x", "onbuild", {}, {"run"}},
        {"from scratch AS x", "from", {}, {"scratch", "AS", "x"}},
    };
    for (const Row& row : rows) {
        const DockerfileLine line = line_of(row.text);
        EXPECT_EQ(line.keyword, row.keyword) << row.text;
        EXPECT_EQ(line.flags, row.flags) << row.text;
        EXPECT_EQ(line.arguments, row.arguments) << row.text;
        EXPECT_EQ(line.is_list, row.is_list) << row.text;
    }
}

TEST(Dockerfile, JoinsLinesAndLeavesCommentsOut) {
    const Dockerfile file = parse_dockerfile(
        "\xef\xbb\xbf# syntax=docker/dockerfile:1\r\n\n  # a comment\nFROM a\r\n"
        "RUN one \\\n  # left out\n\n  two \\  \n three\n   COPY a b\n");
    ASSERT_EQ(file.lines.size(), 3);
    EXPECT_EQ(file.lines[0].number, 4);
    EXPECT_EQ(file.lines[0].code, "FROM a");
    EXPECT_EQ(file.lines[1].number, 5);
    EXPECT_EQ(file.lines[1].code, "RUN one   two  three");
    EXPECT_EQ(file.lines[2].number, 10);
    EXPECT_THAT(file.warnings,
                ElementsAre("[WARNING]: Empty continuation line found in:\n    RUN one   two  three",
                            "[WARNING]: Empty continuation lines will become errors in a future release."));
}

TEST(Dockerfile, HasHereDocuments) {
    const Dockerfile file = parse_dockerfile(
        "FROM a\nRUN <<one cat && 3<<-'two' \\\n cat\n# of one\n\none \n\\\none\n\tx\n\t\ttwo\n"
        "COPY a <<-EOF <<\"b.txt\" /x/\n\t$y\n\tEOF\nb.txt\n"
        "ONBUILD COPY <<x /y\nin x\nx\nRUN echo \"<<EOF\" $((1<<2)) cat <<<y x<<z\nCMD [\"<<x\"]\n");
    ASSERT_EQ(file.lines.size(), 6);
    const std::vector<HereDocument>& of_run = file.lines[1].documents;
    ASSERT_EQ(of_run.size(), 2);
    EXPECT_EQ(file.lines[1].arguments.at(0), "<<one cat && 3<<-'two'  cat");
    EXPECT_EQ(of_run[0].name, "one");
    EXPECT_EQ(of_run[0].text, "# of one\n\none \n\\\n")
        << "comments, empty lines and ends of lines are its own";
    EXPECT_FALSE(of_run[0].is_literal);
    EXPECT_EQ(of_run[1].name, "two");
    EXPECT_TRUE(of_run[1].is_literal && of_run[1].drops_tabs && of_run[1].has_descriptor);
    EXPECT_EQ(of_run[1].content(), "x\n");
    EXPECT_EQ(of_run[1].text, "\tx\n");
    EXPECT_THAT(file.lines[2].arguments, ElementsAre("a", "/x/"));
    ASSERT_EQ(file.lines[2].documents.size(), 2);
    EXPECT_EQ(file.lines[2].documents[0].content(), "$y\n");
    EXPECT_EQ(file.lines[2].documents[1].text, "");
    EXPECT_THAT(parse_stages(file).all[0].instructions[2].arguments, ElementsAre("COPY <<x /y\nin x\nx\n"));
    EXPECT_THAT(file.lines[4].documents, IsEmpty());
    EXPECT_EQ(file.lines[4].number, 18U);
    EXPECT_THAT(file.lines[5].documents, IsEmpty());

    EXPECT_EQ(refusal_of("FROM a\nRUN <<EOF\nx\n"), "unterminated heredoc: no line is \"EOF\"");
    EXPECT_EQ(refusal_of("FROM a\nCOPY a <<EOF\nEOF\n"), "COPY cannot accept a heredoc as a destination");
    EXPECT_EQ(refusal_of("FROM a\nCOPY <<../x /y\n../x\n"),
              "the here-document \"../x\" is to be a file's name, and has a slash");
}

TEST(Dockerfile, TakesTheEscapeCharacterThatItIsToldAtFirst) {
    const Dockerfile file = parse_dockerfile("# escape=`\nFROM a\nRUN x `\n y\\\nRUN z");
    EXPECT_EQ(file.escape, '`');
    ASSERT_EQ(file.lines.size(), 3);
    EXPECT_EQ(file.lines[1].code, "RUN x  y\\");
    EXPECT_EQ(parse_dockerfile("# a comment\n# escape=`\nFROM a").escape, '\\');
    EXPECT_EQ(refusal_of("# escape=x\nFROM a"), "invalid escape token 'x' does not match ` or \\");
    EXPECT_EQ(refusal_of("# escape=`\n# escape=`\nFROM a"), "only one escape parser directive can be used");
}

TEST(Dockerfile, RefusesWithDockersWordsAndTheLine) {
    const std::pair<const char*, const char*> rows[] = {
        {"", "file with no instructions"},
        {"# nothing\n", "file with no instructions"},
        {"FROM a\nFOO b", "dockerfile parse error line 2: unknown instruction: FOO"},
        {"FROM a\n\nRUN x \\\n y\nFrobnicate",
         "dockerfile parse error line 5: unknown instruction: FROBNICATE"},
        {"RUN x", "no build stage in current context"},
        {"ARG x", "No image was generated. Is your Dockerfile empty?"},
        {"FROM", "dockerfile parse error line 1: FROM requires either one or three arguments"},
        {"FROM a b", "dockerfile parse error line 1: FROM requires either one or three arguments"},
        {"FROM a AS 1x",
         "dockerfile parse error line 1: invalid name for build stage: \"1x\", name can't start with a "
         "number or "
         "contain symbols"},
        {"FROM --what=x a", "dockerfile parse error line 1: Unknown flag: what"},
        {"FROM a\nCOPY --from=a --from=b c d",
         "dockerfile parse error line 2: Duplicate flag specified: from"},
        {"FROM a\nCOPY --from c d", "dockerfile parse error line 2: Missing a value on flag: from"},
        {"FROM a\nCOPY x",
         "dockerfile parse error line 2: COPY requires at least two arguments, but only one was provided. "
         "Destination could not be determined"},
        {"FROM a\nCOPY --chmod=rwx a b",
         "dockerfile parse error line 2: invalid chmod parameter: 'rwx'. it should be octal string and "
         "between 0 "
         "and 07777"},
        {"FROM a\nENV", "dockerfile parse error line 2: ENV requires at least one argument"},
        {"FROM a\nENV x", "ENV must have two arguments"},
        {"FROM a\nENV x=1 y", "Syntax error - can't find = in \"y\". Must be of the form: name=value"},
        {"FROM a\nENV =1", "dockerfile parse error line 2: ENV names can not be blank"},
        {"FROM a\nWORKDIR", "dockerfile parse error line 2: WORKDIR requires exactly one argument"},
        {"FROM a\nSHELL sh",
         "dockerfile parse error line 2: SHELL requires the arguments to be in JSON form"},
        {"FROM a\nRUN [\"a\", 1]", "when using JSON array syntax, arrays must be comprised of strings only"},
        {"FROM a\nONBUILD ONBUILD RUN x",
         "dockerfile parse error line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"},
        {"FROM a\nONBUILD FROM x", "dockerfile parse error line 2: FROM isn't allowed as an ONBUILD trigger"},
        {"FROM a\nHEALTHCHECK NONE x", "dockerfile parse error line 2: HEALTHCHECK NONE takes no arguments"},
        {"FROM a\nHEALTHCHECK CMD", "dockerfile parse error line 2: Missing command after HEALTHCHECK CMD"},
        {"FROM a\nHEALTHCHECK X y",
         "dockerfile parse error line 2: Unknown type \"X\" in HEALTHCHECK (try CMD)"},
        {"FROM a\nHEALTHCHECK --interval=5 CMD x",
         "dockerfile parse error line 2: time: missing unit in duration \"5\""},
        {"FROM a\nHEALTHCHECK --interval=1us CMD x",
         "dockerfile parse error line 2: Interval \"interval\" cannot be less than 1ms"},
        {"FROM a\nHEALTHCHECK --retries=0 CMD x",
         "dockerfile parse error line 2: --retries must be at least 1 (not 0)"},
        {"FROM a\nRUN --mount=type=cache,target=/x y",
         "dockerfile parse error line 2: RUN --mount is BuildKit's and is not supported here: leave it out, "
         "and "
         "COPY what the command needs"},
    };
    for (const auto& [text, why] : rows) {
        EXPECT_EQ(refusal_of(text), why) << text;
    }
    EXPECT_EQ(refusal_of("FROM a\nRUN " + std::string(70'000, 'x')),
              "dockerfile line greater than max allowed size of 65535");
}

TEST(Dockerfile, HasStagesAndTheirInstructions) {
    const Stages stages = parse_stages(parse_dockerfile(
        "ARG v=1\nFROM --platform=linux a:$v AS Build\nRUN x\nFROM scratch\nCOPY --from=build /x /\n"
        "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1.5h --retries=3 CMD [\"t\"]\n"
        "onbuild  run y"));
    ASSERT_EQ(stages.arguments.size(), 1);
    ASSERT_EQ(stages.all.size(), 2);
    EXPECT_EQ(stages.all[0].name, "build");
    EXPECT_EQ(stages.all[0].base, "a:$v");
    EXPECT_EQ(stages.all[0].platform, "linux");
    EXPECT_EQ(stages.all[1].instructions.at(0).flag("from"), "build");
    EXPECT_THAT(stages.find("BUILD"), Optional(0));
    EXPECT_THAT(stages.find("1"), Optional(1));
    EXPECT_EQ(stages.find("2"), std::nullopt);
    const HealthCheck health = stages.all[1].instructions.at(1).health.value();
    EXPECT_THAT(health.test, ElementsAre("CMD", "t"));
    EXPECT_EQ(health.interval, std::chrono::seconds{90});
    EXPECT_EQ(health.timeout, std::chrono::milliseconds{500});
    EXPECT_EQ(health.start_period, std::chrono::minutes{90});
    EXPECT_EQ(health.retries, 3);
    EXPECT_THAT(stages.all[1].instructions.at(2).arguments, ElementsAre("run y"));
}

std::optional<std::string> look_up(const std::string& name) {
    static const std::map<std::string, std::string> variables{
        {"a", "1 2"}, {"empty", ""}, {"x_1", "y"}, {"quote", "\"'"}};
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional{found->second};
}

TEST(Expansion, PutsValuesIn) {
    const std::pair<const char*, const char*> rows[] = {
        {"plain", "plain"},
        {"$a-$x_1", "1 2-y"},
        {"${a}b", "1 2b"},
        {"$none|${none}|", "||"},
        {"${none:-d$a}", "d1 2"},
        {"${empty:-d}", "d"},
        {"${a:-d}", "1 2"},
        {"${a:+set}${empty:+set}${none:+set}", "set"},
        {"${none:-${x_1:+in}}", "in"},
        {"\\$a '$a' \"$a\" \"\\$a\"", "$a $a 1 2 $a"},
        {"'it''s' \"q\\\"q\" \"b\\b\"", "its q\"q b\\b"},
        {"a\\ b\\", "a b"},
        {"$quote", "\"'"},
        {"$", "$"},
        {"$a$", "1 2$"},
        {"${a:?x}", "1 2"},
    };
    for (const auto& [word, result] : rows) {
        EXPECT_EQ(expand_word(word, '\\', look_up), result) << word;
    }
    EXPECT_EQ(expand_word("`$a \\$x_1", '`', look_up), "$a \\y");
}

TEST(Expansion, LeavesAHereDocumentsQuotesAlone) {
    EXPECT_EQ(expand_text("'$a' \"${none:-d}\" it's \\$a \\\\ \\d+ $\n", '\\', look_up),
              "'1 2' \"d\" it's $a \\ \\d+ $\n");
    EXPECT_EQ(refusal([] { expand_text("${a", '\\', look_up); }),
              "failed to process \"a here-document\": missing ':' in substitution");
}

TEST(Expansion, PartsWordsAtSpacesThatAreNotQuoted) {
    EXPECT_THAT(expand_words("80 $a \"$a\" 'b c'", '\\', look_up), ElementsAre("80", "1", "2", "1 2", "b c"));
    EXPECT_THAT(expand_words("$empty", '\\', look_up), IsEmpty());
    EXPECT_THAT(expand_words("${none:-3 4}", '\\', look_up), ElementsAre("3", "4"));
}

TEST(Expansion, RefusesWithDockersWords) {
    const std::pair<const char*, const char*> rows[] = {
        {"${a", "missing ':' in substitution"},
        {"${", "syntax error: missing '}'"},
        {"${}", "syntax error: bad substitution"},
        {"${a-x}", "missing ':' in substitution"},
        {"${a:=x}", "unsupported modifier (=) in substitution"},
        {"${a:-x", "syntax error: missing '}'"},
        {"'x", "unexpected end of statement while looking for matching single-quote"},
        {"\"x", "unexpected end of statement while looking for matching double-quote"},
        {"${none:?}", "none: is not allowed to be unset"},
        {"${empty:?}", "empty: is not allowed to be empty"},
        {"${none:?give it}", "none: give it"},
    };
    for (const auto& [word, why] : rows) {
        EXPECT_EQ(refusal([&, word = word] { expand_word(word, '\\', look_up); }),
                  "failed to process " + in_quotes(word) + ": " + why);
    }
    // Neither a deep nor a growing one costs more than its request.
    std::string deep;
    for (int depth = 0; depth < 10'000; ++depth) {
        deep += "${none:-";
    }
    EXPECT_THAT(refusal([&] { expand_word(deep, '\\', look_up); }), testing::HasSubstr("nested too deeply"));
    std::string many;
    for (int count = 0; count < 10'000; ++count) {
        many += "\"$large\"";
    }
    const auto large = [](const std::string& /*name*/) { return std::string(1000, 'x'); };
    EXPECT_THAT(refusal([&] { expand_word(many, '\\', large); }), testing::HasSubstr("larger than 1 MiB"));
}

TEST(BuildArguments, FollowDockersRules) {
    BuildArguments arguments{{{"given", "g"}, {"HTTP_PROXY", "p"}, {"unused", "u"}, {"null", std::nullopt}}};
    arguments.add_global("version", "1");
    arguments.add_global("given", "default");
    EXPECT_THAT(arguments.find_global("version"), Optional(std::string{"1"}));
    EXPECT_THAT(arguments.find_global("given"), Optional(std::string{"g"}));
    arguments.begin_stage();
    EXPECT_EQ(arguments.find("version"), std::nullopt) << "no ARG names it in this stage";
    EXPECT_EQ(arguments.find("unused"), std::nullopt);
    EXPECT_THAT(arguments.find("HTTP_PROXY"), Optional(std::string{"p"}));
    EXPECT_FALSE(arguments.counts("HTTP_PROXY"));
    arguments.add("version", std::nullopt);
    arguments.add("own", "o");
    arguments.add("null", "n");
    EXPECT_THAT(arguments.find("version"), Optional(std::string{"1"}));
    EXPECT_THAT(arguments.find("null"), Optional(std::string{"n"}));
    EXPECT_TRUE(arguments.counts("own"));
    EXPECT_THAT(arguments.all_but({"own=env"}), ElementsAre("HTTP_PROXY=p", "null=n", "version=1"));
    EXPECT_THAT(arguments.unused(), ElementsAre("unused"));
}

TEST(Glob, MatchesAsGoDoes) {
    const std::tuple<const char*, const char*, bool> rows[] = {
        {"*.c", "a.c", true},        {"*.c", "a/b.c", false}, {"a*", "a", true},      {"?", "/", false},
        {"a?c", "abc", true},        {"[a-c]x", "bx", true},  {"[^a]x", "ax", false}, {"[^a]x", "bx", true},
        {"a\\*", "a*", true},        {"a\\*", "ab", false},   {"*/x", "a/x", true},   {"[", "[", false},
        {"**a*b*c", "xaybzc", true}, {"a*b*c", "abc", true},  {"*", "", true},        {"", "a", false},
    };
    for (const auto& [pattern, name, is_match] : rows) {
        EXPECT_EQ(matches_pattern(pattern, name), is_match) << pattern << " " << name;
    }
    EXPECT_TRUE(has_pattern("a[b]"));
    EXPECT_FALSE(has_pattern("a\\*b"));
}

TEST(Glob, IgnoresAsADockerignoreSays) {
    const std::vector<std::string> lines =
        ignore_lines("# comment\n*.md\n!README.md\n/a/b/\n**/deep\n\n  spaced  \n");
    EXPECT_TRUE(is_ignored("x.md", lines));
    EXPECT_FALSE(is_ignored("README.md", lines));
    EXPECT_TRUE(is_ignored("a/b", lines));
    EXPECT_TRUE(is_ignored("a/b/c", lines));
    EXPECT_FALSE(is_ignored("a/c", lines));
    EXPECT_TRUE(is_ignored("x/y/deep/z", lines));
    EXPECT_TRUE(is_ignored("deep", lines));
    EXPECT_TRUE(is_ignored("spaced", lines));
    EXPECT_FALSE(is_ignored("Dockerfile", lines));
}

}  // namespace
}  // namespace hull::container

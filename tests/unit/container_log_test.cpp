// A container's log: what a program prints becomes lines in files, which are read while they are written to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <string>
#include <vector>

#include "container/supervisor/log.h"
#include "tests/support/files.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> rest_of(LogReader& reader) {
    std::vector<std::string> texts;
    while (const auto entry = reader.next()) {
        texts.push_back((entry->stream == LogStream::errors ? "E" : "") + entry->text);
    }
    return texts;
}

class ContainerLog : public testing::Test {
  protected:
    [[nodiscard]] std::vector<std::string> read(std::optional<uint64_t> tail = std::nullopt) const {
        LogReader reader{path_, tail};
        return rest_of(reader);
    }
    /// Of `bytes`, printed at once.
    std::string written(const std::string& bytes) const {
        std::filesystem::remove(path_);
        LogWriter writer{path_, {}};
        writer.add(LogStream::output, bytes);
        writer.flush();
        return test::contents_of(path_);
    }

    const test::TemporaryFolder folder_;
    const std::filesystem::path path_ = folder_.path() / "json.log";
};

TEST_F(ContainerLog, KeepsLinesAsTheyAreCompleted) {
    const auto before = std::chrono::system_clock::now();
    LogWriter writer{path_, {}};
    LogReader reader{path_, std::nullopt};
    EXPECT_THAT(rest_of(reader), IsEmpty());
    writer.add(LogStream::output, "one\ntw");
    writer.add(LogStream::errors, "wrong\n");
    EXPECT_THAT(rest_of(reader), ElementsAre("one\n", "Ewrong\n"));
    writer.add(LogStream::output, "o\n\nno end");
    EXPECT_THAT(rest_of(reader), ElementsAre("two\n", "\n"));
    writer.flush();
    writer.flush();
    const auto last = reader.next();
    ASSERT_TRUE(last.has_value());
    EXPECT_EQ(last->text, "no end");
    EXPECT_GE(last->time, before);
    EXPECT_LE(last->time, std::chrono::system_clock::now());
    EXPECT_THAT(read(1), ElementsAre("no end"));
    EXPECT_THAT(read(3), ElementsAre("two\n", "\n", "no end"));
    EXPECT_THAT(test::contents_of(path_), HasSubstr(R"({"log":"one\n","stream":"stdout","time":"20)"));
}

TEST_F(ContainerLog, WritesWhatIsNoTextToo) {
    struct Row {
        std::string printed;
        std::string kept;
    };
    const Row rows[] = {
        {"a\"b\\c\t\r\x1b[0m\x7f", R"(a\"b\\c\u0009\u000d\u001b[0m)"
                                   "\x7f"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xb3", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xb3"},
        {"\xff\xfe", R"(\ufffd\ufffd)"},
        {"\xc0\xaf", R"(\ufffd\ufffd)"},                      // longer than it need be
        {"\xed\xa0\x80", R"(\ufffd\ufffd\ufffd)"},            // a surrogate
        {"\xf4\x90\x80\x80", R"(\ufffd\ufffd\ufffd\ufffd)"},  // above the last one
        {"\xe2\x82", R"(\ufffd\ufffd)"},                      // cut off
        {"\x80z", R"(\ufffdz)"},
    };
    for (const Row& row : rows) {
        const std::string line = written(row.printed + "\n");
        EXPECT_THAT(line, HasSubstr("{\"log\":\"" + row.kept + "\\n\","));
        EXPECT_EQ(read().size(), 1U) << row.kept;
    }
    written(std::string("nu\0l\n", 5));
    EXPECT_THAT(read(), ElementsAre(std::string("nu\0l\n", 5)));
}

TEST_F(ContainerLog, CutsLinesThatAreTooLong) {
    constexpr size_t kMost = size_t{16} << 10;
    written(std::string(kMost, 'x') + "\n" + std::string(2 * kMost, 'y') + "z\n");
    EXPECT_THAT(read(), ElementsAre(std::string(kMost, 'x'), "\n", std::string(kMost, 'y'),
                                    std::string(kMost, 'y'), "z\n"));
    // Between characters, not within one.
    written(std::string(kMost - 1, 'x') + "\xc3\xa4\n");
    EXPECT_THAT(read(), ElementsAre(std::string(kMost - 1, 'x'), "\xc3\xa4\n"));
    // Unless there are none.
    written(std::string(kMost + 8, '\x80'));
    EXPECT_EQ(read().size(), 2U);
    // Of a program that prints byte by byte without an end, no more than this is held.
    std::filesystem::remove(path_);
    LogWriter writer{path_, {}};
    for (size_t count = 0; count < kMost + 2; ++count) {
        writer.add(LogStream::output, "x");
    }
    EXPECT_THAT(read(), ElementsAre(std::string(kMost, 'x')));
}

TEST_F(ContainerLog, BeginsAnotherFileWhenOneIsFull) {
    constexpr uint64_t kMost = 400;  // of lines of some 70 bytes
    LogWriter writer{path_, {.most_bytes = kMost, .most_files = 3}};
    LogReader reader{path_, std::nullopt};
    std::vector<std::string> all;
    for (int line = 0; line < 40; ++line) {
        all.push_back("line " + std::to_string(line) + "\n");
        writer.add(LogStream::output, all.back());
        if (line % 4 == 3) {  // one that lags behind, and still misses nothing
            const auto got = rest_of(reader);
            ASSERT_THAT(got, testing::ElementsAreArray(all.end() - 4, all.end()));
        }
    }
    EXPECT_FALSE(std::filesystem::exists(path_.string() + ".3"));
    for (const char* number : {"", ".1", ".2"}) {
        EXPECT_LE(std::filesystem::file_size(path_.string() + number), kMost);
    }
    const auto kept = read();
    EXPECT_THAT(kept, testing::SizeIs(testing::AllOf(testing::Gt(8U), testing::Lt(20U))));
    EXPECT_TRUE(std::equal(kept.rbegin(), kept.rend(), all.rbegin()));
    EXPECT_THAT(read(7), testing::ElementsAreArray(all.end() - 7, all.end())) << "over several files";
    EXPECT_EQ(read(1000), kept);
    EXPECT_THAT(read(0), IsEmpty());
}

TEST_F(ContainerLog, AReaderThatIsTooSlowLosesWhatIsGone) {
    for (const unsigned files : {1U, 2U}) {
        std::filesystem::remove(path_);
        LogWriter writer{path_, {.most_bytes = 200, .most_files = files}};
        writer.add(LogStream::output, "first\n");
        LogReader reader{path_, std::nullopt};
        EXPECT_THAT(rest_of(reader), ElementsAre("first\n"));
        for (int line = 0; line < 20; ++line) {
            writer.add(LogStream::output, "line " + std::to_string(line) + "\n");
        }
        const auto got = rest_of(reader);
        ASSERT_FALSE(got.empty());
        EXPECT_EQ(got.back(), "line 19\n");
        writer.add(LogStream::output, "last\n");
        EXPECT_THAT(rest_of(reader), ElementsAre("last\n"));
    }
}

TEST_F(ContainerLog, TellsOnlyWhatIsNewToWhoWantsNothingOld) {
    written("old\n");
    LogReader reader{path_, 0};
    EXPECT_THAT(rest_of(reader), IsEmpty());
    LogWriter{path_, {}}.add(LogStream::output, "new\n");
    EXPECT_THAT(rest_of(reader), ElementsAre("new\n"));
}

TEST_F(ContainerLog, IsWaitedForWhereThereIsNone) {
    LogReader reader{path_, std::nullopt};
    EXPECT_THAT(rest_of(reader), IsEmpty());
    written("late\n");
    EXPECT_THAT(rest_of(reader), ElementsAre("late\n"));
}

TEST_F(ContainerLog, PassesOverWhatNobodyUnderstands) {
    const std::string good = R"({"log":"good\n","stream":"stdout","time":"2024-01-02T03:04:05.5Z"})";
    const std::string rows[] = {
        "",
        "}",
        "{}",
        "garbage",
        R"({"log":"cut off in the middle)",
        R"({"log":1,"stream":"stdout","time":"2024-01-02T03:04:05Z"})",
        R"({"log":"x","stream":"stdmid","time":"2024-01-02T03:04:05Z"})",
        R"({"log":"x","stream":"stdout","time":"tomorrow"})",
        R"({"log":"x","stream":"stdout","time":"9999999-01-02T03:04:05Z"})",
        R"({"log":"x","stream":"stdout"})",
        "{\"log\":\"\xff\",\"stream\":\"stdout\",\"time\":\"2024-01-02T03:04:05Z\"}",
        std::string(3'000'000, 'x'),
        std::string(1000, '['),
        std::string(50, '\0'),
    };
    for (const std::string& row : rows) {
        static_cast<void>(folder_.file("json.log", row + "\n" + good + "\n" + row));
        EXPECT_THAT(read(), ElementsAre("good\n")) << row.substr(0, 100);
        EXPECT_THAT(read(5), ElementsAre("good\n")) << row.substr(0, 100);
    }
    const auto entry = parse_log_entry(good);
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(time_text(entry->time), "2024-01-02T03:04:05.500000000Z");
}

TEST_F(ContainerLog, GoesOnBehindWhatSomebodyWasKilledInTheMiddleOf) {
    written("whole\n");
    const std::string whole = test::contents_of(path_);
    static_cast<void>(folder_.file("json.log", whole + whole.substr(0, 20)));
    LogReader reader{path_, std::nullopt};
    EXPECT_THAT(rest_of(reader), ElementsAre("whole\n"));
    LogWriter{path_, {}}.add(LogStream::output, "next\n");
    EXPECT_THAT(rest_of(reader), ElementsAre("next\n"));
    EXPECT_THAT(read(2), ElementsAre("whole\n", "next\n"));
}

TEST_F(ContainerLog, AFullDiskCostsLinesAndNothingElse) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    LogWriter writer{path_, {}};
    writer.add(LogStream::output, "kept\n");
    const rlimit tight{std::filesystem::file_size(path_) + 20, before.rlim_max};  // in the middle of a line
    setrlimit(RLIMIT_FSIZE, &tight);
    writer.add(LogStream::output, "lost\n");
    setrlimit(RLIMIT_FSIZE, &before);
    writer.add(LogStream::output, "kept again\n");
    EXPECT_THAT(read(), ElementsAre("kept\n", "kept again\n"));
}

TEST_F(ContainerLog, IsNotThereWhereItIsNotKept) {
    LogWriter writer{path_, {.is_kept = false}};
    writer.add(LogStream::output, "x\n");
    writer.flush();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace hull::container

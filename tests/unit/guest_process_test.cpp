// What a guest's kernel says of processes, and how docker top shows it.
#include "container/supervisor/guest_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <ctime>

#include "container/api/api_error.h"
#include "container/api/process_table.h"
#include "container/supervisor/channel.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// With what proc(5) has, the name with blanks and parentheses.
constexpr const char* kStat =
    "77 (a) b (c) S 1 77 77 34818 77 4194304 100 0 0 0 250 75 0 0 20 5 3 0 6000 10485760 512 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n";
constexpr const char* kStatus = "Name:\tx\nUmask:\t0022\nUid:\t0\t1000\t0\t0\nGid:\t0\t0\t0\t0\n";

TEST(GuestProcess, IsWhatProcSays) {
    const auto process = GuestProcess::parse(kStat, kStatus, std::string{"sleep\0 9\0", 9}, 100'000);
    ASSERT_TRUE(process);
    EXPECT_EQ(process->pid, 77U);
    EXPECT_EQ(process->parent, 1U);
    EXPECT_EQ(process->user, 1000U);
    EXPECT_EQ(process->terminal, "pts/2");
    EXPECT_EQ(process->state, "SNsl+");
    EXPECT_EQ(process->cpu, 3250U);
    EXPECT_EQ(process->age, 40'000U);
    EXPECT_EQ(process->size, 10240U);
    EXPECT_EQ(process->resident, 2048U);
    EXPECT_EQ(process->name, "a) b (c");
    EXPECT_EQ(process->command_line, "sleep  9");
    EXPECT_EQ(parse_uptime("12.34 5.6\n"), 12'340U);
    EXPECT_EQ(parse_memory("MemFree: 3 kB\nMemTotal:  99 kB\n"), 99U);
    EXPECT_THAT(parse_pids("1\n22\n0\n-5\nx\n4194305\n3"), ElementsAre(1, 22, 3));
}

TEST(GuestProcess, IsNoneOfWhatMakesNoSense) {
    const std::string fields = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21";
    for (const std::string& stat :
         {std::string{}, std::string{"1"}, "1 (x)" + fields, "x (x) S" + fields, "0 (x) S" + fields,
          "4194305 (x) S" + fields, "1 (x) SS" + fields, std::string{"1 (x) S 1 2 3"}, ") 1 (x S" + fields}) {
        EXPECT_FALSE(GuestProcess::parse(stat, kStatus, "", 0)) << stat;
    }
    EXPECT_TRUE(GuestProcess::parse("1 (x) S" + fields, kStatus, "", 0));
    for (const char* status : {"", "Uid:", "Uid:\t1", "Uid:\t1\tx", "Uid:\t1\t4294967296", "XUid:\t1\t1"}) {
        EXPECT_FALSE(GuestProcess::parse(kStat, status, "", 0)) << status;
    }
    // The largest of all numbers, and what is no character.
    std::string most = "1 (\x01\xff" + std::string(100, '"') + ") \"";
    for (int count = 0; count < 40; ++count) {
        most += " 9223372036854775807";
    }
    const auto process = GuestProcess::parse(most, kStatus, std::string(20'000, '"'), UINT64_MAX);
    ASSERT_TRUE(process);
    EXPECT_EQ(process->name, "??" + std::string(13, '"'));
    EXPECT_EQ(process->command_line.size(), GuestProcess::kMostCommandLine);
    ProcessList list{.memory = parse_memory("MemTotal: 18446744073709551615 kB"), .all = {}};
    list.all.resize(ProcessList::kMost, *process);
    const std::string text = boost::json::serialize(list.to_json());
    EXPECT_LE(text.size(), Channel::kMostBytes);
    EXPECT_EQ(boost::json::serialize(ProcessList::from_json(list.to_json()).to_json()), text);
}

class ProcessTableTest : public testing::Test {
  protected:
    ProcessTableTest() {
        setenv("TZ", "UTC", 1);
        tzset();
    }
    static std::string shown(const std::string& options, const GuestProcess& process) {
        const ProcessList list{.memory = 10'000, .all = {process}};
        return boost::json::serialize(
            ProcessTable{options}.show(list, std::chrono::system_clock::from_time_t(1'700'000'000)));
    }
    static unsigned refused(const std::string& options) {
        try {
            const ProcessTable table{options};
            return 200;
        } catch (const ApiError& error) {
            return error.status();
        }
    }
    // It is 22:13:20 on the 14th of November 2023.
    const GuestProcess shell_{.pid = 77,
                              .parent = 1,
                              .user = 0,
                              .terminal = "pts/0",
                              .state = "Ss",
                              .cpu = 65'000,
                              .age = 130'000,
                              .resident = 1000,
                              .size = 4000,
                              .name = "sh",
                              .command_line = "sh -c true"};
};

TEST_F(ProcessTableTest, IsAsPsHasIt) {
    const char* const full =
        R"({"Titles":["UID","PID","PPID","C","STIME","TTY","TIME","CMD"],"Processes":[["root","77","1","50","22:11","pts/0","00:01:05","sh -c true"]]})";
    EXPECT_EQ(shown("", shell_), full);
    EXPECT_EQ(shown("-ef", shell_), full);
    EXPECT_EQ(shown("-e -f", shell_), full);
    const char* const by_user =
        R"({"Titles":["USER","PID","%CPU","%MEM","VSZ","RSS","TTY","STAT","START","TIME","COMMAND"],"Processes":[["root","77","50.0","10.0","4000","1000","pts/0","Ss","22:11","1:05","sh -c true"]]})";
    EXPECT_EQ(shown("aux", shell_), by_user);
    EXPECT_EQ(shown("-aux", shell_), by_user);
    EXPECT_THAT(shown("-e", shell_), HasSubstr(R"([["77","pts/0","00:01:05","sh"]])"));
    EXPECT_THAT(shown("ax", shell_), HasSubstr(R"([["77","pts/0","Ss","1:05","sh -c true"]])"));
    const std::string chosen = R"({"Titles":["PID","USER","ELAPSED"],"Processes":[["77","root","02:10"]]})";
    for (const char* options : {"-o pid,user,etime", "-eo pid,user,etime", "-o pid -o user,etime",
                                "-opid,user,etime", "axo pid,user,etime", "-e  -o pid,user,etime "}) {
        EXPECT_EQ(shown(options, shell_), chosen) << options;
    }
    EXPECT_EQ(
        shown("-o pid,ppid,user,uid,tty,time,etime,stat,rss,vsz,pcpu,pmem,comm,args,cmd", shell_),
        R"({"Titles":["PID","PPID","USER","UID","TT","TIME","ELAPSED","STAT","RSS","VSZ","%CPU","%MEM","COMMAND","COMMAND","CMD"],)"
        R"("Processes":[["77","1","root","0","pts/0","00:01:05","02:10","Ss","1000","4000","50.0","10.0","sh","sh -c true","sh -c true"]]})");
}

TEST_F(ProcessTableTest, TellsLongTimesAndWhatIsMissing) {
    constexpr uint64_t kDay = 24 * 3600 * uint64_t{1000};
    GuestProcess old = shell_;
    old.terminal = "";
    old.command_line = "";
    old.user = 1000;
    old.age = 3 * kDay;
    old.cpu = 2 * kDay + 3'661'000;
    EXPECT_EQ(shown("-ef", old), R"({"Titles":["UID","PID","PPID","C","STIME","TTY","TIME","CMD"],)"
                                 R"("Processes":[["1000","77","1","68","Nov11","?","2-01:01:01","[sh]"]]})");
    EXPECT_THAT(shown("aux", old), HasSubstr(R"("Nov11","2941:01","[sh]")"));
    EXPECT_THAT(shown("-o pid,etime", old), HasSubstr(R"("3-00:00:00")"));
    old.age = 23 * kDay / 24;  // yesterday, and less than a day ago
    EXPECT_THAT(shown("-ef", old), HasSubstr(R"("Nov13")"));
    EXPECT_THAT(shown("aux", old), HasSubstr(R"("23:13")"));
    EXPECT_THAT(shown("-o pid,etime", old), HasSubstr(R"("23:00:00")"));
    old.age = 400 * kDay;
    EXPECT_THAT(shown("-ef", old), HasSubstr(R"("2022")"));
    old = {.pid = 1};
    old.cpu = old.age = old.resident = old.size = INT64_MAX;
    EXPECT_THAT(shown("aux", old), HasSubstr(R"(["root","1","99.9","99.9",)"));
}

TEST_F(ProcessTableTest, RefusesWhatItDoesNotKnow) {
    for (const char* options :
         {"-L", "-", "-ef --forest", "--pid", "-p 1", "-x", "-o", "-o pid,", "-o ,", "-o pid=X",
          "-o pid,nosuch", "auxf", "-ef aux", "-ef -o pid", "aux -o pid", "1"}) {
        EXPECT_EQ(refused(options), 400U) << options;
    }
    EXPECT_EQ(refused("-o user,args"), 500U) << "as dockerd";
    std::string many = "-o pid";
    for (int count = 0; count < 64; ++count) {
        many += ",pid";
    }
    EXPECT_EQ(refused(many), 400U);
}

}  // namespace
}  // namespace hull::container

// What the user says of the jail, and what is refused.
#include "vmm/machine/jail_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <string>

#include "tests/support/errors.h"
#include "vmm/jail/machine_user.h"

namespace hull {
namespace {

using Layer = JailConfig::Layer;
using jail::find_machine_user;
using jail::MachineUser;
using test::expect_error;

TEST(JailConfig, IsWholeUnlessTheUserSaysOtherwise) {
    JailConfig config;
    for (const Layer layer : {Layer::namespaces, Layer::user, Layer::landlock, Layer::seccomp}) {
        EXPECT_TRUE(config.has(layer)) << name_of(layer);
    }
    EXPECT_TRUE(apply_jail_option(config, "jail", "strict"));
    EXPECT_EQ(config.mode, JailConfig::Mode::strict);
    EXPECT_TRUE(apply_jail_option(config, "jail-without", "landlock,user"));
    EXPECT_FALSE(config.has(Layer::landlock));
    EXPECT_FALSE(config.has(Layer::user));
    EXPECT_TRUE(config.has(Layer::namespaces));
    EXPECT_TRUE(config.has(Layer::seccomp));
    EXPECT_EQ(config.without_text(), "user,landlock");
    EXPECT_TRUE(apply_jail_option(config, "jail-user", "somebody"));
    EXPECT_EQ(config.user, "somebody");
    EXPECT_TRUE(apply_jail_option(config, "jail", "off"));
    EXPECT_FALSE(config.has(Layer::namespaces));
    EXPECT_FALSE(apply_jail_option(config, "jails", "off"));
}

TEST(JailConfig, WhatIsWrongIsTold) {
    struct Row {
        const char* key;
        const char* value;
        const char* told;
    };
    for (const Row& row : {Row{"jail", "", "neither on, off nor strict"},
                           {"jail", "On", "neither on, off nor strict"},
                           {"jail-without", "", "no layer of the jail"},
                           {"jail-without", "everything", "'everything' is no layer of the jail"},
                           {"jail-without", "user,,seccomp", "'user,seccomp' is no layer"},
                           {"jail-without", "user,user", "'user' is no layer of the jail, or comes twice"},
                           {"jail-user", "", "it names nobody"}}) {
        SCOPED_TRACE(std::string{row.key} + "=" + row.value);
        JailConfig config;
        expect_error([&] { apply_jail_option(config, row.key, row.value); }, ExitStatus::usage,
                     {row.told, std::string{"--"} + row.key});
    }
}

TEST(MachineUser, OfItsOwnIsNobodyElses) {
    const MachineUser user = find_machine_user("");
    EXPECT_EQ(user.uid, MachineUser::kFirstOwn + static_cast<uid_t>(getpid()));
    EXPECT_EQ(user.gid, user.uid);
}

TEST(MachineUser, OnlyRootNamesOne) {
    if (geteuid() == 0) {
        GTEST_SKIP() << "this is root";
    }
    expect_error([] { find_machine_user("1"); }, ExitStatus::usage, {"--jail-user", "only root"});
}

TEST(MachineUser, OfRootsIsFoundByNameAndNumber) {
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root names one";
    }
    struct Row {
        const char* text;
        uid_t uid;
        gid_t gid;
    };
    for (const Row& row : {Row{"12345", 12345, 12345},
                           {"12345:7", 12345, 7},
                           {"4294967294:1", 4294967294, 1},
                           {"daemon", 1, 1},
                           {"daemon:5", 1, 5}}) {
        SCOPED_TRACE(row.text);
        const MachineUser user = find_machine_user(row.text);
        EXPECT_EQ(user.uid, row.uid);
        EXPECT_EQ(user.gid, row.gid);
    }
    for (const char* text : {"0", "0:5", "5:0", "root", "nobody-is-called-this", "daemon:", "daemon:x", ":5",
                             "4294967295", "1:4294967295", "--help", "1:2:3", "-1", " 1"}) {
        SCOPED_TRACE(text);
        expect_error([&] { find_machine_user(text); }, ExitStatus::usage, {"--jail-user"});
    }
}

}  // namespace
}  // namespace hull

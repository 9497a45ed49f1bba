#include "guest/agent/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hull::agent {

namespace {

constexpr size_t kMostName = 256;

/// Null where there is no such file: a pipe, say, is none, and would be waited for.
FILE* open_table(const char* path) {
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status {};
    FILE* file = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? fdopen(fd, "re") : nullptr;
    if (file == nullptr && fd >= 0) {
        close(fd);
    }
    return file;
}

/// Whether it is all digits, of a number that an id may be.
bool is_id(const char* text, unsigned& id) {
    char* end = nullptr;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    id = static_cast<unsigned>(value);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value <= INT_MAX;
}

/// The user's entry, whose name goes to `name`. False where there is none.
bool find_entry(const char* path, const char* wanted, bool by_id, User& user, char* name) {
    FILE* table = open_table(path);
    bool found = false;
    const passwd* entry = nullptr;
    while (table != nullptr && !found && (entry = fgetpwent(table)) != nullptr) {
        found = (by_id && entry->pw_uid == user.id) || strcmp(entry->pw_name, wanted) == 0;
        if (found) {
            user.id = entry->pw_uid;
            user.group = entry->pw_gid;
            snprintf(user.home, sizeof user.home, "%s", entry->pw_dir);
            snprintf(name, kMostName, "%s", entry->pw_name);
        }
    }
    if (table != nullptr) {
        fclose(table);
    }
    return found;
}

/// All groups that have this member.
void find_groups(const char* path, const char* member, User& user) {
    FILE* table = open_table(path);
    const group* entry = nullptr;
    while (table != nullptr && (entry = fgetgrent(table)) != nullptr) {
        for (char* const* each = entry->gr_mem; *each != nullptr; ++each) {
            if (user.group_count < User::kMostGroups && strcmp(*each, member) == 0) {
                user.groups[user.group_count++] = entry->gr_gid;
                break;
            }
        }
    }
    if (table != nullptr) {
        fclose(table);
    }
}

/// The group of this name or, first of all, number. False where there is none.
bool find_group(const char* path, const char* wanted, gid_t& id) {
    const bool by_id = is_id(wanted, id);
    FILE* table = open_table(path);
    bool found = by_id;
    const group* entry = nullptr;
    while (table != nullptr && !found && (entry = fgetgrent(table)) != nullptr) {
        found = strcmp(entry->gr_name, wanted) == 0;
        id = found ? entry->gr_gid : id;
    }
    if (table != nullptr) {
        fclose(table);
    }
    return found;
}

}  // namespace

const char* find_user(const char* text, const char* users, const char* groups, User& user) {
    char wanted[kMostName];
    char name[kMostName] = "";
    const char* colon = strchr(text, ':');
    const size_t length = colon == nullptr ? strlen(text) : static_cast<size_t>(colon - text);
    if (length >= sizeof wanted) {
        errno = ENAMETOOLONG;
        return "to find the user";
    }
    memcpy(wanted, text, length);
    wanted[length] = '\0';
    const bool by_id = length == 0 || is_id(wanted, user.id);
    if (length == 0) {
        user.id = 0;
    }
    if (!find_entry(users, wanted, by_id, user, name) && !by_id) {
        errno = ENOENT;
        return "to find the user in /etc/passwd";
    }
    const bool has_group = colon != nullptr && colon[1] != '\0';
    if (has_group && !find_group(groups, colon + 1, user.group)) {
        errno = ENOENT;
        return "to find the group in /etc/group";
    }
    user.groups[0] = user.group;
    user.group_count = 1;
    if (!has_group && *name != '\0') {
        find_groups(groups, name, user);
    }
    return nullptr;
}

}  // namespace hull::agent

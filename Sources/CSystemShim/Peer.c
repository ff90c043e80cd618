#define _GNU_SOURCE
#include "CSystemShim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

// From Linux's headers, which are newer than those that a distribution compiles with.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

// struct pidfd_info in its first size.
struct process_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t rest[12];
};
#define PROCESS_INFO_CGROUP (1UL << 2)
#define GET_PROCESS_INFO _IOWR(0xFF, 11, struct process_info)

#define CGROUP2_MAGIC 0x63677270

int csystem_peer_process(int fd) {
    int process = -1;
    socklen_t length = sizeof process;
    // The kernel sets O_CLOEXEC.
    return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &process, &length) == 0 ? process : -errno;
}

int csystem_process_cgroup(int process, uint64_t *cgroup) {
    struct process_info info = {.mask = PROCESS_INFO_CGROUP};
    if (ioctl(process, GET_PROCESS_INFO, &info) != 0) return errno;
    if (!(info.mask & PROCESS_INFO_CGROUP)) return ENODATA;
    *cgroup = info.cgroup;
    return 0;
}

struct group {
    struct group *next;
    char path[];
};

// Adds the groups in the folder to the end of the queue, as many as there is room for. Returns 1 if the one that is looked for is among them: then it is the
// last; 0 if not, or a negative errno.
static int look_into(const char *root, const struct group *folder, uint64_t cgroup, struct group ***end, size_t *room) {
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s%s", root, folder->path) >= sizeof path) return 0;
    DIR *directory = opendir(path);
    // One that was just removed is not the one.
    if (directory == NULL) return errno == ENOENT || errno == EACCES ? 0 : -errno;
    int found = 0;
    struct dirent *entry;
    while (found == 0 && *room > 0 && (entry = readdir(directory)) != NULL) {
        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        size_t size = strlen(folder->path) + strlen(entry->d_name) + 2;
        struct group *group = malloc(sizeof *group + size);
        if (group == NULL) {
            found = -ENOMEM;
            break;
        }
        group->next = NULL;
        snprintf(group->path, size, "%s/%s", folder->path, entry->d_name);
        **end = group;
        *end = &group->next;
        --*room;
        // The number of the folder is the id of the group, and is not used again.
        found = entry->d_ino == cgroup;
    }
    closedir(directory);
    return found;
}

int csystem_cgroup_path(const char *root, uint64_t cgroup, size_t most, char *path, size_t capacity) {
    struct statfs file_system;
    if (statfs(root, &file_system) != 0) return errno;
    if (file_system.f_type != CGROUP2_MAGIC) return ENOENT;
    struct group *first = calloc(1, sizeof *first + 1);
    if (first == NULL) return ENOMEM;
    struct group **end = &first->next;
    int found = 0;
    struct group *last = first;
    for (struct group *folder = first; found == 0 && folder != NULL && most > 0; folder = folder->next)
        found = look_into(root, folder, cgroup, &end, &most);
    while (last->next != NULL) last = last->next;
    int failed = found < 0 ? -found : found == 0 ? ENOENT : 0;
    if (failed == 0 && strlen(last->path) >= capacity) failed = ENAMETOOLONG;
    if (failed == 0) strcpy(path, last->path);
    while (first != NULL) {
        struct group *next = first->next;
        free(first);
        first = next;
    }
    return failed;
}

#define _GNU_SOURCE
#include "CSystemShim.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int csystem_peer_credentials(int fd, struct csystem_peer *peer) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return errno;
    peer->pid = credentials.pid;
    peer->uid = credentials.uid;
    peer->gid = credentials.gid;
    return 0;
}

int csystem_peer_groups(int fd, gid_t *groups, size_t *count) {
    socklen_t length = (socklen_t)(*count * sizeof(gid_t));
    int failed = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) != 0 ? errno : 0;
    *count = length / sizeof(gid_t);
    return failed;
}

void csystem_zeroize(const void *bytes, size_t length) {
    if (length > 0) explicit_bzero((void *)bytes, length);
}

int csystem_random(void *bytes, size_t length) {
    unsigned char *position = bytes;
    while (length > 0) {
        // The system call itself: the C library's functions may take the bytes from a buffer in this process (the vDSO's
        // getrandom), in which those of the next calls stand already, and which a copy of the machine's memory has as well.
        long count = syscall(SYS_getrandom, position, length, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        position += count;
        length -= (size_t)count;
    }
    return 0;
}

int csystem_forbid_dumps(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) return errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return errno;
    return 0;
}

int csystem_lock_memory(void) {
    // Under a finite limit a later allocation would fail, so it is all or nothing; the unit file forbids swap as well.
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return -errno;
    if (limit.rlim_cur != RLIM_INFINITY) return 0;
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0 ? 1 : -errno;
}

int csystem_listen_unix(const char *path, unsigned int mode, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    // fchmod before bind sets the mode with which bind creates the file: there is no moment at which it is more open.
    if (fchmod(fd, mode) != 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0
        || chmod(path, mode) != 0 || listen(fd, backlog) != 0) {
        int failed = errno;
        close(fd);
        return -failed;
    }
    return fd;
}

int csystem_connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int failed = errno;
        close(fd);
        return -failed;
    }
    return fd;
}

int csystem_adopt_listener(int fd, char *path, size_t capacity) {
    int type, listens;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0) return errno;
    length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0) return errno;
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) return errno;
    if (type != SOCK_STREAM || !listens || address.sun_family != AF_UNIX) return EPROTOTYPE;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return errno;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return errno;
    // An abstract one begins with a zero, and the kernel need not end a path with one.
    snprintf(path, capacity, "%.*s", (int)sizeof address.sun_path, address.sun_path);
    return 0;
}

const char *csystem_environment_entry(size_t index) {
    if (!environ) return NULL;
    for (size_t before = 0; before < index; before++) if (!environ[before]) return NULL;
    return environ[index];
}

int csystem_open_place(int folder, const char *name) {
    int fd = openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

long csystem_read_link(int folder, const char *name, void *target, size_t capacity) {
    ssize_t length = readlinkat(folder, name, target, capacity);
    if (length < 0) return -errno;
    return (size_t)length < capacity ? length : -ENAMETOOLONG;
}

int csystem_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return fd >= 0 ? fd : -errno;
}

void csystem_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int csystem_notify(const char *path, const char *message, size_t length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof address.sun_path) return ENAMETOOLONG;
    memcpy(address.sun_path, path, size);
    if (address.sun_path[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno;
    socklen_t whole = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    ssize_t sent = sendto(fd, message, length, MSG_NOSIGNAL, (struct sockaddr *)&address, whole);
    int failed = sent < 0 ? errno : 0;
    close(fd);
    return failed;
}

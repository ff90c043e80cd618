#define _GNU_SOURCE
#include "CSystemShim.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

int csystem_journal_open(int timeout_milliseconds) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct timeval patience = {timeout_milliseconds / 1000, timeout_milliseconds % 1000 * 1000};
    // The larger the buffer, the longer the lines that need no memory file.
    int size = 8 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
        int failed = errno;
        close(fd);
        return -failed;
    }
    return fd;
}

static int send_whole(int fd, struct msghdr *message) {
    ssize_t sent;
    do sent = sendmsg(fd, message, MSG_NOSIGNAL); while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

// A descriptor of a memory file with these bytes that nobody can change any more, or a negative errno.
static int sealed_copy(const void *bytes, size_t length) {
    int memory = memfd_create("custody-audit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0) return -errno;
    int failed = 0;
    for (size_t done = 0; failed == 0 && done < length;) {
        ssize_t count = write(memory, (const char *)bytes + done, length - done);
        if (count > 0) done += (size_t)count;
        else if (errno != EINTR) failed = errno;
    }
    if (failed == 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) failed = errno;
    if (failed == 0) return memory;
    close(memory);
    return -failed;
}

int csystem_journal_send(int fd, const char *path, const void *fields, size_t length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    struct iovec content = {(void *)fields, length};
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &content, .msg_iovlen = 1};
    int failed = send_whole(fd, &message);
    if (failed != EMSGSIZE && failed != ENOBUFS) return failed;

    int memory = sealed_copy(fields, length);
    if (memory < 0) return -memory;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    message.msg_iov = NULL;
    message.msg_iovlen = 0;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &memory, sizeof(int));
    failed = send_whole(fd, &message);
    close(memory);
    return failed;
}

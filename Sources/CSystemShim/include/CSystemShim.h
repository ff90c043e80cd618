// What Swift's Glibc module cannot express: the kernel's word on a peer, zeroing that no optimiser removes, hardening.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Credentials of the process at the other end of a connected Unix socket, as the kernel recorded them at connect time.
struct csystem_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/// SO_PEERCRED. Returns 0, or the errno.
int csystem_peer_credentials(int fd, struct csystem_peer *peer);

/// SO_PEERGROUPS: the peer's supplementary groups. `count` is the capacity on entry and the number on return.
/// Returns 0, or the errno (ERANGE: `count` says how many there are).
int csystem_peer_groups(int fd, gid_t *groups, size_t *count);

/// SO_PEERPIDFD (Linux 6.5): a descriptor of the process that connected, which stands for no other one however long it lives.
/// Returns the descriptor, or a negative errno.
int csystem_peer_process(int fd);

/// PIDFD_GET_INFO (Linux 6.13): the id of the process' control group in the hierarchy of version 2. Returns 0, or the errno.
int csystem_process_cgroup(int process, uint64_t *cgroup);

/// The path of a control group below `root`, which is where the hierarchy of version 2 is mounted: with a slash before each of
/// its parts. Outer ones are looked at first, `most` at most. Returns 0, or the errno (ENOENT: it is not among them).
int csystem_cgroup_path(const char *root, uint64_t cgroup, size_t most, char *path, size_t capacity);

/// Overwrites `length` bytes with zeros; never optimised away.
void csystem_zeroize(const void *bytes, size_t length);

/// Random bytes, drawn from the kernel's generator by this call. Returns 0, or the errno.
int csystem_random(void *bytes, size_t length);

/// Not dumpable, no core files. Returns 0, or the errno of what failed.
int csystem_forbid_dumps(void);

/// Locks all memory, now and later, if the limit on locked memory allows it without end.
/// Returns 1 if locked, 0 if the limit forbids it, or a negative errno.
int csystem_lock_memory(void);

/// Binds a listening, non-blocking Unix socket whose file has exactly this mode from the beginning.
/// Returns the descriptor, or a negative errno.
int csystem_listen_unix(const char *path, unsigned int mode, int backlog);

/// Takes a descriptor that a service manager passed, if it is a listening Unix stream socket: not to be inherited, not blocking.
/// Puts the path of its file into `path`, or an empty string if it has none. Returns 0, or the errno.
int csystem_adopt_listener(int fd, char *path, size_t capacity);

/// Connects to a Unix socket. Returns the descriptor, or a negative errno.
int csystem_connect_unix(const char *path);

/// A socket for csystem_journal_send, whose sends wait for so long at most. Returns the descriptor, or a negative errno.
int csystem_journal_open(int timeout_milliseconds);

/// Sends the fields of an entry to the systemd journal that listens at `path`: as a datagram, or in a sealed memory file
/// if they are too long for one. Returns 0, or the errno.
int csystem_journal_send(int fd, const char *path, const void *fields, size_t length);

/// Sends a datagram to a service manager's socket, without waiting; a path that begins with '@' is an abstract one.
/// Returns 0, or the errno.
int csystem_notify(const char *path, const char *message, size_t length);

/// An argument that the process was started with, as its bytes are, its name being the first; NULL past the last one.
const char *csystem_argument(size_t index);

/// An entry `NAME=value` of the process' environment, as its bytes are; NULL past the last one.
const char *csystem_environment_entry(size_t index);

/// A folder as a place to look up names in (O_PATH), which needs no right to read it; a symbolic link is not followed.
/// Returns the descriptor, or a negative errno.
int csystem_open_place(int folder, const char *name);

/// Puts what a symbolic link leads to into `target`, ended by a zero. Returns its length, or a negative errno.
long csystem_read_link(int folder, const char *name, void *target, size_t capacity);

/// accept4 with SOCK_CLOEXEC and SOCK_NONBLOCK. Returns the descriptor, or a negative errno.
int csystem_accept(int listener);

/// Raises the soft limit on open files to the hard one, if the kernel lets it.
void csystem_raise_descriptor_limit(void);

/// Memory of zeros for a key: out of core files, zeroed in forked children, and out of swap if the limit on locked memory
/// allows it, which `locked` tells. NULL if there is none.
void *csystem_locked_alloc(size_t length, int *locked);

/// Zeroes it and takes it back; `length` and `locked` as they were.
void csystem_locked_free(void *memory, size_t length, int locked);

// Starting processes for the tests: Foundation's Process crashes now and then when many are started at once, and starts
// them with most signals blocked.
#pragma once

#include <sys/types.h>

/// Starts a program with these files as standard input, output (append) and error (append), every signal at its default and
/// none blocked. Returns 0 and the process, or the errno.
int ctest_spawn(
    const char *path, char *const arguments[], char *const environment[], const char *input, const char *output,
    const char *errors, pid_t *process);

/// Where `needle` first stands in `haystack`, or -1.
long ctest_find(const void *haystack, size_t haystack_length, const void *needle, size_t needle_length);

/// Binds a datagram socket in the file system, as journald does. Returns the descriptor, or a negative errno.
int ctest_datagram_socket(const char *path);

/// Receives a datagram, or the content of the sealed memory file that comes with an empty one. Waits a minute at most.
/// Returns the number of bytes, or a negative errno; EBADMSG if the memory file can still be changed.
long ctest_receive_entry(int fd, void *bytes, size_t capacity);

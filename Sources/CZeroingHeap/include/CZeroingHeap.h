// A heap that zeroes what is freed, for the programs (never the libraries) that link this target.
//
// Secrets pass through buffers of libraries that know nothing of secrets: event loops, message decoders, the
// PKCS#11 module. Each of them frees its memory in the end, so it is wiped in the one place that all of them pass.
#pragma once

/// 1 if freed memory is zeroed in this process; 0 in a sanitizer's build, which has a heap of its own.
int czeroing_heap_active(void);

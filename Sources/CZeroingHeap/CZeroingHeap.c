#define _GNU_SOURCE
#include "CZeroingHeap.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
int czeroing_heap_active(void) { return 0; }
#else
int czeroing_heap_active(void) { return 1; }

// glibc's own entry points, exported for interposers.
extern void __libc_free(void *);

void free(void *memory) {
    if (memory == NULL) return;
    explicit_bzero(memory, malloc_usable_size(memory));
    __libc_free(memory);
}

void *realloc(void *memory, size_t size) {
    if (memory == NULL) return malloc(size);
    if (size == 0) {
        free(memory);
        return NULL;
    }
    // glibc's realloc would free a moved block without passing here.
    size_t usable = malloc_usable_size(memory);
    if (size <= usable && size >= usable / 2) return memory;
    void *moved = malloc(size);
    if (moved == NULL) return NULL;
    memcpy(moved, memory, usable < size ? usable : size);
    free(memory);
    return moved;
}
#endif

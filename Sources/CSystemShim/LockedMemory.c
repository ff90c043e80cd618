#define _GNU_SOURCE
#include "CSystemShim.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// Keys are small and there may be thousands: they share locked chunks, so that each does not cost a page.
#define SLOT 64
#define CHUNK 65536

struct slot {
    struct slot *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *free_slots;
// Slots that lie in chunks which could not be locked.
static struct slot *free_unlocked_slots;

// Pages of our own, kept out of core files and out of forked children. `locked` says whether out of swap, too.
static void *map(size_t length, int *locked) {
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    madvise(memory, length, MADV_DONTDUMP);
    madvise(memory, length, MADV_WIPEONFORK);
    *locked = mlock(memory, length) == 0;
    return memory;
}

static size_t whole_pages(size_t length) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (length + page - 1) / page * page;
}

// A chunk that is locked: a page where the limit on locked memory has no room for more. An unlocked one if not even that.
static char *map_chunk(size_t *length, int *locked) {
    *locked = 0;
    *length = CHUNK;
    void *chunk = map(CHUNK, locked);
    if (chunk == NULL || *locked) return chunk;
    size_t page = whole_pages(1);
    void *small = map(page, locked);
    // Of both, the one that is not used holds nothing yet.
    if (small != NULL) munmap(*locked ? chunk : small, *locked ? CHUNK : page);
    if (!*locked) return chunk;
    *length = page;
    return small;
}

static void *pop(struct slot **list) {
    struct slot *slot = *list;
    if (slot == NULL) return NULL;
    *list = slot->next;
    memset(slot, 0, SLOT);
    return slot;
}

void *csystem_locked_alloc(size_t length, int *locked) {
    if (length > SLOT) return map(whole_pages(length), locked);
    pthread_mutex_lock(&lock);
    void *slot = pop(&free_slots);
    *locked = slot != NULL;
    if (slot == NULL) {
        int is_locked = 0;
        size_t chunk_length = 0;
        char *chunk = free_unlocked_slots == NULL ? map_chunk(&chunk_length, &is_locked) : NULL;
        struct slot **list = is_locked ? &free_slots : &free_unlocked_slots;
        for (size_t offset = 0; chunk != NULL && offset < chunk_length; offset += SLOT) {
            struct slot *fresh = (struct slot *)(chunk + offset);
            fresh->next = *list;
            *list = fresh;
        }
        slot = pop(list);
        *locked = is_locked;
    }
    pthread_mutex_unlock(&lock);
    return slot;
}

void csystem_locked_free(void *memory, size_t length, int locked) {
    if (memory == NULL) return;
    if (length > SLOT) {
        length = whole_pages(length);
        explicit_bzero(memory, length);
        munmap(memory, length);
        return;
    }
    explicit_bzero(memory, SLOT);
    pthread_mutex_lock(&lock);
    struct slot **list = locked ? &free_slots : &free_unlocked_slots;
    struct slot *slot = memory;
    slot->next = *list;
    *list = slot;
    pthread_mutex_unlock(&lock);
}

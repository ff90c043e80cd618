// Lets ThreadSanitizer see a Mutex (Synchronization) that had to be waited for. Linked into sanitized programs only.
//
// Swift inlines the uncontended lock and unlock into the caller, as atomic operations that are instrumented there. Where a thread
// has to wait, or another waits for it, libswiftSynchronization.so does it (a futex with priority inheritance), and that is not
// instrumented: a counter under a Mutex is reported as a race as soon as two threads meet. These functions stand before the
// library's own, call them, and say what happened, with the address that the inlined operations use as well. They add no more than
// the order that the lock really gives, so no race is hidden; scripts/sanitize proves both before it runs the tests.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

void __tsan_acquire(void *);
void __tsan_release(void *);

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT _Bool try_lock_slow(SELF void *mutex) __asm__(TRY_LOCK);
SWIFT void unlock_slow(SELF void *mutex) __asm__(UNLOCK);

static SWIFT void (*original_lock)(uint32_t, SELF void *);
static SWIFT _Bool (*original_try_lock)(SELF void *);
static SWIFT void (*original_unlock)(SELF void *);

__attribute__((constructor)) static void find_originals(void) {
    *(void **)&original_lock = dlsym(RTLD_NEXT, LOCK);
    *(void **)&original_try_lock = dlsym(RTLD_NEXT, TRY_LOCK);
    *(void **)&original_unlock = dlsym(RTLD_NEXT, UNLOCK);
}

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) {
    original_lock(thread, mutex);
    __tsan_acquire(mutex);
}

SWIFT _Bool try_lock_slow(SELF void *mutex) {
    _Bool taken = original_try_lock(mutex);
    if (taken) __tsan_acquire(mutex);
    return taken;
}

SWIFT void unlock_slow(SELF void *mutex) {
    __tsan_release(mutex);
    original_unlock(mutex);
}

// Lets ThreadSanitizer see what Swift's own libraries do for the threads, which are not instrumented. Linked into sanitized
// programs only. Each function stands before the library's own, calls it and says what order it gives, no more than it really
// gives, so that no race is hidden; scripts/sanitize proves both before it runs the tests.
//
// Mutex (Synchronization): the uncontended lock and unlock are inlined into the caller, as atomic operations that are
// instrumented there. Where a thread has to wait, or another waits for it, libswiftSynchronization.so does it (a futex with
// priority inheritance): without these a counter under a Mutex is a race as soon as two threads meet. The address is the one that
// the inlined operations use.
//
// Continuations: a task that waits and is resumed is known to the sanitizer, by the runtime's own word. One that was resumed before
// it came to wait goes on at once, and of that the runtime says the one half only, at the resuming side.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

void __tsan_acquire(void *);
void __tsan_release(void *);

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

#define ASYNC __attribute__((swiftasynccall))

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT _Bool try_lock_slow(SELF void *mutex) __asm__(TRY_LOCK);
SWIFT void unlock_slow(SELF void *mutex) __asm__(UNLOCK);

// As the runtime lays it out (ContinuationAsyncContext): the first words, and its states.
struct continuation {
    void *parent;
    void *resume;
    size_t flags;
    _Atomic(size_t) state;
};
enum { PENDING, AWAITED, RESUMED };
SWIFT void *swift_task_getCurrent(void);

typedef ASYNC void (*await_function)(struct continuation *);

static await_function original_await;
static SWIFT void (*original_lock)(uint32_t, SELF void *);
static SWIFT _Bool (*original_try_lock)(SELF void *);
static SWIFT void (*original_unlock)(SELF void *);

__attribute__((constructor)) static void find_originals(void) {
    *(void **)&original_await = dlsym(RTLD_NEXT, "swift_continuation_await");
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

ASYNC void swift_continuation_await(struct continuation *continuation) {
    // If it is resumed only after this look and before the runtime's, a report may be wrong: an instant, never seen.
    if (atomic_load_explicit(&continuation->state, memory_order_acquire) == RESUMED) __tsan_acquire(swift_task_getCurrent());
    __attribute__((musttail)) return original_await(continuation);
}

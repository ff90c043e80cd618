#define _GNU_SOURCE
#include "Call.h"

#include <pthread.h>

enum { CAPACITY = 4096 };

static pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    CK_SESSION_HANDLE handle;
    CK_SLOT_ID slot;
} sessions[CAPACITY];
static int count;
static struct fault_process *process;

void enter_module(void) { pthread_rwlock_rdlock(&gate); }
void leave_module(void) { pthread_rwlock_unlock(&gate); }

/// Forgets the sessions that are meant; all of them if neither is given.
static void forget(const CK_SESSION_HANDLE *session, const CK_SLOT_ID *slot) {
    pthread_mutex_lock(&lock);
    int kept = 0;
    for (int index = 0; index < count; index++) {
        bool goes = (session == NULL || sessions[index].handle == *session) && (slot == NULL || sessions[index].slot == *slot);
        if (!goes) sessions[kept++] = sessions[index];
    }
    if (process != NULL) fault_count_sessions(fault_control, process, kept - count);
    count = kept;
    pthread_mutex_unlock(&lock);
}

void note_initialize(void) {
    if (process == NULL) process = fault_enter_process(fault_control);
}

void note_finalize(void) {
    forget(NULL, NULL);
    // The place may go to another process.
    if (process != NULL) process->process = 0;
    process = NULL;
}

void note_open(CK_SESSION_HANDLE session, CK_SLOT_ID slot) {
    pthread_mutex_lock(&lock);
    if (count < CAPACITY) {
        sessions[count].handle = session;
        sessions[count++].slot = slot;
        if (process != NULL) fault_count_sessions(fault_control, process, 1);
    }
    pthread_mutex_unlock(&lock);
}

void note_close(CK_SESSION_HANDLE session) { forget(&session, NULL); }
void note_close_all(CK_SLOT_ID slot) { forget(NULL, &slot); }

void lose_sessions(void) {
    pthread_rwlock_wrlock(&gate);
    while (count > 0) {
        CK_SLOT_ID slot = sessions[0].slot;
        real_module->C_CloseAllSessions(slot);
        forget(NULL, &slot);
    }
    pthread_rwlock_unlock(&gate);
}

void lose_login(void) {
    pthread_rwlock_wrlock(&gate);
    for (int index = 0; index < count; index++) real_module->C_Logout(sessions[index].handle);
    pthread_rwlock_unlock(&gate);
}

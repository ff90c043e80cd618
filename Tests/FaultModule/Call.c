#define _GNU_SOURCE
#include "Call.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/// The armed rule that applies to this call, held; NULL if none does.
static struct fault_rule *matching_rule(enum fault_function function, uint32_t *generation) {
    static _Thread_local unsigned int seed;
    for (int number = 0; number < FAULT_RULES; number++) {
        struct fault_rule *rule = &fault_control->rules[number];
        *generation = rule->generation;
        if (*generation % 2 == 0) continue;
        if (rule->function != FAULT_ANY && rule->function != function) continue;
        // Held before it is looked at again: whoever clears it waits until nobody holds it.
        rule->held++;
        uint64_t call = atomic_fetch_add(&rule->calls, 1) + 1;
        bool applies = rule->generation == *generation && call >= rule->first;
        if (applies && rule->probability != 0) {
            if (seed == 0) seed = (unsigned int)(uintptr_t)&seed ^ (unsigned int)getpid() ^ (unsigned int)time(NULL);
            applies = (uint32_t)rand_r(&seed) % 65536 < rule->probability;
        }
        if (applies && atomic_fetch_add(&rule->hits, 1) >= rule->times && rule->times != 0) {
            rule->hits--;
            applies = false;
        }
        if (applies) return rule;
        rule->held--;
    }
    return NULL;
}

/// Applies what is armed before the real function is called. Returns whether it is to be.
static bool meet_rule(struct call *call) {
    uint32_t generation;
    struct fault_rule *rule = matching_rule(call->function, &generation);
    if (rule == NULL) return true;
    uint64_t parameter = rule->parameter;
    bool may_return = true;
    switch ((enum fault_action)rule->action) {
    case FAULT_RETURN: break;
    case FAULT_HANG: fault_wait(rule, generation); break;
    case FAULT_LOSE_SESSIONS: lose_sessions(); break;
    case FAULT_LOSE_LOGIN: lose_login(); break;
    case FAULT_DELAY: {
        struct timespec time = {(time_t)(parameter / 1000), (long)(parameter % 1000) * 1000000};
        while (nanosleep(&time, &time) != 0) {}
        may_return = false;
        break;
    }
    case FAULT_CRASH:
        rule->held--;
        signal((int)parameter, SIG_DFL);
        kill(getpid(), (int)parameter);
        while (true) pause();
    case FAULT_RETURN_AFTER:
    case FAULT_SHORT_OUTPUT:
    case FAULT_WRONG_OUTPUT:
    case FAULT_LONG_OUTPUT:
    case FAULT_TOKEN_FLAGS:
    case FAULT_HAND_OUT:
        call->rule = rule;
        return true;
    }
    rule->held--;
    if (!may_return || (rule->action != FAULT_RETURN && parameter == 0)) return true;
    call->result = parameter;
    return false;
}

bool begin(struct call *call) {
    struct fault_counter *counter = &fault_control->functions[call->function];
    atomic_fetch_add_explicit(&counter->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->inside, 1, memory_order_relaxed);
    if (call->count != NULL && call->room == 0) call->room = *call->count;
    if (call->function == FAULT_C_Login) {
        fault_control->logins++;
        if (fault_control->refused_logins > 0) fault_control->logins_after_refusal++;
    }
    if (atomic_load_explicit(&fault_control->attention, memory_order_relaxed) != 0) {
        if (!meet_rule(call) || (has_reader() && !pass_reader(call))) return false;
    }
    enter_module();
    call->passes = true;
    return true;
}

static bool is_refusal(CK_RV result) { return result >= CKR_PIN_INCORRECT && result <= CKR_PIN_LOCKED; }

CK_RV end(struct call *call) {
    if (call->passes) {
        if (call->result == CKR_OK) {
            switch (call->function) {
            case FAULT_C_Initialize: note_initialize(); break;
            case FAULT_C_Finalize: note_finalize(); break;
            case FAULT_C_OpenSession: note_open(*(CK_SESSION_HANDLE *)call->output, *call->slot); break;
            case FAULT_C_CloseSession: note_close(call->session); break;
            case FAULT_C_CloseAllSessions: note_close_all(*call->slot); break;
            default: break;
            }
        }
        leave_module();
    }
    if (call->rule != NULL) {
        if (call->passes) spoil(call);
        call->rule->held--;
    }
    if (call->function == FAULT_C_Login && is_refusal(call->result)) fault_control->refused_logins++;
    atomic_fetch_sub_explicit(&fault_control->functions[call->function].inside, 1, memory_order_relaxed);
    return call->result;
}

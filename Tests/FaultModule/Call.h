// A call on its way through the module.
#pragma once

#include "FaultControl.h"
#include "FaultModule.h"

enum place { ON_NOTHING, ON_SLOT, ON_SESSION };

struct call {
    enum fault_function function;
    /// What it is about: `slot` is changed to the real one's number.
    enum place place;
    CK_SLOT_ID *slot;
    CK_SESSION_HANDLE session;
    /// What it gives: `*count` units if there is a count, else one.
    void *output;
    CK_ULONG *count;
    CK_ULONG unit;
    bool gives_handles;
    /// C_WrapKey's.
    CK_MECHANISM_TYPE mechanism;
    /// The caller's room, in units.
    CK_ULONG room;
    /// The rule that applies once the real function has answered.
    struct fault_rule *rule;
    /// Whether the real function is being called.
    bool passes;
    CK_RV result;
};

extern CK_FUNCTION_LIST *real_module;
extern struct fault_control *fault_control;

/// Counts the call and applies what is armed. Returns whether the real function is to be called.
bool begin(struct call *call);

/// Takes note of the real function's answer, spoils it if a rule says so, and returns it.
CK_RV end(struct call *call);

// MARK: Reader.c

/// The number of the reader's only slot.
enum { READER_SLOT = 77 };

bool has_reader(void);
/// Whether the call can go on; else its result is set.
bool pass_reader(struct call *call);
CK_RV reader_slots(CK_BBOOL with_token, CK_SLOT_ID *list, CK_ULONG *count);
CK_RV reader_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info);

// MARK: Sessions.c

/// Held for reading in each call of the real module: its sessions must not be closed under another thread's hands.
void enter_module(void);
void leave_module(void);

void note_initialize(void);
void note_finalize(void);
void note_open(CK_SESSION_HANDLE session, CK_SLOT_ID slot);
void note_close(CK_SESSION_HANDLE session);
void note_close_all(CK_SLOT_ID slot);
/// Waits until no other thread is in the real module, and closes all sessions or logs out.
void lose_sessions(void);
void lose_login(void);

// MARK: Spoil.c

/// Applies a rule to what the real function gave.
void spoil(struct call *call);

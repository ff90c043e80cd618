// The control file of the fault module: a fixed layout that the module and the tests map into their memory at once.
//
// Everything in it is atomic. It outlives the processes that use the module, also killed ones, and several may share it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// The functions of PKCS#11 v2.40, in the order of its function list.
#define FAULT_EACH_FUNCTION(X) \
    X(C_Initialize) X(C_Finalize) X(C_GetInfo) X(C_GetFunctionList) X(C_GetSlotList) X(C_GetSlotInfo) X(C_GetTokenInfo) \
    X(C_GetMechanismList) X(C_GetMechanismInfo) X(C_InitToken) X(C_InitPIN) X(C_SetPIN) X(C_OpenSession) X(C_CloseSession) \
    X(C_CloseAllSessions) X(C_GetSessionInfo) X(C_GetOperationState) X(C_SetOperationState) X(C_Login) X(C_Logout) \
    X(C_CreateObject) X(C_CopyObject) X(C_DestroyObject) X(C_GetObjectSize) X(C_GetAttributeValue) X(C_SetAttributeValue) \
    X(C_FindObjectsInit) X(C_FindObjects) X(C_FindObjectsFinal) X(C_EncryptInit) X(C_Encrypt) X(C_EncryptUpdate) \
    X(C_EncryptFinal) X(C_DecryptInit) X(C_Decrypt) X(C_DecryptUpdate) X(C_DecryptFinal) X(C_DigestInit) X(C_Digest) \
    X(C_DigestUpdate) X(C_DigestKey) X(C_DigestFinal) X(C_SignInit) X(C_Sign) X(C_SignUpdate) X(C_SignFinal) \
    X(C_SignRecoverInit) X(C_SignRecover) X(C_VerifyInit) X(C_Verify) X(C_VerifyUpdate) X(C_VerifyFinal) \
    X(C_VerifyRecoverInit) X(C_VerifyRecover) X(C_DigestEncryptUpdate) X(C_DecryptDigestUpdate) X(C_SignEncryptUpdate) \
    X(C_DecryptVerifyUpdate) X(C_GenerateKey) X(C_GenerateKeyPair) X(C_WrapKey) X(C_UnwrapKey) X(C_DeriveKey) \
    X(C_SeedRandom) X(C_GenerateRandom) X(C_GetFunctionStatus) X(C_CancelFunction) X(C_WaitForSlotEvent)

#define FAULT_NUMBER(name) FAULT_##name,
enum fault_function { FAULT_EACH_FUNCTION(FAULT_NUMBER) FAULT_FUNCTIONS };
#undef FAULT_NUMBER

/// In a rule's place of a function: all of them.
#define FAULT_ANY UINT32_MAX

enum fault_action {
    /// Returns the code; the real function is not called.
    FAULT_RETURN = 1,
    /// Calls the real function, then returns the code: the deed is done, its answer lost.
    FAULT_RETURN_AFTER,
    /// Waits until the rule is cleared; then returns the code, or with 0 calls the real function.
    FAULT_HANG,
    /// Waits for so many milliseconds, then calls the real function.
    FAULT_DELAY,
    /// Ends the process by this signal.
    FAULT_CRASH,
    /// Closes all sessions of the process; then returns the code, or with 0 calls the real function.
    FAULT_LOSE_SESSIONS,
    /// Logs the process out; then likewise.
    FAULT_LOSE_LOGIN,
    /// Takes so many bytes or elements off the end of what the real function gave.
    FAULT_SHORT_OUTPUT,
    /// Changes one bit of what it gave: the parameter is the byte's number. A handle becomes the parameter.
    FAULT_WRONG_OUTPUT,
    /// Says that what it gave is so many bytes or elements longer than the caller's room.
    FAULT_LONG_OUTPUT,
    /// Adds these flags to what C_GetTokenInfo gave.
    FAULT_TOKEN_FLAGS,
    /// Hands out what the real token refused: C_WrapKey with this mechanism (all ones: any) and C_GetAttributeValue of CKA_VALUE
    /// give bytes, C_CopyObject an extractable session key.
    FAULT_HAND_OUT,
};

enum { FAULT_RULES = 32, FAULT_PROCESSES = 256, FAULT_LABEL = 32 };

struct fault_rule {
    /// Odd while it is armed; counts up with each change, so that a waiting thread sees that its rule has gone.
    _Atomic uint32_t generation;
    _Atomic uint32_t function;
    _Atomic uint32_t action;
    /// Of 65,536; 0 = always.
    _Atomic uint32_t probability;
    _Atomic uint64_t parameter;
    /// The first call, counted from 1 since the arming, that it applies to, and to how many; 0 = until it is cleared.
    _Atomic uint64_t first;
    _Atomic uint64_t times;
    _Atomic uint64_t calls;
    _Atomic uint64_t hits;
    /// Threads that the rule is being applied to now.
    _Atomic uint32_t held;
};

struct fault_process {
    /// 0 = free.
    _Atomic int32_t process;
    /// When it started (proc(5), stat): numbers of processes are used again.
    _Atomic uint64_t started;
    _Atomic int64_t sessions;
};

struct fault_counter {
    _Atomic uint64_t calls;
    _Atomic int64_t inside;
};

struct fault_control {
    _Atomic uint64_t magic;
    /// How many rules are armed, and one more if there is a reader: with 0 nothing else is looked at.
    _Atomic uint32_t attention;
    _Atomic uint32_t has_reader;
    /// Counts up by two with each change of what is inserted; odd while it is being written.
    _Atomic uint32_t insertion;
    _Atomic uint64_t inserted[FAULT_LABEL / 8];
    _Atomic int64_t sessions_high;
    _Atomic uint64_t logins;
    /// Logins that were answered with a PIN error, and those tried after one, since the last reset.
    _Atomic uint64_t refused_logins;
    _Atomic uint64_t logins_after_refusal;
    struct fault_rule rules[FAULT_RULES];
    struct fault_counter functions[FAULT_FUNCTIONS];
    struct fault_process processes[FAULT_PROCESSES];
};

// MARK: The file

/// Makes the file anew. Returns NULL and leaves errno if that is not possible.
struct fault_control *fault_control_create(const char *path);

/// Maps one that is there.
struct fault_control *fault_control_open(const char *path);

void fault_control_close(struct fault_control *control);

// MARK: For tests

/// The function of this name, or FAULT_FUNCTIONS if there is none.
uint32_t fault_function_named(const char *name);
const char *fault_function_name(uint32_t function);

/// Arms a free rule and returns its number, or -1 if all are in use.
int fault_arm(
    struct fault_control *control, uint32_t function, uint32_t action, uint64_t parameter, uint64_t first, uint64_t times,
    uint32_t probability);

/// Ends a rule and lets go who waits in it. Returns when it is applied to nobody any more, or after half a second: a process
/// may have been killed in it.
void fault_clear(struct fault_control *control, int rule);
uint64_t fault_hits(struct fault_control *control, int rule);
uint32_t fault_held(struct fault_control *control, int rule);

uint64_t fault_calls(struct fault_control *control, uint32_t function);
/// Also counts the calls in which a process was killed.
int64_t fault_inside(struct fault_control *control, uint32_t function);
/// Of all processes that live.
int64_t fault_sessions(struct fault_control *control);
int64_t fault_sessions_high(struct fault_control *control);
uint64_t fault_logins(struct fault_control *control);
uint64_t fault_refused_logins(struct fault_control *control);
uint64_t fault_logins_after_refusal(struct fault_control *control);
void fault_reset_logins(struct fault_control *control);

/// From now on the module has one slot, and the token of this label is in it; NULL or "" for none.
void fault_insert(struct fault_control *control, const char *label);

/// From now on the module shows the real one's slots again.
void fault_remove_reader(struct fault_control *control);

// MARK: For the module

/// What is inserted, padded with blanks; false if nothing is. `insertion` tells changes apart.
bool fault_inserted(struct fault_control *control, unsigned char label[FAULT_LABEL], uint32_t *insertion);

/// The place of this process, taken from a dead one if need be; NULL if too many live.
struct fault_process *fault_enter_process(struct fault_control *control);

/// Counts sessions opened (positive) and closed.
void fault_count_sessions(struct fault_control *control, struct fault_process *process, int64_t change);

/// Waits while the rule is of this generation.
void fault_wait(struct fault_rule *rule, uint32_t generation);

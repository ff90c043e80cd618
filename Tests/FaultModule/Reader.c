// A reader with one slot, in which a token of the real module stands or none.
#define _GNU_SOURCE
#include "Call.h"

#include <stdatomic.h>
#include <string.h>

/// Which insertion this process has taken note of.
static _Atomic uint32_t seen;

bool has_reader(void) { return atomic_load_explicit(&fault_control->has_reader, memory_order_relaxed) != 0; }

/// The real slot of the token in the reader. Looked for each time: its number changes with C_Initialize. The caller has
/// entered the module.
static bool find_slot(CK_SLOT_ID *slot) {
    unsigned char label[FAULT_LABEL];
    uint32_t insertion;
    if (!fault_inserted(fault_control, label, &insertion)) return false;
    CK_SLOT_ID slots[256];
    CK_ULONG count = 256;
    bool found = false;
    if (real_module->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK) {
        for (CK_ULONG index = 0; index < count && !found; index++) {
            CK_TOKEN_INFO info;
            found = real_module->C_GetTokenInfo(slots[index], &info) == CKR_OK && memcmp(info.label, label, FAULT_LABEL) == 0;
            *slot = slots[index];
        }
    }
    return found;
}

bool pass_reader(struct call *call) {
    unsigned char label[FAULT_LABEL];
    uint32_t insertion;
    bool is_inserted = fault_inserted(fault_control, label, &insertion);
    if (atomic_exchange(&seen, insertion) != insertion) lose_sessions();
    switch (call->place) {
    case ON_NOTHING: return true;
    case ON_SESSION: call->result = CKR_DEVICE_REMOVED; return is_inserted;
    case ON_SLOT:
        call->result = CKR_SLOT_ID_INVALID;
        if (*call->slot != READER_SLOT) return false;
        call->result = CKR_TOKEN_NOT_PRESENT;
        enter_module();
        bool is_there = find_slot(call->slot);
        leave_module();
        return is_there;
    }
    return true;
}

CK_RV reader_slots(CK_BBOOL with_token, CK_SLOT_ID *list, CK_ULONG *count) {
    CK_INFO info;
    CK_RV result = real_module->C_GetInfo(&info);
    if (result != CKR_OK) return result;
    CK_SLOT_ID slot;
    CK_ULONG room = *count;
    *count = !with_token || find_slot(&slot) ? 1 : 0;
    if (list == NULL || *count == 0) return CKR_OK;
    if (room == 0) return CKR_BUFFER_TOO_SMALL;
    list[0] = READER_SLOT;
    return CKR_OK;
}

CK_RV reader_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info) {
    if (slot != READER_SLOT) return CKR_SLOT_ID_INVALID;
    memset(info, 0, sizeof *info);
    memset(info->slotDescription, ' ', sizeof info->slotDescription);
    memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
    memcpy(info->slotDescription, "a reader of the tests", 21);
    info->flags = CKF_REMOVABLE_DEVICE | CKF_HW_SLOT | (find_slot(&slot) ? CKF_TOKEN_PRESENT : 0);
    return CKR_OK;
}

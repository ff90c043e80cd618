#include "Call.h"

#include <string.h>

static void take_off(struct call *call, CK_ULONG units) {
    if (call->count == NULL || call->output == NULL) return;
    CK_ULONG cut = units < *call->count ? units : *call->count;
    *call->count -= cut;
    memset((unsigned char *)call->output + *call->count * call->unit, 0, cut * call->unit);
}

static void flip(unsigned char *bytes, CK_ULONG length, CK_ULONG place) {
    if (length > 0) bytes[place % length] ^= 0x10;
}

static void change(struct call *call, CK_ULONG parameter) {
    if (call->output == NULL) return;
    CK_ULONG units = call->count == NULL ? 1 : *call->count;
    if (call->gives_handles) {
        for (CK_ULONG index = 0; index < units; index++) ((CK_OBJECT_HANDLE *)call->output)[index] = parameter;
    } else {
        flip(call->output, units * call->unit, parameter);
    }
}

/// C_GetAttributeValue gives a template, whose values are what counts; `room` is its length.
static void change_attributes(struct call *call, enum fault_action action, CK_ULONG parameter) {
    CK_ATTRIBUTE *attributes = call->output;
    for (CK_ULONG index = 0; index < call->room; index++) {
        CK_ATTRIBUTE *attribute = &attributes[index];
        if (attribute->pValue == NULL || attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION) continue;
        switch (action) {
        case FAULT_SHORT_OUTPUT: attribute->ulValueLen -= parameter < attribute->ulValueLen ? parameter : attribute->ulValueLen; break;
        case FAULT_WRONG_OUTPUT: flip(attribute->pValue, attribute->ulValueLen, parameter); break;
        default: attribute->ulValueLen += 4096 + parameter; break;
        }
    }
}

/// In the place of a refusal.
static void hand_out(struct call *call, CK_ULONG parameter) {
    if (call->function == FAULT_C_WrapKey) {
        if (parameter != CK_UNAVAILABLE_INFORMATION && parameter != call->mechanism) return;
        *call->count = call->room < 40 ? call->room : 40;
        memset(call->output, 0xA5, *call->count);
        call->result = CKR_OK;
    } else if (call->function == FAULT_C_GetAttributeValue) {
        CK_ATTRIBUTE *attributes = call->output;
        for (CK_ULONG index = 0; index < call->room; index++) {
            if (attributes[index].type != CKA_VALUE || attributes[index].pValue == NULL) continue;
            attributes[index].ulValueLen = 32;
            memset(attributes[index].pValue, 0xA5, 32);
            call->result = CKR_OK;
        }
    } else if (call->function == FAULT_C_CopyObject) {
        CK_OBJECT_CLASS class = CKO_SECRET_KEY;
        CK_KEY_TYPE type = CKK_AES;
        CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
        unsigned char value[32] = {0xA5};
        CK_ATTRIBUTE template[] = {
            {CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_VALUE, value, sizeof value},
            {CKA_TOKEN, &no, sizeof no}, {CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &no, sizeof no},
            {CKA_EXTRACTABLE, &yes, sizeof yes},
        };
        call->result = real_module->C_CreateObject(call->session, template, sizeof template / sizeof *template, call->output);
    }
}

void spoil(struct call *call) {
    CK_ULONG parameter = call->rule->parameter;
    enum fault_action action = call->rule->action;
    if (action == FAULT_HAND_OUT) {
        if (call->result != CKR_OK) hand_out(call, parameter);
        return;
    }
    if (action == FAULT_RETURN_AFTER) {
        call->result = parameter;
        return;
    }
    if (call->result != CKR_OK) return;
    if (action == FAULT_TOKEN_FLAGS) {
        if (call->function == FAULT_C_GetTokenInfo) ((CK_TOKEN_INFO *)call->output)->flags |= parameter;
    } else if (call->function == FAULT_C_GetAttributeValue) {
        change_attributes(call, action, parameter);
    } else if (action == FAULT_SHORT_OUTPUT) {
        take_off(call, parameter);
    } else if (action == FAULT_WRONG_OUTPUT) {
        change(call, parameter);
    } else if (action == FAULT_LONG_OUTPUT && call->count != NULL) {
        *call->count = call->room + parameter;
    }
}

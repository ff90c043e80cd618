// The module's functions: each passes its call on to the real module's of the same name.
#define _GNU_SOURCE
#include "Call.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

CK_FUNCTION_LIST *real_module;
struct fault_control *fault_control;

#define PASS(name, about, gives, ...) \
    struct call call = {.function = FAULT_##name, about gives}; \
    if (begin(&call)) call.result = real_module->name(__VA_ARGS__); \
    return end(&call)
#define ABOUT_SLOT .place = ON_SLOT, .slot = &slot,
#define ABOUT_SESSION .place = ON_SESSION, .session = session,
#define BYTES(bytes, length) .output = bytes, .count = length, .unit = 1
#define ITEM(item) .output = item, .unit = sizeof *item
#define HANDLE(handle) ITEM(handle), .gives_handles = true

// MARK: The module and its slots

static CK_RV fault_C_Initialize(CK_VOID_PTR arguments) { PASS(C_Initialize, , , arguments); }

static CK_RV fault_C_Finalize(CK_VOID_PTR reserved) { PASS(C_Finalize, , , reserved); }

static CK_RV fault_C_GetSlotList(CK_BBOOL with_token, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
    struct call call = {.function = FAULT_C_GetSlotList, .output = list, .count = count, .unit = sizeof *list};
    if (begin(&call)) {
        call.result = has_reader() ? reader_slots(with_token, list, count) : real_module->C_GetSlotList(with_token, list, count);
    }
    return end(&call);
}

static CK_RV fault_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info) {
    struct call call = {.function = FAULT_C_GetSlotInfo, ITEM(info)};
    if (begin(&call)) call.result = has_reader() ? reader_slot_info(slot, info) : real_module->C_GetSlotInfo(slot, info);
    return end(&call);
}

static CK_RV fault_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR reserved) {
    struct call call = {.function = FAULT_C_WaitForSlotEvent, ITEM(slot)};
    if (begin(&call)) {
        call.result = has_reader() ? CKR_FUNCTION_NOT_SUPPORTED : real_module->C_WaitForSlotEvent(flags, slot, reserved);
    }
    return end(&call);
}

static CK_RV fault_C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info) {
    struct call call = {.function = FAULT_C_GetSessionInfo, ABOUT_SESSION ITEM(info)};
    if (begin(&call)) {
        call.result = real_module->C_GetSessionInfo(session, info);
        if (call.result == CKR_OK && has_reader()) info->slotID = READER_SLOT;
    }
    return end(&call);
}

static CK_RV fault_C_GetInfo(CK_INFO_PTR info) { PASS(C_GetInfo, , ITEM(info), info); }

static CK_RV fault_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
    PASS(C_GetTokenInfo, ABOUT_SLOT, ITEM(info), slot, info);
}

static CK_RV fault_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count) {
    struct call call = {.function = FAULT_C_GetMechanismList, ABOUT_SLOT .output = list, .count = count, .unit = sizeof *list};
    if (begin(&call)) call.result = real_module->C_GetMechanismList(slot, list, count);
    return end(&call);
}

static CK_RV fault_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info) {
    PASS(C_GetMechanismInfo, ABOUT_SLOT, ITEM(info), slot, type, info);
}

static CK_RV fault_C_InitToken(CK_SLOT_ID slot, CK_BYTE_PTR pin, CK_ULONG length, CK_BYTE_PTR label) {
    PASS(C_InitToken, ABOUT_SLOT, , slot, pin, length, label);
}

static CK_RV fault_C_InitPIN(CK_SESSION_HANDLE session, CK_BYTE_PTR pin, CK_ULONG length) {
    PASS(C_InitPIN, ABOUT_SESSION, , session, pin, length);
}

static CK_RV fault_C_SetPIN(CK_SESSION_HANDLE session, CK_BYTE_PTR old, CK_ULONG old_length, CK_BYTE_PTR new,
    CK_ULONG new_length) {
    PASS(C_SetPIN, ABOUT_SESSION, , session, old, old_length, new, new_length);
}

// MARK: Sessions and logins

static CK_RV fault_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
    CK_SESSION_HANDLE_PTR session) {
    PASS(C_OpenSession, ABOUT_SLOT, HANDLE(session), slot, flags, application, notify, session);
}

static CK_RV fault_C_CloseSession(CK_SESSION_HANDLE session) {
    PASS(C_CloseSession, ABOUT_SESSION, , session);
}

static CK_RV fault_C_CloseAllSessions(CK_SLOT_ID slot) {
    PASS(C_CloseAllSessions, ABOUT_SLOT, , slot);
}

static CK_RV fault_C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE_PTR state, CK_ULONG_PTR length) {
    PASS(C_GetOperationState, ABOUT_SESSION, BYTES(state, length), session, state, length);
}

static CK_RV fault_C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE_PTR state, CK_ULONG length,
    CK_OBJECT_HANDLE encryption, CK_OBJECT_HANDLE authentication) {
    PASS(C_SetOperationState, ABOUT_SESSION, , session, state, length, encryption, authentication);
}

static CK_RV fault_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE_PTR pin, CK_ULONG length) {
    PASS(C_Login, ABOUT_SESSION, , session, user, pin, length);
}

static CK_RV fault_C_Logout(CK_SESSION_HANDLE session) { PASS(C_Logout, ABOUT_SESSION, , session); }

// MARK: Objects

static CK_RV fault_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count,
    CK_OBJECT_HANDLE_PTR object) {
    PASS(C_CreateObject, ABOUT_SESSION, HANDLE(object), session, template, count, object);
}

static CK_RV fault_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE source, CK_ATTRIBUTE_PTR template, CK_ULONG count,
    CK_OBJECT_HANDLE_PTR object) {
    PASS(C_CopyObject, ABOUT_SESSION, HANDLE(object), session, source, template, count, object);
}

static CK_RV fault_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
    PASS(C_DestroyObject, ABOUT_SESSION, , session, object);
}

static CK_RV fault_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG_PTR size) {
    PASS(C_GetObjectSize, ABOUT_SESSION, ITEM(size), session, object, size);
}

static CK_RV fault_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
    CK_ULONG count) {
    struct call call = {.function = FAULT_C_GetAttributeValue, ABOUT_SESSION .output = template, .room = count};
    if (begin(&call)) call.result = real_module->C_GetAttributeValue(session, object, template, count);
    return end(&call);
}

static CK_RV fault_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
    CK_ULONG count) {
    PASS(C_SetAttributeValue, ABOUT_SESSION, , session, object, template, count);
}

static CK_RV fault_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count) {
    PASS(C_FindObjectsInit, ABOUT_SESSION, , session, template, count);
}

static CK_RV fault_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG maximum,
    CK_ULONG_PTR count) {
    struct call call = {.function = FAULT_C_FindObjects, ABOUT_SESSION .room = maximum, .output = objects, .count = count,
        .unit = sizeof *objects, .gives_handles = true};
    if (begin(&call)) call.result = real_module->C_FindObjects(session, objects, maximum, count);
    return end(&call);
}

static CK_RV fault_C_FindObjectsFinal(CK_SESSION_HANDLE session) {
    PASS(C_FindObjectsFinal, ABOUT_SESSION, , session);
}

// MARK: Cryptography

static CK_RV fault_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
    PASS(C_EncryptInit, ABOUT_SESSION, , session, mechanism, key);
}

static CK_RV fault_C_Encrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_Encrypt, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_EncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_EncryptUpdate, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_EncryptFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR output, CK_ULONG_PTR length) {
    PASS(C_EncryptFinal, ABOUT_SESSION, BYTES(output, length), session, output, length);
}

static CK_RV fault_C_DecryptInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
    PASS(C_DecryptInit, ABOUT_SESSION, , session, mechanism, key);
}

static CK_RV fault_C_Decrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_Decrypt, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_DecryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_DecryptUpdate, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_DecryptFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR output, CK_ULONG_PTR length) {
    PASS(C_DecryptFinal, ABOUT_SESSION, BYTES(output, length), session, output, length);
}

static CK_RV fault_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism) {
    PASS(C_DigestInit, ABOUT_SESSION, , session, mechanism);
}

static CK_RV fault_C_Digest(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_Digest, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_DigestUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG size) {
    PASS(C_DigestUpdate, ABOUT_SESSION, , session, part, size);
}

static CK_RV fault_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
    PASS(C_DigestKey, ABOUT_SESSION, , session, key);
}

static CK_RV fault_C_DigestFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR output, CK_ULONG_PTR length) {
    PASS(C_DigestFinal, ABOUT_SESSION, BYTES(output, length), session, output, length);
}

static CK_RV fault_C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
    PASS(C_SignInit, ABOUT_SESSION, , session, mechanism, key);
}

static CK_RV fault_C_Sign(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_Sign, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG size) {
    PASS(C_SignUpdate, ABOUT_SESSION, , session, part, size);
}

static CK_RV fault_C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR output, CK_ULONG_PTR length) {
    PASS(C_SignFinal, ABOUT_SESSION, BYTES(output, length), session, output, length);
}

static CK_RV fault_C_SignRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
    PASS(C_SignRecoverInit, ABOUT_SESSION, , session, mechanism, key);
}

static CK_RV fault_C_SignRecover(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_SignRecover, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_VerifyInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
    PASS(C_VerifyInit, ABOUT_SESSION, , session, mechanism, key);
}

static CK_RV fault_C_Verify(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR signature,
    CK_ULONG length) {
    PASS(C_Verify, ABOUT_SESSION, , session, input, size, signature, length);
}

static CK_RV fault_C_VerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG size) {
    PASS(C_VerifyUpdate, ABOUT_SESSION, , session, part, size);
}

static CK_RV fault_C_VerifyFinal(CK_SESSION_HANDLE session, CK_BYTE_PTR signature, CK_ULONG length) {
    PASS(C_VerifyFinal, ABOUT_SESSION, , session, signature, length);
}

static CK_RV fault_C_VerifyRecoverInit(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
    PASS(C_VerifyRecoverInit, ABOUT_SESSION, , session, mechanism, key);
}

static CK_RV fault_C_VerifyRecover(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_VerifyRecover, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_DigestEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_DigestEncryptUpdate, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_DecryptDigestUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_DecryptDigestUpdate, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_SignEncryptUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_SignEncryptUpdate, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_DecryptVerifyUpdate(CK_SESSION_HANDLE session, CK_BYTE_PTR input, CK_ULONG size, CK_BYTE_PTR output,
    CK_ULONG_PTR length) {
    PASS(C_DecryptVerifyUpdate, ABOUT_SESSION, BYTES(output, length), session, input, size, output, length);
}

static CK_RV fault_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR template,
    CK_ULONG count, CK_OBJECT_HANDLE_PTR key) {
    PASS(C_GenerateKey, ABOUT_SESSION, HANDLE(key), session, mechanism, template, count, key);
}

static CK_RV fault_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR public,
    CK_ULONG public_count, CK_ATTRIBUTE_PTR private, CK_ULONG private_count, CK_OBJECT_HANDLE_PTR public_key,
    CK_OBJECT_HANDLE_PTR private_key) {
    PASS(C_GenerateKeyPair, ABOUT_SESSION, HANDLE(private_key), session, mechanism, public, public_count, private,
        private_count, public_key, private_key);
}

static CK_RV fault_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE wrapping,
    CK_OBJECT_HANDLE key, CK_BYTE_PTR output, CK_ULONG_PTR length) {
    struct call call = {.function = FAULT_C_WrapKey, .mechanism = mechanism->mechanism, ABOUT_SESSION BYTES(output, length)};
    if (begin(&call)) call.result = real_module->C_WrapKey(session, mechanism, wrapping, key, output, length);
    return end(&call);
}

static CK_RV fault_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping,
    CK_BYTE_PTR wrapped, CK_ULONG size, CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key) {
    PASS(C_UnwrapKey, ABOUT_SESSION, HANDLE(key), session, mechanism, unwrapping, wrapped, size, template, count, key);
}

static CK_RV fault_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base,
    CK_ATTRIBUTE_PTR template, CK_ULONG count, CK_OBJECT_HANDLE_PTR key) {
    PASS(C_DeriveKey, ABOUT_SESSION, HANDLE(key), session, mechanism, base, template, count, key);
}

static CK_RV fault_C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE_PTR seed, CK_ULONG size) {
    PASS(C_SeedRandom, ABOUT_SESSION, , session, seed, size);
}

static CK_RV fault_C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE_PTR bytes, CK_ULONG size) {
    struct call call = {.function = FAULT_C_GenerateRandom, ABOUT_SESSION .output = bytes, .unit = size};
    if (begin(&call)) call.result = real_module->C_GenerateRandom(session, bytes, size);
    return end(&call);
}

static CK_RV fault_C_GetFunctionStatus(CK_SESSION_HANDLE session) {
    PASS(C_GetFunctionStatus, ABOUT_SESSION, , session);
}

static CK_RV fault_C_CancelFunction(CK_SESSION_HANDLE session) {
    PASS(C_CancelFunction, ABOUT_SESSION, , session);
}

// MARK: The list

static CK_RV fault_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) { return C_GetFunctionList(list); }

#define ENTRY(name) .name = fault_##name,
static CK_FUNCTION_LIST functions = {.version = {2, 40}, FAULT_EACH_FUNCTION(ENTRY)};

static CK_RV refuse(const char *why, const char *what) {
    fprintf(stderr, "fault module: %s %s\n", why, what == NULL ? "is not set" : what);
    return CKR_GENERAL_ERROR;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
    if (real_module == NULL) {
        const char *path = getenv("CUSTODY_FAULT_MODULE"), *control = getenv("CUSTODY_FAULT_CONTROL");
        if (path == NULL || control == NULL) return refuse("CUSTODY_FAULT_MODULE or CUSTODY_FAULT_CONTROL", NULL);
        if (fault_control == NULL) fault_control = fault_control_open(control);
        if (fault_control == NULL) return refuse("no control file", control);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library == NULL) return refuse("cannot load", dlerror());
        CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
        if (get == NULL || get(&real_module) != CKR_OK) return refuse("no PKCS#11 module", path);
    }
    *list = &functions;
    return CKR_OK;
}

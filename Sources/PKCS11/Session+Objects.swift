import CPKCS11

/// A handle to an object, valid in all sessions of this process until the token is logged out of or the module finalised.
public struct ObjectHandle: Sendable, Hashable {
    let rawValue: UInt
}

/// Objects on the token (PKCS#11 v2.40 section 5.7).
extension Session {
    /// The objects that match every attribute of the template. The class is always part of the search: labels and ids
    /// may repeat across classes.
    public func objects(_ objectClass: ObjectClass, matching template: [Attribute] = []) throws(PKCS11Error) -> [ObjectHandle] {
        try withTemplate([.objectClass(objectClass)] + template) { (pointer, count) throws(PKCS11Error) in
            try module.call(.findObjectsInit, module.functions.pointee.C_FindObjectsInit) { $0(handle, pointer, count) }
        }
        var found: [ObjectHandle] = []
        var seen: Set<CK_OBJECT_HANDLE> = []
        do throws(PKCS11Error) {
            var batch = [CK_OBJECT_HANDLE](repeating: 0, count: 64)
            while true {
                var count: CK_ULONG = 0
                try module.call(.findObjects, module.functions.pointee.C_FindObjects) { $0(handle, &batch, 64, &count) }
                if count == 0 { break }
                // A search that never ends would take all memory.
                let new = count <= 64 ? batch.prefix(Int(count)).filter { !seen.contains($0) } : []
                guard !new.isEmpty else {
                    throw PKCS11Error(code: .wrongOutput, message: "C_FindObjects gives more objects than it was asked for, or the same again and again")
                }
                seen.formUnion(new)
                found += new.map(ObjectHandle.init)
            }
        } catch {
            _ = module.functions.pointee.C_FindObjectsFinal?(handle)
            throw error
        }
        try module.call(.findObjectsFinal, module.functions.pointee.C_FindObjectsFinal) { $0(handle) }
        return found
    }

    /// Reads attributes of up to 1,024 bytes each; what the token withholds or does not know is absent from the result.
    public func attributes(of object: ObjectHandle, _ types: [AttributeType]) throws(PKCS11Error) -> AttributeSet {
        let room = 1024
        var buffer = [UInt8](repeating: 0, count: room * types.count)
        var values: [AttributeType: [UInt8]] = [:]
        let returned = buffer.withUnsafeMutableBytes { raw in
            var template = types.enumerated().map { index, type in
                CK_ATTRIBUTE(type: type.rawValue, pValue: raw.baseAddress.map { $0 + index * room }, ulValueLen: CK_ULONG(room))
            }
            guard let entry = module.functions.pointee.C_GetAttributeValue else { return CKR_FUNCTION_NOT_SUPPORTED }
            let returned = module.observing(.getAttributeValue) { entry(handle, object.rawValue, &template, CK_ULONG(template.count)) }
            for (index, attribute) in template.enumerated() where attribute.ulValueLen <= CK_ULONG(room) {
                let start = index * room
                values[types[index]] = Array(raw[start..<start + Int(attribute.ulValueLen)])
            }
            return returned
        }
        switch returned {
        case CKR_OK:
            return AttributeSet(values: values)
        case CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL:
            // Not every module goes on after the first attribute that it cannot give: ask for each alone.
            guard types.count > 1 else { return AttributeSet(values: [:]) }
            var each: [AttributeType: [UInt8]] = [:]
            for type in types {
                each.merge(try attributes(of: object, [type]).values) { first, _ in first }
            }
            return AttributeSet(values: each)
        default:
            throw PKCS11Error(.getAttributeValue, ReturnValue(rawValue: returned))
        }
    }

    /// C_SetAttributeValue.
    public func setAttributes(of object: ObjectHandle, _ attributes: [Attribute]) throws(PKCS11Error) {
        try withTemplate(attributes) { (pointer, count) throws(PKCS11Error) in
            try module.call(.setAttributeValue, module.functions.pointee.C_SetAttributeValue) {
                $0(handle, object.rawValue, pointer, count)
            }
        }
    }

    /// C_CreateObject.
    public func createObject(_ template: [Attribute]) throws(PKCS11Error) -> ObjectHandle {
        var object: CK_OBJECT_HANDLE = 0
        try withTemplate(template) { (pointer, count) throws(PKCS11Error) in
            try module.call(.createObject, module.functions.pointee.C_CreateObject) { $0(handle, pointer, count, &object) }
        }
        return ObjectHandle(rawValue: object)
    }

    /// C_DestroyObject.
    public func destroyObject(_ object: ObjectHandle) throws(PKCS11Error) {
        try module.call(.destroyObject, module.functions.pointee.C_DestroyObject) { $0(handle, object.rawValue) }
    }
}

/// Lends a template in the standard's form for the time of a call.
func withTemplate<R>(
    _ attributes: [Attribute], _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) throws(PKCS11Error) -> R
) throws(PKCS11Error) -> R {
    var bytes = attributes.flatMap(\.bytes)
    let result: Result<R, PKCS11Error> = bytes.withUnsafeMutableBytes { raw in
        var offset = 0
        var template = attributes.map { attribute in
            defer { offset += attribute.bytes.count }
            return CK_ATTRIBUTE(
                type: attribute.type.rawValue, pValue: raw.baseAddress.map { $0 + offset },
                ulValueLen: CK_ULONG(attribute.bytes.count))
        }
        return template.withUnsafeMutableBufferPointer { pointer in
            do throws(PKCS11Error) {
                return .success(try body(pointer.baseAddress, CK_ULONG(pointer.count)))
            } catch {
                return .failure(error)
            }
        }
    }
    return try result.get()
}

import ByteEncoding
import PKCS11

/// The days of key versions on the token: CKA_START_DATE and CKA_END_DATE of the key object.
///
/// Not every token gives back what it was told: SoftHSM (2.6, 2.7) stores a date of a private object as it is, decrypts it
/// when asked, and fails with CKR_GENERAL_ERROR, for all attributes that were asked for with it. For such a token the date
/// is a note: a private data object beside the key, whose CKA_APPLICATION names the attribute that it stands for, whose
/// CKA_LABEL is the key's CKA_ID, and whose CKA_VALUE is the CK_DATE. A note is made and removed as a whole and never
/// changed. One that is not private counts for nothing: anybody can make such an object without the PIN.
struct KeyDates {
    private struct Note: Hashable {
        let type: AttributeType
        let id: String
    }

    private static let types: [AttributeType] = [.startDate, .endDate]

    private var notes: [Note: UTCDay] = [:]

    /// Reads the notes. A token that has no data objects has none.
    init(_ session: borrowing Session) {
        for type in Self.types {
            for object in (try? session.objects(.data, matching: Self.template(type))) ?? [] {
                guard let read = try? session.attributes(of: object, [.isPrivate, .label, .value]),
                    read.bool(.isPrivate) == true, let id = read.string(.label), let day = read.day(.value)
                else { continue }
                // Of two the later one: nothing is destroyed too early.
                notes[Note(type: type, id: id)] = max(day, notes[Note(type: type, id: id)] ?? day)
            }
        }
    }

    /// An object's attributes, with the days of its notes in their places.
    func attributes(of object: ObjectHandle, _ types: [AttributeType], _ session: borrowing Session) throws(PKCS11Error) -> AttributeSet {
        var read: AttributeSet
        do throws(PKCS11Error) {
            read = try session.attributes(of: object, types)
        } catch where error.returnValue == .generalError || error.returnValue == .functionFailed {
            // A date that somebody else wrote must not hide the key. If it was not the date, this fails as well.
            read = try session.attributes(of: object, types.filter { !Self.types.contains($0) })
        }
        let id = hexadecimal(read.bytes(.id) ?? [])
        for type in Self.types where read.day(type) == nil {
            if let day = notes[Note(type: type, id: id)] { read = read.replacing(.date(type, day)) }
        }
        return read
    }

    /// Whether the token gives back the date of a private key; tried on a throw-away key.
    static func areKept(_ session: borrowing Session) -> Bool {
        let today = UTCDay.today
        guard let key = try? session.generateKey(.aesKeyGeneration, [
            .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.isPrivate, true),
            .bool(.sensitive, true), .bool(.extractable, false), .date(.startDate, today),
        ]) else { return false }
        let read = try? session.attributes(of: key, [.startDate])
        // If it can't be destroyed it goes with its session.
        try? session.destroyObject(key)
        return read?.day(.startDate) == today
    }

    /// Writes a date, or takes it away.
    static func set(_ type: AttributeType, _ day: UTCDay?, of key: KeyObject, _ session: borrowing Session) throws(PKCS11Error) {
        if let day {
            guard !areKept(session) else { return try session.setAttributes(of: key.object, [.date(type, day)]) }
            return try note(type, day, id: key.idBytes, session)
        }
        try removeNotes(type, id: key.idBytes, session)
        if let raw = try? session.attributes(of: key.object, [type]), raw.day(type) == nil { return }
        try session.setAttributes(of: key.object, [.date(type, nil)])
    }

    static func note(_ type: AttributeType, _ day: UTCDay, id: [UInt8], _ session: borrowing Session) throws(PKCS11Error) {
        _ = try session.createObject([.objectClass(.data), .date(.value, day)] + template(type, id: id))
    }

    /// For a key that is gone.
    static func forget(id: [UInt8], _ session: borrowing Session) {
        // What stays behind belongs to no key: ids are never used again.
        for type in types { try? removeNotes(type, id: id, session) }
    }

    private static func removeNotes(_ type: AttributeType, id: [UInt8], _ session: borrowing Session) throws(PKCS11Error) {
        let notes: [ObjectHandle]
        do { notes = try session.objects(.data, matching: template(type, id: id)) } catch { return }
        for note in notes { try session.destroyObject(note) }
    }

    private static func template(_ type: AttributeType, id: [UInt8]? = nil) -> [Attribute] {
        [.bool(.token, true), .bool(.isPrivate, true), .application("custody \(type)")] + (id.map { [.label(hexadecimal($0))] } ?? [])
    }
}

import ByteEncoding

/// A word of the HSM on the audit log: "the log of this id had this hash at this line". Nobody makes one without the
/// token's audit key, so a chain that was computed anew after an edit does not fit to it.
///
/// It stands as a line of its own in the log, some lines after the one that it covers, and the newest one is anchored
/// outside of the log.
public struct AuditCheckpoint: Sendable, Hashable {
    /// 16 random bytes that tell one log from another under the same audit key.
    public let log: [UInt8]
    /// The line that it covers, and with it all before.
    public let sequence: UInt64
    public let hash: [UInt8]
    /// The audit key's CKA_ID.
    public let keyID: [UInt8]
    /// HMAC-SHA-256 of ``message(log:sequence:hash:keyID:)``.
    public let mac: [UInt8]

    public init(log: [UInt8], sequence: UInt64, hash: [UInt8], keyID: [UInt8], mac: [UInt8]) {
        self.log = log
        self.sequence = sequence
        self.hash = hash
        self.keyID = keyID
        self.mac = mac
    }

    /// What the audit key authenticates.
    public static func message(log: [UInt8], sequence: UInt64, hash: [UInt8], keyID: [UInt8]) -> [UInt8] {
        Array("""
            custody audit checkpoint v1
            log \(hexadecimal(log))
            sequence \(sequence)
            hash \(hexadecimal(hash))
            key \(hexadecimal(keyID))

            """.utf8)
    }

    public var message: [UInt8] { Self.message(log: log, sequence: sequence, hash: hash, keyID: keyID) }

    // MARK: As an anchor

    static let textPrefix = "custody-audit-anchor:v1:"

    /// One line of text, for an attribute of the token or a file.
    public var text: String {
        Self.textPrefix + [hexadecimal(log), "\(sequence)", hexadecimal(hash), hexadecimal(keyID), hexadecimal(mac)].joined(separator: ":")
    }

    /// nil unless it is what ``text`` gives.
    public init?(text: String) {
        guard text.hasPrefix(Self.textPrefix) else { return nil }
        let parts = text.dropFirst(Self.textPrefix.count).split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 5, let sequence = UInt64(parts[1]), AuditLine.numbers.contains(sequence),
            // Without a sign and without zeros before it.
            parts[1].utf8.elementsEqual("\(sequence)".utf8),
            let log = AuditChain.bytes(lowercaseHexadecimal: Array(parts[0].utf8)), log.count == 16,
            let hash = AuditChain.bytes(lowercaseHexadecimal: Array(parts[2].utf8)), hash.count == AuditChain.hashLength,
            let keyID = AuditChain.bytes(lowercaseHexadecimal: Array(parts[3].utf8)), keyID.count == KeyID.length,
            let mac = AuditChain.bytes(lowercaseHexadecimal: Array(parts[4].utf8)), mac.count == 32
        else { return nil }
        self.init(log: log, sequence: sequence, hash: hash, keyID: keyID, mac: mac)
    }
}

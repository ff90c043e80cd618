import ByteEncoding
import Crypto
import Foundation
import SecureMemory

/// The form of data that a master key has encrypted, format version 1:
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | magic `CTSD` |
/// | 4 | 1 | format version, 1 |
/// | 5 | 1 | suite, 1 |
/// | 6 | 16 | the master key's id |
/// | 22 | 24 | random nonce |
/// | 46 | n | ciphertext |
/// | 46 + n | 16 | tag |
///
/// Suite 1: HKDF-SHA-256 (RFC 5869) makes a key of 32 bytes from the master key, with the nonce's first 12 bytes as salt and
/// `custody sealed data v1` as info; AES-256-GCM (NIST SP 800-38D) encrypts under it with the nonce's last 12 bytes. So the
/// nonce is random and long enough for any number of messages under one master key: the bound of 2^32 that
/// plain AES-GCM has for random nonces (SP 800-38D section 8.3) does not apply to the master key. It is drawn from the kernel's
/// generator for each message, when that is sealed.
///
/// The additional authenticated data is the header (the first 46 bytes) followed by the caller's associated data.
public struct SealedData: Sendable, Hashable {
    public static let magic: [UInt8] = Array("CTSD".utf8)
    public static let formatVersion: UInt8 = 1
    public static let suite: UInt8 = 1
    public static let nonceLength = 24
    public static let tagLength = 16
    public static let headerLength = 6 + Identifier.length + nonceLength
    /// How many bytes sealed data are longer than the plaintext.
    public static let overhead = headerLength + tagLength
    /// What the text form begins with; base64url without padding follows (RFC 4648 section 5).
    public static let textPrefix = "custody-data:v1:"

    /// All of it.
    public let bytes: [UInt8]
    public let masterKeyID: Identifier

    var header: ArraySlice<UInt8> { bytes[..<Self.headerLength] }
    var salt: ArraySlice<UInt8> { bytes[(Self.headerLength - Self.nonceLength)..<(Self.headerLength - 12)] }
    var gcmNonce: ArraySlice<UInt8> { bytes[(Self.headerLength - 12)..<Self.headerLength] }
    var ciphertext: ArraySlice<UInt8> { bytes[Self.headerLength..<(bytes.count - Self.tagLength)] }
    var tag: ArraySlice<UInt8> { bytes[(bytes.count - Self.tagLength)...] }

    /// Takes sealed data apart. Nothing is decrypted.
    ///
    /// - Throws: ``MasterKeyError`` with `data-malformed` or `data-unsupported`.
    public init(_ bytes: [UInt8]) throws(MasterKeyError) {
        guard bytes.starts(with: Self.magic) else {
            throw MasterKeyError(
                .dataMalformed, bytes.isEmpty ? "the sealed data are empty" : "these are no sealed data of Custody's: they do not begin with CTSD")
        }
        guard bytes.count >= 6 else { throw Self.cutOff(bytes.count) }
        guard bytes[4] == Self.formatVersion, bytes[5] == Self.suite else {
            throw MasterKeyError(
                .dataUnsupported,
                "the sealed data have format version \(bytes[4]) and suite \(bytes[5]), this release reads \(Self.formatVersion) and \(Self.suite)",
                advice: "a newer release may open them")
        }
        guard bytes.count >= Self.overhead, let id = Identifier(bytes[6..<(6 + Identifier.length)]) else { throw Self.cutOff(bytes.count) }
        self.bytes = bytes
        masterKeyID = id
    }

    private static func cutOff(_ count: Int) -> MasterKeyError {
        MasterKeyError(.dataMalformed, "the sealed data are cut off: they have \(count) bytes, the shortest possible have \(overhead)")
    }

    // MARK: Text form

    public var text: String { Self.textPrefix + Base64URL.encode(bytes) }

    /// Reads the text form; white space around it does not count.
    public init(text: String) throws(MasterKeyError) {
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard trimmed.hasPrefix(Self.textPrefix) else {
            throw MasterKeyError(.dataMalformed, "the text form of sealed data begins with \(Self.textPrefix)")
        }
        guard let bytes = Base64URL.decode(trimmed.dropFirst(Self.textPrefix.count)) else {
            throw MasterKeyError(.dataMalformed, "what follows \(Self.textPrefix) is not base64url without padding")
        }
        try self.init(bytes)
    }

    // MARK: Sealing and opening

    static func seal(
        _ plaintext: some DataProtocol, under key: SymmetricKey, id: Identifier, associatedData: some Sequence<UInt8>
    ) throws -> SealedData {
        let header = magic + [formatVersion, suite] + id.bytes + KernelRandom.bytes(count: nonceLength)
        var bytes = header
        bytes.reserveCapacity(plaintext.count + overhead)
        let sealed = try AES.GCM.seal(
            plaintext, using: messageKey(key, salt: header[(headerLength - nonceLength)..<(headerLength - 12)]),
            nonce: AES.GCM.Nonce(data: header[(headerLength - 12)...]), authenticating: header + Array(associatedData))
        bytes.append(contentsOf: sealed.ciphertext)
        bytes.append(contentsOf: sealed.tag)
        return try SealedData(bytes)
    }

    func open(under key: SymmetricKey, associatedData: some Sequence<UInt8>) throws -> Data {
        let box = try AES.GCM.SealedBox(nonce: AES.GCM.Nonce(data: gcmNonce), ciphertext: ciphertext, tag: tag)
        return try AES.GCM.open(box, using: Self.messageKey(key, salt: salt), authenticating: Array(header) + Array(associatedData))
    }

    private static func messageKey(_ key: SymmetricKey, salt: ArraySlice<UInt8>) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: key, salt: salt, info: Array("custody sealed data v1".utf8), outputByteCount: 32)
    }
}

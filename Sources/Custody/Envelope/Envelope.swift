import ByteEncoding
import Foundation

/// A wrapped blob, format version 1:
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | magic `CTDY` |
/// | 4 | 1 | format version, 1 |
/// | 5 | 1 | suite, 1: AES-256-GCM, 96-bit nonce, 128-bit tag |
/// | 6 | 16 | key id |
/// | 22 | 12 | nonce |
/// | 34 | n | ciphertext |
/// | 34 + n | 16 | tag |
///
/// The AAD is the header (the first 34 bytes) followed by the canonical encoding of the ``EncryptionContext``.
public struct Envelope: Sendable, Hashable {
    public static let magic: [UInt8] = Array("CTDY".utf8)
    public static let formatVersion: UInt8 = 1
    public static let aes256GCM: UInt8 = 1
    public static let nonceLength = 12
    public static let tagLength = 16
    public static let headerLength = 4 + 1 + 1 + KeyID.length + nonceLength
    /// How many bytes a blob is longer than its plaintext.
    public static let overhead = headerLength + tagLength
    /// What the text form begins with; base64url without padding follows (RFC 4648 section 5).
    public static let textPrefix = "custody:v1:"

    /// The whole blob.
    public let bytes: [UInt8]
    public let keyID: KeyID

    /// Takes a blob apart.
    ///
    /// - Throws: ``CustodyError`` with `malformedBlob` or `unsupportedFormat`.
    public init(_ bytes: [UInt8]) throws(CustodyError) {
        guard bytes.starts(with: Self.magic) else {
            throw CustodyError(
                .malformedBlob,
                bytes.isEmpty ? "the blob is empty" : "this is not a blob of Custody's: it does not begin with CTDY")
        }
        guard bytes.count > 5 else { throw Self.truncated(bytes.count) }
        guard bytes[4] == Self.formatVersion else {
            throw CustodyError(
                .unsupportedFormat,
                "the blob has format version \(bytes[4]), this release reads version \(Self.formatVersion); a newer release may open it")
        }
        guard bytes[5] == Self.aes256GCM else {
            throw CustodyError(.unsupportedFormat, "the blob has suite \(bytes[5]), this release knows suite \(Self.aes256GCM)")
        }
        guard bytes.count >= Self.overhead, let keyID = KeyID(bytes[6..<6 + KeyID.length]) else {
            throw Self.truncated(bytes.count)
        }
        guard bytes.count <= CustodyLimits.plaintext + Self.overhead else {
            throw CustodyError(
                .payloadTooLarge,
                "the blob has \(bytes.count) bytes; at most \(CustodyLimits.plaintext + Self.overhead) are possible")
        }
        self.bytes = bytes
        self.keyID = keyID
    }

    private static func truncated(_ count: Int) -> CustodyError {
        CustodyError(.malformedBlob, "the blob is cut off: it has \(count) bytes, the shortest possible has \(overhead)")
    }

    public var nonce: ArraySlice<UInt8> { bytes[(Self.headerLength - Self.nonceLength)..<Self.headerLength] }

    /// The header of a new blob.
    static func header(keyID: KeyID, nonce: some Collection<UInt8>, reserving plaintext: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(plaintext + overhead)
        bytes.append(contentsOf: magic)
        bytes.append(formatVersion)
        bytes.append(aes256GCM)
        keyID.append(to: &bytes)
        bytes.append(contentsOf: nonce)
        return bytes
    }

    /// The additional authenticated data of a blob that begins with this header.
    static func aad(header: ArraySlice<UInt8>, _ context: EncryptionContext) -> [UInt8] {
        var bytes = Array(header)
        context.appendCanonicalEncoding(to: &bytes)
        return bytes
    }

    // MARK: Text form

    /// The blob as text: ``textPrefix`` and base64url.
    public static func text(_ blob: [UInt8]) -> String {
        textPrefix + Base64URL.encode(blob)
    }

    /// The bytes of a blob's text form; white space around it does not count.
    ///
    /// - Throws: ``CustodyError`` with `malformedBlob` or, for another version's prefix, `unsupportedFormat`.
    public static func bytes(fromText text: String) throws(CustodyError) -> [UInt8] {
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard trimmed.hasPrefix("custody:") else {
            throw CustodyError(.malformedBlob, "a blob's text form begins with \(textPrefix)")
        }
        guard trimmed.hasPrefix(textPrefix) else {
            throw CustodyError(.unsupportedFormat, "this release reads the text form \(textPrefix) only")
        }
        guard let bytes = Base64URL.decode(trimmed.dropFirst(textPrefix.count)) else {
            throw CustodyError(.malformedBlob, "the text after \(textPrefix) is not base64url without padding, ending where its last byte ends")
        }
        return bytes
    }
}

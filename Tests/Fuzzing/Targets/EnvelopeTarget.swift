import ByteEncoding
import Custody
import Foundation

/// Blobs, as bytes and as text: what is taken apart is what was given, and has one text form only.
enum EnvelopeTarget: FuzzTarget {
    static let name = "envelope"

    static func run(_ bytes: [UInt8]) throws {
        try readBytes(bytes)
        try readText(bytes.text)
        try require(Base64URL.decode(Base64URL.encode(bytes)) == bytes, "base64url changes the bytes")
        try require(try Envelope.bytes(fromText: Envelope.text(bytes)) == bytes, "the text form changes the bytes")
    }

    private static func readBytes(_ bytes: [UInt8]) throws {
        let isWhole = (50...65_586).contains(bytes.count)
        let isOurs = bytes.starts(with: Array("CTDY".utf8) + [1, 1])
        let envelope: Envelope
        do throws(CustodyError) {
            envelope = try Envelope(bytes)
        } catch {
            try require(!(isOurs && isWhole), "refused: \(error)")
            try require([.malformedBlob, .unsupportedFormat, .payloadTooLarge].contains(error.code), "refused with \(error)")
            return
        }
        try require(isOurs && isWhole, "it should have been refused")
        try require(envelope.bytes == bytes, "it has other bytes")
        try require(envelope.keyID.bytes == Array(bytes[6..<22]), "it has another key id")
        try require(Array(envelope.nonce) == Array(bytes[22..<34]), "it has another nonce")
        try require(envelope.keyID.version == bytes[6..<10].reduce(0) { $0 << 8 | UInt32($1) }, "it has another version")
    }

    private static func readText(_ text: String) throws {
        let blob: [UInt8]
        do throws(CustodyError) {
            blob = try Envelope.bytes(fromText: text)
        } catch {
            try require([.malformedBlob, .unsupportedFormat].contains(error.code), "refused with \(error)")
            return
        }
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        try require(Envelope.text(blob).utf8.elementsEqual(trimmed.utf8), "two texts stand for one blob")
        try readBytes(blob)
    }
}

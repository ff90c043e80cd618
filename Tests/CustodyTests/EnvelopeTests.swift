import ByteEncoding
import PKCS11
import Testing
import TestSupport

@testable import Custody

@Suite struct EnvelopeTests {
    private static func blob(_ plaintext: Int = 3) throws -> [UInt8] {
        let id = try #require(KeyID([0, 0, 0, 1] + [UInt8](repeating: 0xAB, count: 12)))
        return Envelope.header(keyID: id, nonce: [UInt8](1...12), reserving: plaintext)
            + [UInt8](repeating: 0xCC, count: plaintext + Envelope.tagLength)
    }

    @Test func takesABlobApart() throws {
        let envelope = try Envelope(Self.blob())
        #expect(envelope.keyID.version == 1)
        #expect(Array(envelope.nonce) == [UInt8](1...12))
        #expect(Envelope.overhead == 50)
        #expect(Envelope.headerLength == 34)
    }

    @Test func isRefusedAtEveryShorterLength() throws {
        let blob = try Self.blob(0)
        _ = try Envelope(blob)
        for length in 0..<blob.count {
            try expectError(.malformedBlob) { () throws(CustodyError) in try Envelope(Array(blob.prefix(length))) }
        }
    }

    @Test(arguments: [(0, CustodyError.Code.malformedBlob), (3, .malformedBlob), (4, .unsupportedFormat), (5, .unsupportedFormat)])
    func otherHeaderIsRefused(_ index: Int, _ code: CustodyError.Code) throws {
        for value in UInt8.min ... .max {
            var blob = try Self.blob()
            guard blob[index] != value else { continue }
            blob[index] = value
            try expectError(code) { () throws(CustodyError) in try Envelope(blob) }
        }
    }

    @Test func longestBlobIsTakenAndNoLongerOne() throws {
        _ = try Envelope(Self.blob(CustodyLimits.plaintext))
        let blob = try Self.blob(CustodyLimits.plaintext + 1)
        try expectError(.payloadTooLarge) { () throws(CustodyError) in try Envelope(blob) }
    }

    @Test(arguments: 0..<20) func textFormRoundTrip(_ length: Int) throws {
        let blob = (0..<length).map { UInt8(truncatingIfNeeded: 0xFB &+ $0 &* 37) }
        let text = Envelope.text(blob)
        #expect(text.hasPrefix("custody:v1:"))
        #expect(!text.contains { "+/= \n".contains($0) })
        #expect(try Envelope.bytes(fromText: text) == blob)
        #expect(try Envelope.bytes(fromText: " \n\(text)\r\n") == blob)
    }

    @Test(arguments: [
        ("", CustodyError.Code.malformedBlob), ("AAAA", .malformedBlob), ("vault:v1:AAAA", .malformedBlob),
        ("Custody:v1:AAAA", .malformedBlob), ("custody:v2:AAAA", .unsupportedFormat), ("custody:AAAA", .unsupportedFormat),
        ("custody:v1:A", .malformedBlob), ("custody:v1:AAAAA", .malformedBlob), ("custody:v1:AA==", .malformedBlob),
        ("custody:v1:AA+A", .malformedBlob), ("custody:v1:AA/A", .malformedBlob), ("custody:v1:AA AA", .malformedBlob),
        ("custody:v1:AA\nAA", .malformedBlob), ("custody:v1:AAÄA", .malformedBlob), ("custody:v1:AA\u{0}A", .malformedBlob),
        // Bits behind the last byte: two texts would stand for one blob.
        ("custody:v1:AB", .malformedBlob), ("custody:v1:AAB", .malformedBlob),
    ])
    func badTextIsRefused(_ text: String, _ code: CustodyError.Code) throws {
        try expectError(code) { () throws(CustodyError) in try Envelope.bytes(fromText: text) }
    }

    // MARK: Vectors

    @Test func thereAreVectors() throws { #expect(try EnvelopeVector.all().count == 10) }

    @Test func vectorsContextAndAAD() throws {
        for vector in try EnvelopeVector.all() {
            let context = try vector.encryptionContext()
            let id = try #require(KeyID(try vectorBytes(vector.keyID)))
            let header = Envelope.header(keyID: id, nonce: try vectorBytes(vector.nonce), reserving: 0)
            #expect(hexadecimal(context.canonicalEncoding) == vector.canonicalContext, "\(vector.name)")
            #expect(hexadecimal(Envelope.aad(header: header[...], context)) == vector.aad, "\(vector.name)")
            #expect(vector.blob.hasPrefix(hexadecimal(header)), "\(vector.name)")
            let blob = try vectorBytes(vector.blob)
            #expect(Envelope.text(blob) == vector.text, "\(vector.name)")
            #expect(try Envelope.bytes(fromText: vector.text) == blob, "\(vector.name)")
            #expect(try Envelope(blob).keyID == id, "\(vector.name)")
        }
    }

    @Test func tokenMakesAndOpensTheVectorsBlobs() async throws {
        let vectors = try EnvelopeVector.all()
        try await SoftHSM.withToken { token in
            try token.withSession { session in
                for vector in vectors {
                    let key = try session.createObject([
                        .objectClass(.secretKey), .keyType(.aes), .value(try vectorBytes(vector.key)), .bool(.token, false),
                        .bool(.encrypt, true), .bool(.decrypt, true),
                    ])
                    let envelope = try Envelope(try vectorBytes(vector.blob))
                    let header = Envelope.header(keyID: envelope.keyID, nonce: envelope.nonce, reserving: 0)
                    let aad = Envelope.aad(header: header[...], try vector.encryptionContext())
                    let plaintext = try vectorBytes(vector.plaintext)
                    let nonce = envelope.nonce
                    var blob = header
                    try session.encryptGCM(
                        key, nonce: nonce.span.bytes, aad: aad.span.bytes, plaintext: plaintext.span.bytes,
                        appendingTo: &blob)
                    #expect(hexadecimal(blob) == vector.blob, "\(vector.name)")
                    let sealed = envelope.bytes.dropFirst(Envelope.headerLength)
                    let opened = try session.decryptGCM(
                        key, nonce: nonce.span.bytes, aad: aad.span.bytes, ciphertext: sealed.span.bytes)
                    #expect(opened == plaintext, "\(vector.name)")
                }
            }
        }
    }
}

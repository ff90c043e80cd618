import TestSupport
import Testing

@testable import Custody

@Suite struct TargetTests {
    private func check(_ operation: Custody.Operation, _ code: CustodyError.Code, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try expectError(code, sourceLocation: sourceLocation) { () throws(CustodyError) in try Target(operation) }
    }

    private func raw(
        keyID: Int = 16, nonce: Int = 12, ciphertext: Int = 4, tag: Int = 16, aad: [UInt8] = []
    ) -> Custody.Operation {
        func some(_ count: Int) -> [UInt8] { [UInt8](repeating: 1, count: count) }
        return .decrypt(RawCiphertext(
            keyID: some(keyID), nonce: some(nonce), ciphertext: some(ciphertext), tag: some(tag), aad: aad))
    }

    @Test func plaintextHasItsBounds() throws {
        try check(.wrap(key: "k", plaintext: secret([]), context: .empty), .invalidRequest)
        let most = [UInt8](repeating: 0, count: CustodyLimits.plaintext)
        _ = try Target(.wrap(key: "k", plaintext: secret(most), context: .empty))
        try check(.wrap(key: "k", plaintext: secret(most + [0]), context: .empty), .payloadTooLarge)
        try check(.encrypt(key: "k", plaintext: secret(most + [0]), aad: []), .payloadTooLarge)
        // The raw form has protocols behind it that authenticate without a plaintext.
        _ = try Target(.encrypt(key: "k", plaintext: secret([]), aad: []))
        _ = try Target(raw(ciphertext: 0))
        try check(raw(ciphertext: CustodyLimits.plaintext + 1), .payloadTooLarge)
    }

    @Test(arguments: [(-1, false), (0, false), (15, false), (16, true), (32, true), (1_024, true), (1_025, false), (.max, false)])
    func dataKeyHasItsBounds(_ length: Int, _ isTaken: Bool) throws {
        let operation = Operation.generateDataKey(key: "k", length: length, withPlaintext: false, context: .empty)
        if isTaken { _ = try Target(operation) } else { try check(operation, .invalidRequest) }
    }

    @Test func rawPartsHaveTheirLengths() throws {
        guard case .version(let id, .raw) = try Target(raw()) else { throw Succeeded() }
        #expect(id.bytes == [UInt8](repeating: 1, count: 16))
        for length in [0, 15, 17] { try check(raw(keyID: length), .invalidRequest) }
        for length in [0, 11, 13, 16] { try check(raw(nonce: length), .invalidRequest) }
        for length in [0, 4, 15, 17] { try check(raw(tag: length), .invalidRequest) }
    }

    @Test func rawAADHasItsBoundsAndDoesNotLookLikeAnEnvelope() throws {
        let most = [UInt8](repeating: 0, count: CustodyLimits.rawAAD)
        _ = try Target(.encrypt(key: "k", plaintext: secret([1]), aad: most))
        try check(.encrypt(key: "k", plaintext: secret([1]), aad: most + [0]), .payloadTooLarge)
        try check(raw(aad: most + [0]), .payloadTooLarge)
        for aad in ["CTDY", "CTDY and more"] {
            try check(.encrypt(key: "k", plaintext: secret([1]), aad: Array(aad.utf8)), .invalidRequest)
            try check(raw(aad: Array(aad.utf8)), .invalidRequest)
        }
        for aad in ["", "CTD", "ctdy", " CTDY"] { _ = try Target(raw(aad: Array(aad.utf8))) }
    }

    @Test func badBlobsAndStatusHaveNoTarget() throws {
        try check(.unwrap(blob: [], context: .empty), .malformedBlob)
        try check(.rewrap(blob: Array("CTDY\u{2}".utf8) + [UInt8](repeating: 0, count: 60), context: .empty), .unsupportedFormat)
        try check(.status, .internalError)
    }
}

import Foundation
import TestSupport
import Testing

@testable import Custody

/// A vector of `Vectors/envelope-v1.json`, which another implementation made.
struct EnvelopeVector: Decodable, Sendable, CustomTestStringConvertible {
    struct Entry: Decodable, Sendable {
        let key: String
        let value: String
    }

    let name, key, keyID, nonce, plaintext, canonicalContext, aad, blob, text: String
    let context: [Entry]

    var testDescription: String { name }

    func encryptionContext() throws -> EncryptionContext {
        try EncryptionContext(context.map { EncryptionContext.Entry(key: $0.key, value: $0.value) })
    }

    private struct File: Decodable { let vectors: [EnvelopeVector] }

    struct Missing: Error {}

    static func all() throws -> [EnvelopeVector] {
        guard let url = Bundle.module.url(forResource: "envelope-v1", withExtension: "json", subdirectory: "Vectors") else {
            throw Missing()
        }
        return try JSONDecoder().decode(File.self, from: Data(contentsOf: url)).vectors
    }
}

/// The digits of a vector as bytes.
func vectorBytes(_ digits: String) throws -> [UInt8] { try #require(bytes(hex: digits)) }

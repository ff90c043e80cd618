import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

@testable import AWSKMS

/// Against moto.
@Suite struct ClientTests {
    @Test func encryptsAndDecrypts() async throws {
        try await withClient { kms in
            let key = try await kms.createKey(description: "of a test")
            #expect(key.rawValue.hasPrefix("arn:aws:kms:eu-central-1:"))
            let ciphertext = try await kms.encrypt(plaintext, under: key, context: context)
            let opened = try await kms.decrypt(ciphertext, under: key, context: context)
            #expect(opened.isEqual(to: plaintext))
        }
    }

    @Test(arguments: [1, 2, 3, 4095, 4096]) func plaintextsOfAnyLength(_ length: Int) async throws {
        try await withClient { kms in
            let key = try await kms.createKey(description: "")
            let bytes = LockedBytes((0..<length).map { UInt8(truncatingIfNeeded: $0 &* 251) })
            let ciphertext = try await kms.encrypt(bytes, under: key, context: [:])
            #expect(try await kms.decrypt(ciphertext, under: key, context: [:]).isEqual(to: bytes))
        }
    }

    @Test(arguments: [0, 4097]) func otherLengthsAreRefused(_ length: Int) async throws {
        let error = try await failure {
            try await withClient {
                _ = try await $0.encrypt(LockedBytes([UInt8](repeating: 0, count: length)), under: .init(rawValue: "x"), context: [:])
            }
        }
        #expect(error.code == .kmsRefused)
    }

    @Test func anotherContextOrKeyOrByteOpensNothing() async throws {
        try await withClient { kms in
            let key = try await kms.createKey(description: ""), other = try await kms.createKey(description: "")
            var ciphertext = try await kms.encrypt(plaintext, under: key, context: context)
            let wrong = try await failure { _ = try await kms.decrypt(ciphertext, under: key, context: ["tenant": "other"]) }
            #expect(wrong.code == .kmsCiphertextRefused)
            #expect(wrong.message.contains(key.rawValue) && wrong.message.contains("InvalidCiphertextException"))
            // moto says AccessDeniedException; the KMS says IncorrectKeyException.
            let foreign = try await failure { _ = try await kms.decrypt(ciphertext, under: other, context: context) }
            #expect([.kmsDenied, .kmsCiphertextRefused].contains(foreign.code))
            ciphertext[ciphertext.count - 1] ^= 1
            let altered = try await failure { _ = try await kms.decrypt(ciphertext, under: key, context: context) }
            #expect(altered.code == .kmsCiphertextRefused)
        }
    }

    @Test func describesKeys() async throws {
        try await withClient { kms in
            let key = try await kms.createKey(description: "Schlüssel \"1\"")
            let enabled = try await kms.describe(key.rawValue)
            #expect(enabled.id == key && enabled.state == .enabled && enabled.description == "Schlüssel \"1\"")
            #expect(enabled.deletionDate == nil)
            let bare = try #require(key.rawValue.split(separator: "/").last)
            #expect(try await kms.describe(String(bare)).id == key, "an id is answered with the ARN")
            try await kms.scheduleDeletion(of: key, afterDays: 7)
            let pending = try await kms.describe(key.rawValue)
            #expect(pending.state == .pendingDeletion)
            let days = try #require(pending.deletionDate).timeIntervalSinceNow / 86_400
            #expect((6.9...7.1).contains(days))
        }
    }

    @Test func whatIsNotThereIsNotFound() async throws {
        try await withClient { kms in
            let gone = KMSKeyID(rawValue: "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000")
            let error = try await failure { _ = try await kms.describe(gone.rawValue) }
            #expect(error.code == .kmsKeyNotFound)
            #expect(error.message.contains("DescribeKey") && error.message.contains(gone.rawValue))
            let encrypt = try await failure { _ = try await kms.encrypt(plaintext, under: gone, context: [:]) }
            #expect(encrypt.code == .kmsKeyNotFound)
            // Gone is what it was to become.
            try await kms.scheduleDeletion(of: gone, afterDays: 30)
        }
    }

    @Test(arguments: [6, 31]) func waitingPeriodsHaveBounds(_ days: Int) async throws {
        let error = try await failure {
            try await withClient { try await $0.scheduleDeletion(of: .init(rawValue: "x"), afterDays: days) }
        }
        #expect(error.code == .kmsRefused)
    }

    /// There the KMS says that it is not found, and a deletion would count as done.
    @Test func aKeyOfAnotherRegionIsRefusedHere() async throws {
        try await withProxy { kms, proxy in
            let key = KMSKeyID(rawValue: "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000")
            let error = try await failure { try await kms.scheduleDeletion(of: key, afterDays: 7) }
            #expect(error.code == .kmsConfiguration && error.message.contains("eu-west-1"))
            #expect(proxy.requests.isEmpty)
        }
    }

    @Test func findsKeysByTheirDescription() async throws {
        try await withClient { kms in
            let description = "custody test \(UUID())"
            var made: [KMSKeyID] = []
            for _ in 0..<3 { made.append(try await kms.createKey(description: description)) }
            _ = try await kms.createKey(description: description + "x")
            try await kms.scheduleDeletion(of: made[0], afterDays: 7)
            #expect(try await kms.keys(describedAs: description) == made.sorted { $0.rawValue < $1.rawValue })
        }
    }

    /// moto has one page only.
    @Test func theListOfKeysIsReadToItsEnd() async throws {
        try await withProxy({ $0.pageSize = 1 }) { kms, proxy in
            let description = "custody test \(UUID())"
            let keys = [try await kms.createKey(description: description), try await kms.createKey(description: description)]
            let pages = keys.map { #"{"Keys":[{"KeyArn":"\#($0)","KeyId":"x"}],"Truncated":true,"NextMarker":"m/1"}"# }
            proxy.on("ListKeys", .respond(pages[1].replacingOccurrences(of: "true", with: "false")), .nth(1))
            proxy.on("ListKeys", .respond(pages[0]), .first(1))
            #expect(try await kms.keys(describedAs: description) == keys.sorted { $0.rawValue < $1.rawValue })
            #expect(proxy.requests("ListKeys").map(\.text).filter { $0.contains(#""Marker":"m/1""#) }.count == 1)
            proxy.on("ListKeys", .respond(pages[0]))
            let error = try await failure { _ = try await kms.keys(describedAs: description) }
            #expect(error.code == .kmsRefused && error.message.contains("no end"))
        }
    }

    /// Each page names another one after it.
    @Test func aListOfKeysWithoutAnEndIsRefused() async throws {
        try await withProxy { kms, proxy in
            for page in 0...1_000 {
                proxy.on("ListKeys", .respond(#"{"Keys":[],"Truncated":true,"NextMarker":"m/\#(page)"}"#), .first(1))
            }
            let error = try await failure { _ = try await kms.keys(describedAs: "custody test \(UUID())") }
            #expect(error.code == .kmsRefused && error.message.contains("1000 pages") && error.advice != nil)
            #expect(proxy.requests("ListKeys").count == 1_001)
        }
    }

    @Test func aSearchPassesOverKeysThatMayNotBeDescribed() async throws {
        try await withProxy { kms, proxy in
            let description = "custody test \(UUID())"
            let keys = [try await kms.createKey(description: description), try await kms.createKey(description: description)]
            let list = keys.map { #"{"KeyArn":"\#($0)","KeyId":"x"}"# }.joined(separator: ",")
            proxy.on("ListKeys", .respond(#"{"Keys":[\#(list)],"Truncated":false}"#))
            let denied = proxy.on("DescribeKey", .error("AccessDeniedException"), .first(1))
            #expect(try await kms.keys(describedAs: description).count == 1)
            #expect(denied.count == 1)
            proxy.on("DescribeKey", .error("AccessDeniedException"))
            let error = try await failure { _ = try await kms.keys(describedAs: description) }
            #expect(error.code == .kmsDenied && error.message.contains("none of the account's 2 keys"))
        }
    }
}

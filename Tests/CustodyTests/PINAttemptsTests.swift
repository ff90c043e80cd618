import ByteEncoding
import Crypto
import Foundation
import PKCS11
import SecureMemory
import TestSupport
import Testing

@testable import Custody

/// The record of attempts at PINs, over a real token's flags and files that others spoil.
@Suite struct PINAttemptsTests {
    private let folder: TemporaryDirectory
    private var attempts: PINAttempts { PINAttempts(path: folder.file("pin-attempts.json")) }

    init() throws { folder = try TemporaryDirectory() }

    private func pin(_ text: String) -> SecretBytes { SoftHSMToken.secret(text) }

    private func withToken(_ body: (TokenInfo, Module) throws -> Void) async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in try body(try module.token(matching: token.uri), module) }
        }
    }

    private func begin(_ text: String, of user: UserType = .user, on token: TokenInfo) throws(CustodyError) -> PINAttempt {
        try attempts.begin(pin(text), of: user, on: token, within: .milliseconds(50))
    }

    /// RFC 7914 section 11.
    @Test(arguments: [
        ("passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
        ("Password", "NaCl", 80_000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
    ])
    func pbkdf2(_ password: String, _ salt: String, _ iterations: Int, _ expected: String) {
        let key = SymmetricKey(data: Array(password.utf8))
        #expect(hexadecimal(PINCheck.pbkdf2(key, salt: Array(salt.utf8), iterations: iterations)) == expected)
    }

    @Test func aRefusedPINIsNotTriedAgainAndAnotherIs() async throws {
        try await withToken { token, _ in
            try begin("1111", on: token).end(.refused)
            for _ in 1...3 {
                let error = try expectError(.tokenLocked) { () throws(CustodyError) in try begin("1111", on: token) }
                #expect(error.message.contains("retry-pin") && error.message.contains("refused"), "\(error)")
            }
            try begin("2222", on: token).end(.refused)
            try begin("3333", on: token).end(.taken)
            for text in ["1111", "2222"] { try expectError(.tokenLocked) { () throws(CustodyError) in try begin(text, on: token) } }
            try begin("1111", of: .securityOfficer, on: token).end(.taken)
            // Neither PIN nor anything of the right one.
            let content = try String(contentsOfFile: attempts.path, encoding: .utf8)
            #expect(!content.contains("1111") && content.components(separatedBy: "\"check\"").count == 3, "\(content)")
            #expect(try attempts.forgetAll())
            #expect(try !attempts.forgetAll())
            try begin("1111", on: token).end(.taken)
            #expect(!FileManager.default.fileExists(atPath: attempts.path), "nothing is kept of a PIN that was taken")
        }
    }

    @Test func attemptsWithoutAnAnswerAreCounted() async throws {
        try await withToken { token, _ in
            for _ in 1...2 { _ = try begin("1111", on: token) }
            let error = try expectError(.tokenLocked) { () throws(CustodyError) in try begin("2222", on: token) }
            #expect(error.message.contains("2 attempts") && error.message.contains("retry-pin"), "\(error)")
            #expect(try attempts.forgetAll())
            _ = try begin("1111", on: token)
            // What says nothing of the PIN changes nothing.
            for _ in 1...5 { try begin("1111", on: token).end(.noAnswer) }
            try begin("1111", on: token).end(.taken)
            for _ in 1...2 { _ = try begin("1111", on: token) }
            try expectError(.tokenLocked) { () throws(CustodyError) in try begin("1111", on: token) }
            try attempts.forget(token)
            try begin("1111", on: token).end(.taken)
        }
    }

    /// Killed between C_Login and the record: the token itself tells that a wrong PIN was entered.
    @Test func aTokenThatTellsOfAWrongPINIsBelieved() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let before = try module.token(matching: token.uri)
                let attempt = try begin("wrong-73591846", on: before)
                let session = try module.openSession(before.slot, readWrite: false)
                #expect(throws: PKCS11Error.self) { try session.login(.user, pin: pin("wrong-73591846")) }
                withExtendedLifetime(attempt) {}
            }
            // What is left is what a killed process leaves.
            try token.withModule { module in
                let after = try module.token(matching: token.uri)
                #expect(after.isUserPINCountLow)
                let error = try expectError(.tokenLocked) { () throws(CustodyError) in try begin("another", on: after) }
                #expect(error.message.contains("a wrong one was entered"), "\(error)")
            }
        }
    }

    @Test func oneAtATime() async throws {
        try await withToken { token, _ in
            let first = try begin("1111", on: token)
            let busy = try expectError(.tokenUnavailable) { () throws(CustodyError) in try begin("1111", on: token) }
            #expect(busy.retryAfterMilliseconds != nil)
            // It hangs, and others go on; its answer counts when it comes.
            try first.end(.noAnswer)
            try begin("2222", on: token).end(.taken)
            try first.end(.refused)
            try expectError(.tokenLocked) { () throws(CustodyError) in try begin("1111", on: token) }
        }
    }

    @Test(arguments: ["", "garbage", "{}", "{\"format\":2,\"salt\":\"\",\"holders\":[]}", "{\"format\":1,\"salt\":\"00\",\"holders\":[]}"])
    func aDamagedRecordStopsAttempts(_ content: String) async throws {
        try folder.write("pin-attempts.json", content)
        try await withToken { token, _ in
            let error = try expectError(.tokenLocked) { () throws(CustodyError) in try begin("1111", on: token) }
            #expect(error.message.contains("damaged") && error.message.contains("retry-pin"), "\(error)")
            #expect(try attempts.forgetAll())
            try begin("1111", on: token).end(.taken)
        }
    }

    @Test func whereNothingCanBeRecordedNothingIsTried() async throws {
        try await withToken { token, _ in
            let nowhere = PINAttempts(path: folder.file("missing/pin-attempts.json"))
            #expect(!nowhere.hasFolder)
            let error = try expectError(.stateUnavailable) { () throws(CustodyError) in try nowhere.begin(pin("1"), on: token, within: .zero) }
            #expect(error.message.contains("missing"), "\(error)")
            // A folder of everybody's.
            try #require(chmod(folder.path, 0o777) == 0)
            let open = try expectError(.stateUnavailable) { () throws(CustodyError) in try begin("1111", on: token) }
            #expect(open.message.contains("chmod go-w"), "\(open)")
            try #require(chmod(folder.path, 0o700) == 0)
            // A link is not followed, nor a pipe waited for.
            try FileManager.default.createSymbolicLink(atPath: attempts.path, withDestinationPath: "/etc/passwd")
            try expectError(.stateUnavailable) { () throws(CustodyError) in try begin("1111", on: token) }
            try FileManager.default.removeItem(atPath: attempts.path)
            try #require(mkfifo(attempts.path, 0o600) == 0)
            try expectError(.stateUnavailable) { () throws(CustodyError) in try begin("1111", on: token) }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root gives a file away")) func whatRootWritesBelongsToTheFoldersOwner() async throws {
        try #require(chown(folder.path, 65_534, 65_534) == 0)
        try await withToken { token, _ in
            try begin("1111", on: token).end(.refused)
            for name in ["pin-attempts.json", "pin-attempts.json.lock"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: folder.file(name))
                #expect(attributes[.ownerAccountID] as? Int == 65_534, "\(name)")
                #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
            }
        }
    }
}

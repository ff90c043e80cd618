import Foundation
import Testing
import TestSupport

/// No PIN and no plaintext is in anything that the programs print or write, but for the output that was asked for.
@Suite struct SecrecyTests {
    private static let plaintext = "a-plaintext-that-stands-nowhere"

    @Test func nothingIsTold() async throws {
        let installation = try await Installation.ready()
        // As much as there is to be told.
        try installation.directory.write(
            "custody.toml", String(decoding: try installation.content("custody.toml"), as: UTF8.self) + "\n[log]\nlevel = \"trace\"\n")
        let daemon = try await installation.startDaemon()
        let secret = Self.plaintext.utf8
        let blob = try await installation.ok("wrap", "--key", "payments", "--context", "tenant=acme", input: secret).bytes
        for command in ["rewrap", "unwrap"] {
            _ = try await installation.ctl(command, "--context", "tenant=globex", input: blob).exiting(1)
            _ = try await installation.ctl(command, "--json", input: Array(secret)).exiting(1)
        }
        _ = try await installation.ctl("wrap", "--key", "absent", input: secret).exiting(1)
        _ = try await installation.ctl("wrap", "--key", "payments", "--context", "tenant", input: secret).exiting(64)
        try await installation.ok("rewrap", "--context", "tenant=acme", input: blob)
        for command in [["status"], ["key", "list"], ["key", "show", "payments"], ["key", "rotate", "payments"], ["doctor"], ["token", "show"], ["slot", "list"]] {
            _ = try await installation.ctl(command + ["--json"]).exiting()
            _ = try await installation.ctl(command).exiting()
        }
        // PINs that are refused, too long or not to be had.
        try installation.directory.write("wrong", "a-wrong-pin-of-a-test\n")
        _ = try await installation.ctl("key", "list", "--json", "--pin-file", installation.directory.file("wrong")).exiting(77)
        try installation.directory.write("two", SoftHSMToken.userPIN + "\n" + SoftHSMToken.userPIN + "\n")
        _ = try await installation.ctl("key", "list", "--pin-file", installation.directory.file("two")).exiting(78)
        _ = try await installation.ctl("token", "set-pin", "--new-pin-file", installation.token.pinFile).exiting()
        let opened = try await installation.ctl("unwrap", "--context", "tenant=acme", "--out", installation.directory.file("opened"), input: blob).exiting()
        #expect(opened.bytes.isEmpty)
        #expect(try installation.content("opened") == Array(secret))
        try await daemon.stop()

        let secrets = [SoftHSMToken.userPIN, SoftHSMToken.soPIN, "a-wrong-pin-of-a-test", Self.plaintext, Data(secret).base64EncodedString(), Self.hexadecimal(secret)]
        var looked = 0
        let names = try FileManager.default.contentsOfDirectory(atPath: installation.directory.path)
        for name in names where name.hasSuffix(".out") || name.hasSuffix(".err") || name == "audit.jsonl" {
            let text = String(decoding: try installation.content(name), as: UTF8.self)
            for secret in secrets { #expect(!text.contains(secret), "\(name): \(text)") }
            looked += 1
        }
        #expect(looked > 40, "there was something to look at")
        #expect(daemon.process.errors.contains("token ready"))
        for secret in secrets { #expect(!(daemon.process.errors + daemon.process.output).contains(secret)) }
        #expect(try installation.audit().count > 5)
    }

    /// A token's files hold the PIN and the keys encrypted only; were they readable, all else would be in vain.
    @Test func theTokenItselfHoldsNothingInTheClear() async throws {
        let installation = try await Installation.ready()
        let result = try await installation.start(["grep", "-r", "-F", "-l", SoftHSMToken.userPIN, "tokens"])
        #expect(result.status == .exited(1), "\(result.text)")
    }

    private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String(format: "%02x", $0) }.joined()
    }
}

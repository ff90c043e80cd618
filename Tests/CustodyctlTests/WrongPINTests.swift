import CustodyClient
import Foundation
import TestSupport
import Testing

/// A wrong PIN is tried once: every further attempt brings the token nearer to locking itself.
@Suite struct WrongPINTests {
    /// A token with a key, and a module between that writes every call down.
    private func spied() async throws -> Installation {
        let plain = try await Installation.ready()
        let spy = try PKCS11Spy.locate()
        let text = String(decoding: try plain.content("custody.toml"), as: UTF8.self)
            .replacing("module = \"\(plain.token.modulePath)\"", with: "module = \"\(spy)\"")
            .replacing("environment = { ", with: "environment = { PKCS11SPY = \"\(plain.token.modulePath)\", PKCS11SPY_OUTPUT = \"\(plain.directory.file("calls"))\", ")
        try plain.directory.write("custody.toml", text)
        try plain.directory.write("wrong", "a-wrong-pin\n")
        try plain.directory.write("new", "another-pin-of-a-test\n")
        return plain
    }

    @Test(arguments: [
        ["key", "list"], ["key", "show", "payments"], ["key", "generate", "storage"], ["key", "rotate", "payments"],
        ["key", "destroy", "payments", "--all", "--now", "--yes-i-understand", "payments"], ["doctor"],
    ])
    func onceByEveryCommand(_ command: [String]) async throws {
        let installation = try await spied()
        let reply = try await installation.ctl(command + ["--pin-file", installation.directory.file("wrong")]).exiting(77)
        #expect(try installation.calls(of: "C_Login") == 1)
        #expect(try installation.calls(of: "C_Finalize") == 1, "and the module is left in order")
        #expect((reply.errors + reply.text).contains("CKR_PIN_INCORRECT"), "\(reply.errors)")
        #expect(try await installation.json("key", "list")["keys"].array.map { $0["name"] } == ["payments"])
        // Where a daemon has its state, the tools keep it in mind as well.
        try FileManager.default.createDirectory(atPath: installation.directory.file("state"), withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        let before = try installation.calls(of: "C_Login")
        for number in 1...3 {
            let again = try await installation.ctl(command + ["--pin-file", installation.directory.file("wrong")]).exiting(77)
            #expect((again.errors + again.text).contains(number == 1 ? "CKR_PIN_INCORRECT" : "retry-pin"), "\(again.errors)")
        }
        #expect(try installation.calls(of: "C_Login") == before + 1)
        #expect(try await installation.json("key", "list")["keys"][0]["versions"].array.count == 1)
    }

    @Test func onceBySetPIN() async throws {
        let installation = try await spied()
        let (wrong, new) = (installation.directory.file("wrong"), installation.directory.file("new"))
        _ = try await installation.ctl("token", "set-pin", "--pin-file", wrong, "--new-pin-file", new).exiting(77)
        #expect(try installation.calls(of: "C_SetPIN") == 1)
        #expect(try installation.calls(of: "C_Login") == 0)
        _ = try await installation.ctl("token", "set-pin", "--so-pin-file", wrong, "--new-pin-file", new).exiting(77)
        #expect(try installation.calls(of: "C_Login") == 1)
        #expect(try installation.calls(of: "C_InitPIN") == 0)
        try await installation.ok("key", "list")
        try FileManager.default.createDirectory(atPath: installation.directory.file("state"), withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        for _ in 1...3 {
            _ = try await installation.ctl("token", "set-pin", "--pin-file", wrong, "--new-pin-file", new).exiting(77)
            _ = try await installation.ctl("token", "set-pin", "--so-pin-file", wrong, "--new-pin-file", new).exiting(77)
            _ = try await installation.ctl("token", "init", "--label", "custody", "--erase", "custody", "--so-pin-file", wrong, "--pin-file", new).exiting(77)
        }
        #expect(try installation.calls(of: "C_SetPIN") == 2)
        #expect(try installation.calls(of: "C_InitToken") == 0, "the token has refused this PIN already")
        try await installation.ok("key", "list")
    }

    @Test func onceByTheDaemonForEver() async throws {
        let installation = try await spied()
        try installation.directory.write("pin", "a-wrong-pin\n")
        let daemon = try await installation.startDaemon(until: "locked")
        for number in 1...5 {
            let refused = try await installation.refusal("wrap", "--key", "payments", exit: 77, input: "content".utf8)
            #expect(refused.code == "token-locked", "request \(number)")
        }
        let client = installation.client()
        for _ in 1...200 { await #expect(throws: (any Error).self) { try await client.generateDataKey(key: "payments") } }
        await client.shutdown()

        // What is tried again is tried after 100 ms, 200 ms and so on: two seconds hold several tries.
        var status = JSON.null
        try await eventually("two seconds of the daemon's life") {
            status = try await installation.ctl("status", "--json").exiting(69).json
            return status["uptime_seconds"].number ?? 0 > 2
        }
        #expect(status["token"]["state"] == "locked")
        let detail = try #require(status["token"]["detail"].string)
        for part in ["PIN", "restart"] { #expect(detail.contains(part), "what is wrong, and what to do: \(detail)") }
        #expect(try await installation.ctl("status").exiting(69).text.contains("locked: "))
        // The right PIN alone changes nothing: an operator acts.
        try installation.directory.write("pin", SoftHSMToken.userPIN)
        #expect(try await installation.refusal("wrap", "--key", "payments", exit: 77, input: "content".utf8).code == "token-locked")
        #expect(try installation.calls(of: "C_Login") == 1)
        try await daemon.stop()
        #expect(try installation.calls(of: "C_Login") == 1)

        let again = try await installation.startDaemon()
        try await installation.ok("wrap", "--key", "payments", input: "content".utf8)
        #expect(try installation.calls(of: "C_Login") == 2)
        try await again.stop()
    }
}

extension Installation {
    /// How often a function was called through the spy.
    fileprivate func calls(of function: String) throws -> Int {
        String(decoding: try content("calls"), as: UTF8.self).split(separator: "\n").filter { $0.hasSuffix(": \(function)") }.count
    }
}

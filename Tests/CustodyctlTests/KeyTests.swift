import Foundation
import TestSupport
import Testing

/// A root key from its making to its end, with blobs wrapped under it.
@Suite struct KeyTests {
    @Test func generateListAndShow() async throws {
        let installation = try await Installation.ready(keys: [])
        let made = try await installation.json("key", "generate", "payments")
        #expect(made["found_from_fresh_process"] == true)
        let version = made["version"]
        #expect(version["proven"] == true)
        let id = try #require(version["id"].string)
        #expect(id.count == 32)
        #expect(id.hasPrefix("00000001"))

        let listed = try await installation.json("key", "list")["keys"]
        #expect(listed.array.count == 1)
        #expect(listed[0]["name"] == "payments")
        #expect(listed[0]["versions"].array.count == 1)
        #expect(listed[0]["versions"][0]["id"] == version["id"])
        #expect(listed[0]["versions"][0]["wraps"] == true)

        let shown = try await installation.json("key", "show", "payments")["versions"]
        #expect(shown.array == [version], "another process reads back what generate said")
        #expect(shown[0]["findings"].array.isEmpty)
        #expect(shown[0]["export_trial"]["result"] == "refused")
        for (name, value) in [
            "extractable": "false", "never_extractable": "true", "sensitive": "true", "always_sensitive": "true", "private": "true",
            "local": "true", "wrap": "false", "unwrap": "false", "derive": "false", "sign": "false", "key_type": "AES", "value_len": "32",
        ] {
            #expect(shown[0]["attributes"]["cka_" + name] == .string(value), "\(name)")
        }
        let text = try await installation.ok("key", "show", "payments").text
        #expect(text.contains(id))
        #expect(text.contains("refused by the token"))

        let again = try await installation.refusal("key", "generate", "payments")
        #expect(again.message.contains("custodyctl key rotate payments"), "\(again.message)")
        #expect(try await installation.refusal("key", "show", "other").code == "key-not-found")
        #expect(try await installation.refusal("key", "rotate", "other").code == "key-not-found")
        #expect(try await installation.refusal("key", "generate", "a b", exit: 64).code == "usage")
        #expect(try await installation.json("key", "list")["keys"].array.count == 1)
    }

    /// Somebody without the PIN makes an object of a key's name and the highest number: it takes neither.
    @Test func aPlantedObjectIsInNobodysWay() async throws {
        let installation = try await Installation.ready(keys: [])
        let id = "ffffffff" + Installation.id.dropFirst(8)
        try await installation.makePublicKey("payments", id: id)
        #expect(try await installation.json("key", "generate", "payments")["version"]["version"] == 1)
        let daemon = try await installation.startDaemon()
        #expect(try await installation.json("key", "rotate", "payments")["version"]["version"] == 2)
        try await eventually("the daemon to wrap under version 2") {
            try await installation.json("wrap", "--key", "payments", input: "content".utf8)["version"] == 2
        }
        // It is named where somebody looks.
        let listed = try await installation.json("key", "list")
        #expect(listed["keys"].array.flatMap { $0["versions"].array.map { $0["version"] } } == [1, 2])
        #expect(listed["foreign_keys"].array.map { $0["id"].string } == [id])
        let status = try await installation.json("status")["keys"][0]["versions"].array
        #expect(status.map { $0["version"] } == [1, 2, 0])
        #expect(status.last?["state"] == "foreign")
        #expect(status.last?["detail"].string?.contains(id) == true)
        let report = try await installation.json("doctor")
        #expect(report["result"] != "fail")
        #expect(report["checks"].array.contains { $0["id"] == "key" && $0["level"] == "warn" && $0["detail"].string?.contains(id) == true })
        #expect(try await installation.json("key", "show", "payments")["foreign_keys"].array.map { $0["id"].string } == [id])
        #expect(try await installation.ok("metrics").text.contains("version=\"0\"") == false)
        // And it can be removed by its CKA_ID.
        try await installation.ok("key", "destroy", "payments", "--id", id, "--public", "--yes-i-understand", "payments")
        #expect(try await installation.json("key", "list")["foreign_keys"].array.isEmpty)
        try await daemon.stop()
    }

    /// What is planted has the real version's label and CKA_ID: whoever removes it keeps the real one.
    @Test func aPlantedDoubleIsRemovedAlone() async throws {
        let installation = try await Installation.ready()
        let id = try #require(try await installation.json("key", "list")["keys"][0]["versions"][0]["id"].string)
        try await installation.makePublicKey("payments", id: id)
        for words in [["--now"], []] {
            let refused = try await installation.ctl(
                ["key", "destroy", "payments", "--id", id, "--yes-i-understand", "payments", "--json"] + words).exiting(1)
            #expect(refused.text.contains("key-ambiguous") && refused.text.contains("--id \(id) --public"), "\(refused.text)")
        }
        #expect(try await installation.json("key", "list")["keys"][0]["versions"][0]["state"] == "active")
        let advice = try await installation.json("key", "list")["foreign_keys"][0]["reason"].string
        #expect(advice?.contains("`custodyctl key destroy payments --id \(id) --public`") == true, "\(advice ?? "")")
        try await installation.ok("key", "destroy", "payments", "--id", id, "--public", "--yes-i-understand", "payments")
        let listed = try await installation.json("key", "list")
        #expect(listed["foreign_keys"].array.isEmpty)
        #expect(listed["keys"][0]["versions"].array.map { $0["state"] } == ["active"])
        // There is nothing public any more, and nothing else is meant.
        _ = try await installation.ctl("key", "destroy", "payments", "--id", id, "--public", "--yes-i-understand", "payments").exiting(1)
        #expect(try await installation.json("key", "list")["keys"][0]["versions"][0]["state"] == "active")
    }

    @Test func aPlantedObjectAloneIsNoVersion() async throws {
        let installation = try await Installation.ready(keys: [])
        try await installation.makePublicKey("payments", id: Installation.id)
        for selector in [["--id", Installation.id], ["--all"]] {
            let refused = try await installation.ctl(["key", "disable", "payments"] + selector).exiting(1)
            #expect(refused.errors.contains("--public"), "\(refused.errors)")
        }
    }

    @Test func rotateAndRewrap() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let old = try await installation.json("wrap", "--key", "payments", input: "content".utf8)
        #expect(old["version"] == 1)

        let rotated = try await installation.json("key", "rotate", "payments")
        #expect(rotated["version"]["version"] == 2)
        #expect(try await installation.json("key", "list")["keys"][0]["versions"].array.map { $0["wraps"] } == [false, true])

        // The daemon looks every now and then at what is on the token; a version that it has may still serve till then.
        try await eventually("the daemon to wrap under version 2") {
            try await installation.json("wrap", "--key", "payments", input: "content".utf8)["version"] == 2
        }
        let blob = try #require(old["blob"].string)
        let opened = try await installation.json("unwrap", input: blob.utf8)
        #expect(opened["version"] == 1, "old blobs still open, under their own version")
        #expect(opened["plaintext_base64"].string == Data("content".utf8).base64EncodedString())

        let moved = try await installation.json("rewrap", input: blob.utf8)
        #expect(moved["version"] == 2)
        #expect(moved["blob"] != old["blob"])
        let reopened = try await installation.json("unwrap", input: try #require(moved["blob"].string).utf8)
        #expect(reopened["version"] == 2)
        #expect(reopened["plaintext_base64"] == opened["plaintext_base64"])

        // Without version 1 the old blob is lost, the rewrapped one is not.
        let destroyed = try await installation.json("key", "destroy", "payments", "--version", "1", "--now", "--yes-i-understand", "payments")
        #expect(destroyed["destroyed"].array.map { $0["version"] } == [1])
        try await eventually("the old blob to open no more") { try await installation.ctl("unwrap", input: blob.utf8).status == .exited(1) }
        let lost = try await installation.refusal("unwrap", input: blob.utf8)
        #expect(lost.code == "key-not-found")
        #expect(lost.message.contains("CKA_ID 00000001"), "\(lost.message)")
        try await installation.ok("unwrap", input: try #require(moved["blob"].string).utf8)
        #expect(try await installation.json("key", "rotate", "payments")["version"]["version"] == 3, "no number is used twice")
        try await daemon.stop()
    }

    @Test func destroyWantsTheName() async throws {
        let installation = try await Installation.ready(keys: ["payments", "storage"])
        let wrong = try await installation.refusal("key", "destroy", "payments", "--all", "--now", "--yes-i-understand", "storage", exit: 64)
        #expect(wrong.message.contains("nothing was destroyed"), "\(wrong.message)")
        let nobody = try await installation.refusal("key", "destroy", "payments", "--all", "--now", exit: 64)
        #expect(nobody.message.contains("--yes-i-understand payments"), "\(nobody.message)")
        try await installation.refusal("key", "destroy", "payments", "--all", exit: 64)
        try await installation.refusal("key", "destroy", "payments", "--now", "--yes-i-understand", "payments", exit: 64)
        let absent = try await installation.refusal("key", "destroy", "payments", "--version", "7", "--now", "--yes-i-understand", "payments")
        #expect(absent.code == "key-not-found")
        let versions = try await installation.json("key", "list")["keys"].array.flatMap { $0["versions"].array }
        #expect(versions.map { $0["state"] } == ["active", "active"], "all of that destroyed nothing")

        try await installation.ok("key", "destroy", "payments", "--all", "--now", "--yes-i-understand", "payments")
        #expect(try await installation.json("key", "list")["keys"].array.map { $0["name"] } == ["storage"])
    }

    @Test func destroyAsksAtTheTerminal() async throws {
        let installation = try await Installation.ready()
        let command = ["key", "destroy", "payments", "--version", "1", "--now"]
        let wrong = try await installation.atTerminal(command, answering: ["go on: ": "payment"])
        #expect(wrong.status == .exited(1))
        #expect(wrong.text.contains("nothing was destroyed"), "\(wrong.text)")
        let cancelled = try await installation.atTerminal(command, answering: ["go on: ": "\u{03}"])
        #expect(cancelled.status == .exited(1))
        #expect(try await installation.json("key", "list")["keys"].array.count == 1)

        let right = try await installation.atTerminal(command, answering: ["go on: ": "payments"])
        #expect(right.status == .exited(0), "\(right.text)")
        #expect(right.text.contains("destroys for ever, on token 'custody'"))
        #expect(try await installation.json("key", "list")["keys"].array.isEmpty)
    }

    @Test func aPINIsAskedForWithoutShowingIt() async throws {
        let installation = try await Installation.ready()
        try FileManager.default.removeItem(atPath: installation.token.pinFile)
        let reply = try await installation.atTerminal(["key", "list"], answering: ["user PIN: ": SoftHSMToken.userPIN])
        #expect(reply.status == .exited(0), "\(reply.text)")
        #expect(reply.text.contains("payments"))
        #expect(!reply.text.contains(SoftHSMToken.userPIN))
        #expect(try await installation.refusal("key", "list", exit: 78).message.contains("--pin-file"), "there is no terminal")
    }
}

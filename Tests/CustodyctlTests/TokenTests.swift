import Foundation
import TestSupport
import Testing

/// A token from the factory to its daily use.
@Suite struct TokenTests {
    @Test func aFreshSlotBecomesAToken() async throws {
        let installation = try await Installation()
        let before = try await installation.json("slot", "list")
        #expect(before["module"].string == installation.token.modulePath)
        #expect(before["slots"].array.count == 1)
        #expect(before["slots"][0]["token_present"] == true)
        #expect(before["slots"][0]["token"]["initialized"] == false)
        #expect(try await installation.ok("slot", "list").text.contains("uninitialised"))

        let made = try await installation.json("token", "init", "--label", "custody", "--so-pin-file", installation.token.soPINFile)["token"]
        #expect(made["initialized"] == true)
        #expect(made["user_pin_initialized"] == true)
        #expect(made["label"] == "custody")

        // What it printed selects this token and no other.
        let uri = try #require(made["uri"].string)
        #expect(try await installation.json("token", "show", "--token", uri)["token"] == made)
        #expect(try await installation.json("token", "show")["token"] == made)
        let shown = try await installation.ok("token", "show").text
        #expect(shown.contains(uri))
        #expect(shown.contains("ready"))
        let slots = try await installation.json("slot", "list")["slots"].array
        #expect(slots.filter { $0["token"]["initialized"] == true }.map { $0["slot"] } == [made["slot"]])
        #expect(try await installation.json("key", "list")["keys"].array.isEmpty)
    }

    @Test func nothingIsErasedUnasked() async throws {
        let installation = try await Installation.ready()
        let soPIN = ["--so-pin-file", installation.token.soPINFile]
        let taken = try await installation.refusal("token", "init", "--label", "custody", soPIN[0], soPIN[1])
        #expect(taken.code == "label-taken")
        let slot = try #require(try await installation.json("token", "show")["token"]["slot"].number)
        let number = "\(UInt(slot))"
        let erase = try await installation.refusal("token", "init", "--label", "new", "--slot", number, soPIN[0], soPIN[1])
        #expect(erase.code == "would-erase")
        #expect(erase.message.contains("--erase 'custody'"), "\(erase.message)")
        let other = try await installation.refusal("token", "init", "--label", "new", "--slot", number, "--erase", "other", soPIN[0], soPIN[1])
        #expect(other.code == "would-erase")
        #expect(try await installation.json("key", "list")["keys"][0]["name"] == "payments", "the key is still there")

        // A wrong security officer's PIN erases nothing either.
        try installation.directory.write("wrong", "a-wrong-pin\n")
        let wrong = try await installation.refusal(
            "token", "init", "--label", "new", "--erase", "custody", "--so-pin-file", installation.directory.file("wrong"), exit: 77)
        #expect(wrong.code == "pin-refused")
        #expect(try await installation.json("key", "list")["keys"][0]["name"] == "payments", "the key is still there")

        try await installation.ok("token", "init", "--label", "new", "--erase", "custody", soPIN[0], soPIN[1])
        #expect(try await installation.json("key", "list", "--token", "pkcs11:token=new")["keys"].array.isEmpty)
        #expect(try await installation.refusal("key", "list", exit: 69).code == "token-not-found")
    }

    @Test func theUserChangesThePIN() async throws {
        let installation = try await Installation.ready(keys: [])
        try installation.directory.write("new", "another-pin-of-a-test\n")
        let new = installation.directory.file("new")
        let changed = try await installation.json("token", "set-pin", "--new-pin-file", new)
        #expect(changed["set_by"] == "user")
        #expect(try await installation.refusal("key", "list", exit: 77).code == "pin-refused", "the old one is no good any more")
        try await installation.ok("key", "list", "--pin-file", new)

        // With the old one, now wrong, nobody changes it.
        #expect(try await installation.refusal("token", "set-pin", "--new-pin-file", new, exit: 77).code == "pin-refused")
        try await installation.ok("key", "list", "--pin-file", new)
    }

    @Test func theSecurityOfficerSetsThePIN() async throws {
        let installation = try await Installation.ready(keys: [])
        try installation.directory.write("new", "another-pin-of-a-test\n")
        let new = installation.directory.file("new")
        let set = try await installation.json("token", "set-pin", "--so-pin-file", installation.token.soPINFile, "--new-pin-file", new)
        #expect(set["set_by"] == "security_officer")
        #expect(try await installation.refusal("key", "list", exit: 77).code == "pin-refused")
        try await installation.ok("key", "list", "--pin-file", new)

        // The user's PIN is not the officer's.
        let wrong = try await installation.refusal("token", "set-pin", "--so-pin-file", new, "--new-pin-file", new, exit: 77)
        #expect(wrong.code == "pin-refused")
        // A PIN that the token can't take is found before anything is changed.
        try installation.directory.write("short", "abc\n")
        let short = try await installation.refusal(
            "token", "set-pin", "--pin-file", new, "--new-pin-file", installation.directory.file("short"), exit: 77)
        #expect(short.message.contains("nothing was changed"), "\(short.message)")
        try await installation.ok("key", "list", "--pin-file", new)
    }

    @Test func aPINFileThatOthersCanReadIsNotUsed() async throws {
        let installation = try await Installation.ready(keys: [])
        try installation.directory.write("open", SoftHSMToken.userPIN, mode: 0o640)
        let open = try await installation.refusal("key", "list", "--pin-file", installation.directory.file("open"), exit: 78)
        #expect(open.message.contains("chmod 600"), "\(open.message)")
        let missing = try await installation.refusal("key", "list", "--pin-file", installation.directory.file("none"), exit: 78)
        #expect(missing.message.contains(installation.directory.file("none")), "\(missing.message)")
    }

    @Test func aPINComesByADescriptor() async throws {
        let installation = try await Installation.ready()
        try FileManager.default.moveItem(atPath: installation.token.pinFile, toPath: installation.directory.file("elsewhere"))
        let list = "custodyctl key list --json --config custody.toml --pin-fd 3"
        let reply = try await installation.start(["/bin/sh", "-c", "\(list) 3<elsewhere"])
        #expect(try reply.exiting().json["keys"][0]["name"] == "payments")
        let closed = try await installation.start(["/bin/sh", "-c", "\(list) 3<&-"]).exiting(78)
        #expect(try Refusal(closed).message.contains("descriptor 3 of --pin-fd"), "\(closed.errors)")
    }
}

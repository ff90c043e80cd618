import TestSupport
import Testing

/// `doctor` says by its exit code whether a token fits.
@Suite struct DoctorTests {
    @Test func aTokenThatFits() async throws {
        let installation = try await Installation.ready()
        let report = try await installation.json("doctor")
        #expect(report["result"] != "fail")
        let checks = Dictionary(report["checks"].array.map { ($0["id"].string ?? "", $0["level"]) }) { first, _ in first }
        for id in ["configuration", "module", "token", "pin", "login", "random", "key-generation", "attributes", "export", "aes-gcm", "wrong-tag", "keys"] {
            #expect(checks[id] == "ok", "\(id)")
        }
        #expect(report["speed"]["one_session_per_second"].number ?? 0 > 0)
        #expect(report["token"]["label"] == "custody")
        #expect(try await installation.json("key", "list")["keys"].array.count == 1, "the throw-away keys are gone")
    }

    @Test func aTokenWithAnExtractableKey() async throws {
        let installation = try await Installation.ready()
        try await installation.makeExtractableKey("storage")
        let reply = try await installation.ctl("doctor", "--json").exiting(2)
        let failed = try reply.json["checks"].array.filter { $0["level"] == "fail" }
        #expect(failed.map { $0["id"] } == ["key"])
        let detail = try #require(failed.first?["detail"].string)
        #expect(detail.contains("'storage'"))
        #expect(detail.contains("CKA_EXTRACTABLE is true"))
        let text = try await installation.ctl("doctor").exiting(2).text
        #expect(text.contains("The token does not fit: one check failed."), "\(text)")
    }

    @Test func aTokenThatCanNotBeReached() async throws {
        let installation = try await Installation()
        let reply = try await installation.ctl("doctor", "--json").exiting(69)
        #expect(try reply.json["checks"].array.last?["id"] == "token")
        let noModule = try await installation.ctl("doctor", "--json", "--module", "/nowhere/module.so").exiting(69)
        #expect(try noModule.json["checks"].array.last?["id"] == "module")
        #expect(try noModule.json["checks"].array.last?["detail"].string?.contains("/nowhere/module.so") == true)
    }

    @Test func aPINThatIsWrong() async throws {
        let installation = try await Installation.ready()
        try installation.directory.write("pin", "a-wrong-pin\n")
        let wrong = try await installation.ctl("doctor", "--json").exiting(77)
        #expect(try wrong.json["checks"].array.last?["id"] == "login")
        // The next look sees that somebody tried.
        try installation.directory.write("pin", SoftHSMToken.userPIN)
        #expect(try await installation.json("token", "show")["token"]["user_pin_count_low"] == true)
        let right = try await installation.json("doctor")
        #expect(right["checks"].array.first { $0["id"] == "pin" }?["level"] == "warn")
    }
}

import Foundation
import TestSupport
import Testing

/// A token behind p11-kit, which passes on only the mechanisms that it knows: nothing that is tried through it proves anything.
@Suite(.enabled(if: Relay.isInstalled, "needs p11-kit and p11-kit-modules")) struct RelayTests {
    @Test func whatARelayLeavesOutIsNotProved() async throws {
        let relay = try await Relay.start()
        let installation = relay.installation
        let made = try await installation.json("key", "generate", "payments")["version"]
        #expect(made["proven"] == false)
        #expect(made["findings"].array.isEmpty)
        #expect(made["export_trial"]["result"] == "not_proved")
        // What could be tried is told, and what could not.
        let attempts = Dictionary(made["export_trial"]["attempts"].array.map { ($0["way"].string ?? "", $0["answer"]) }) { first, _ in first }
        #expect(attempts["C_GetAttributeValue of CKA_VALUE"] == "refused")
        #expect(attempts["C_WrapKey with CKM_RSA_PKCS"] == "refused")
        #expect(attempts["C_WrapKey with CKM_AES_KEY_WRAP"] == "not_possible")

        let shown = try await installation.ok("key", "show", "payments").text
        #expect(shown.contains("NOT PROVED"), "\(shown)")
        let listed = try await installation.json("key", "list")["keys"][0]["versions"][0]
        #expect(listed["state"] == "active")
        #expect(listed["warning"].string?.hasPrefix("not proved: p11-kit") == true)
        let checks = try await installation.ctl("doctor", "--json").json["checks"].array
        for id in ["export", "key"] {
            let check = try #require(checks.first { $0["id"].string == id })
            #expect(check["level"] == "warn")
            #expect(check["detail"].string?.contains("not proved") == true, "\(check)")
        }
        #expect(checks.first { $0["id"] == "keys" }?["detail"].string?.contains("payments") == false)

        // The token's own module proves the same key.
        let direct = try await installation.ctl("key", "show", "payments", "--json", "--module", installation.token.modulePath).exiting().json
        #expect(direct["versions"][0]["proven"] == true)
        try await relay.stop()
    }
}

/// p11-kit's server over SoftHSM, and an installation whose module is p11-kit's client.
private struct Relay {
    let installation: Installation
    private let server: ChildProcess

    private static let client = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        .map { $0 + "/pkcs11/p11-kit-client.so" }.first { FileManager.default.isReadableFile(atPath: $0) }
    private static let program = ["/usr/libexec/p11-kit/p11-kit-server", "/usr/lib/p11-kit/p11-kit-server"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    static var isInstalled: Bool { client != nil && program != nil }

    static func start() async throws -> Relay {
        let (client, program) = (try #require(client), try #require(program))
        let folder = try TemporaryDirectory()
        let socket = folder.file("p11")
        let installation = try await Installation(
            label: "custody", module: client, environment: ["P11_KIT_SERVER_ADDRESS": "unix:path=\(socket)"])
        let server = try ChildProcess(
            program, arguments: ["--foreground", "--provider", installation.token.modulePath, "--name", socket, "pkcs11:"],
            environment: installation.token.environment)
        try await eventually("p11-kit's socket") { FileManager.default.fileExists(atPath: socket) }
        return Relay(installation: installation, server: server, folder: folder)
    }

    private let folder: TemporaryDirectory

    private init(installation: Installation, server: ChildProcess, folder: TemporaryDirectory) {
        (self.installation, self.server, self.folder) = (installation, server, folder)
    }

    func stop() async throws {
        server.signal(SIGTERM)
        try await server.end()
    }
}

import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import SecureMemory
import TestSupport
import Testing

/// What a daemon makes of keys that its token may not keep, and of what anybody can put there.
@Suite struct ProofTests {
    private func details(_ daemon: RunningDaemon) async throws -> [String] {
        try await daemon.withClient { try await $0.status().keys.flatMap(\.versions).map(\.detail) }
    }

    /// A key whose trial could not be made serves, and is called proven nowhere.
    @Test func whatCouldNotBeTriedIsToldEverywhere() async throws {
        let faults = try FaultModule()
        faults.arm(.returns(.mechanismInvalid), on: .wrapKey)
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.process.line(containing: "key not proved")
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            _ = try await client.unwrap(blob)
        }
        let details = try await details(daemon)
        #expect(details.count == 1 && details[0].contains("not proved"), "\(details)")
        let doctor = try await run("custodyctl", arguments: ["doctor", "--json", "--config", daemon.configurationFile])
        #expect(doctor.status == .exited(0))
        #expect(doctor.output.contains("whether the token keeps keys is not proved"), "\(doctor.output)")
        let listed = try await run("custodyctl", arguments: ["key", "list", "--config", daemon.configurationFile])
        #expect(listed.output.contains("root version 1 is used with this reserve: not proved"), "\(listed.output)")
    }

    /// The attributes are right, and the token gives the key away all the same.
    @Test(arguments: [
        (.getAttributeValue, nil, "CKA_VALUE"), (.copyObject, nil, "C_CopyObject"), (.wrapKey, .rsaPKCS, "CKM_RSA_PKCS"),
    ] as [(Function, Mechanism?, String)])
    func aTokenThatHandsKeysOutIsNotUsed(_ function: Function, _ mechanism: Mechanism?, _ way: String) async throws {
        let faults = try FaultModule()
        var daemon = try await RunningDaemon.start(faults: faults)
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        faults.arm(.handsOut(with: mechanism), on: function)
        daemon = try await daemon.again()
        try await daemon.process.line(containing: "key refused")
        try await daemon.withClient { client in
            await expectError(.server(.keyRefused)) { try await client.wrap(SecretBytes([1]), key: "root") }
        }
        let details = try await details(daemon)
        #expect(details.count == 1 && details[0].contains(way), "\(details)")
        let refused = try await run("custodyctl", arguments: ["key", "generate", "another", "--config", daemon.configurationFile])
        #expect(refused.status == .exited(1))
        #expect(refused.errors.contains(way) && refused.errors.contains("destroyed again"), "\(refused.errors)")
    }

    /// Made without the PIN while the daemon runs.
    @Test func aPlantedKeyIsNamed() async throws {
        let daemon = try await RunningDaemon.start()
        let id: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF] + (1...12)
        try await SoftHSM.withSession(on: daemon.token) { session in
            try session.logout()
            _ = try session.createObject([
                .objectClass(.secretKey), .keyType(.aes), .bool(.token, true), .bool(.isPrivate, false), .bool(.sensitive, true),
                .bool(.extractable, false), .bool(.encrypt, true), .bool(.decrypt, true), .label("root"), .id(id),
                .value([UInt8](repeating: 7, count: 32)),
            ])
        }
        try await daemon.process.line(containing: "an object on the token is no root key")
        try await daemon.withClient { client in
            let wrapped = try await client.wrap(SecretBytes([1]), key: "root")
            #expect(wrapped.keyVersion == 1)
            let versions = try await client.status().keys.flatMap(\.versions)
            #expect(versions.map(\.version) == [1, 0])
            #expect(versions.map(\.wraps) == [true, false])
            #expect(versions.last?.detail.contains("CKA_PRIVATE is false") == true)
        }
    }
}

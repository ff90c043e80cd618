import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import SecureMemory
import TestSupport
import Testing

/// Faults of the HSM that heal without anybody, and those that wait for an operator.
@Suite struct HealingTests {
    private func served(_ client: CustodyClient, _ blob: [UInt8]) async throws {
        try await eventually("service") { (try? await client.unwrap(blob)) != nil }
    }

    /// A token is pulled, another one put in its place, and the first one comes back.
    @Test func aTokenIsPulledAndPutBack() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        faults.insert(label: daemon.token.label)
        try await daemon.token.initialize(label: "another")
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1, 2, 3]), key: "root").blob
            try await eventually("the sessions of login, worker and notary") { faults.openSessions == 3 }
            for other in ["", "another"] {
                if other.isEmpty { faults.remove() } else { faults.insert(label: other) }
                try await eventually("an absent token") {
                    let status = try await client.status().token
                    return status.state == .unavailable && status.detail.contains("no token matches") && status.sinceMs > 0
                }
                faults.insert(label: daemon.token.label)
                try await served(client, blob)
                #expect(try await client.unwrap(blob).plaintext.exposed() == [1, 2, 3])
                #expect(try await client.status().token.state == .ready)
            }
            try await eventually("as many sessions as before") { faults.openSessions == 3 }
        }
        #expect(faults.loginsAfterRefusal == 0)
        _ = try daemon.audit()
    }

    @Test func aModuleThatCanNotBeFinalisedIsUsedOn() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            try await eventually("the sessions of login, worker and notary") { faults.openSessions == 3 }
            let finalize = faults.arm(.returns(.deviceError), on: .finalize, times: 1)
            faults.arm(.returns(.deviceRemoved), on: .decrypt, times: 1)
            try await served(client, blob)
            #expect(finalize.hits == 1)
            try await eventually("as many sessions as before") { faults.openSessions == 3 }
            // And once more, in full.
            faults.arm(.returns(.deviceRemoved), on: .decrypt, times: 1)
            try await served(client, blob)
            try await eventually("as many sessions as before") { faults.openSessions == 3 }
        }
    }

    @Test func sessionsThatCanNotBeClosedDoNotAddUp() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            try await eventually("the sessions of login, worker and notary") { faults.openSessions == 3 }
            for _ in 0..<3 {
                let close = faults.arm(.returns(.functionFailed), on: .closeSession, times: 1)
                faults.arm(.returns(.operationActive), on: .decryptInit, times: 1)
                _ = try await client.unwrap(blob)
                #expect(close.hits == 1)
                try await eventually("as many sessions as before") {
                    // The worker opens its own when it has something to do.
                    _ = try await client.unwrap(blob)
                    return faults.openSessions == 3
                }
            }
        }
    }

    @Test func aRefusedPINWaitsForAnOperator() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            let refusal = faults.arm(.returns(.pinIncorrect), on: .login)
            faults.arm(.returns(.deviceRemoved), on: .decrypt, times: 1)
            await expectError(.server(.tokenLocked)) { try await client.unwrap(blob) }
            let status = try await client.status().token
            #expect(status.state == .locked)
            #expect(status.detail.contains("custodyctl reload"), "\(status.detail)")
            refusal.clear()
            // Rules are changed in a hurry; that is not about the PIN.
            for _ in 0..<3 { _ = try await client.reload() }
            await expectError(.server(.tokenLocked)) { try await client.unwrap(blob) }
            #expect((faults.refusedLogins, faults.loginsAfterRefusal) == (1, 0))
            // The same PIN, written anew, is the one that was refused.
            try daemon.token.directory.write("pin", SoftHSMToken.userPIN + "\n")
            _ = try await client.reload()
            await expectError(.server(.tokenLocked)) { try await client.unwrap(blob) }
            #expect((faults.refusedLogins, faults.loginsAfterRefusal) == (1, 0))
            // Now the operator says that it is right.
            let told = try await run("custodyctl", arguments: ["token", "retry-pin", "--config", daemon.configurationFile])
            #expect(told.status == .exited(0), "\(told.errors)")
            _ = try await client.reload()
            try await served(client, blob)
            #expect(faults.loginsAfterRefusal == 1)
        }
        try await daemon.process.line(containing: "token locked")
    }

    /// A PIN that is locked, or would be with one more try, costs no try.
    @Test(arguments: [TokenFlags.userPINLocked, .userPINFinalTry])
    func aLockedPINIsLookedAtAgainByReload(_ flag: TokenFlags) async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            let flags = faults.arm(.tokenFlags(flag), on: .getTokenInfo)
            faults.arm(.returns(.deviceRemoved), on: .decrypt, times: 1)
            await expectError(.server(.tokenLocked)) { try await client.unwrap(blob) }
            let logins = faults.logins
            _ = try await client.reload()
            await expectError(.server(.tokenLocked)) { try await client.unwrap(blob) }
            #expect(faults.logins == logins)
            flags.clear()
            _ = try await client.reload()
            try await served(client, blob)
        }
    }

    /// The token answers and computes wrongly: only trying it shows that.
    @Test func theCanaryFindsATokenThatComputesWrongly() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults, tokenLines: "canary-interval-ms = 100")
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            let before = try await client.status().token.health.latestCanaryMs
            #expect(before > 0)
            try await eventually("a canary") { try await client.status().token.health.latestCanaryMs > before }
            let fault = faults.arm(.wrongOutput(at: 3), on: .decrypt)
            try await eventually("an unusable token") { try await client.status().token.state == .unavailable }
            #expect(try await client.status().token.detail.contains("computes wrongly"))
            fault.clear()
            try await served(client, blob)
        }
    }

    /// Outputs of a length that AES-GCM can't have.
    @Test(arguments: [InjectedFault.shortOutput(by: 1), .shortOutput(by: 17), .longOutput(by: 1)], [Function.encrypt, .decrypt])
    func outputOfAWrongLengthIsNoAnswer(_ fault: InjectedFault, _ function: Function) async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1, 2, 3]), key: "root").blob
            let impatient = daemon.client(deadline: .milliseconds(300))
            let rule = faults.arm(fault, on: function)
            let code = try await errorCode {
                _ = try await function == .encrypt
                    ? impatient.wrap(SecretBytes([1]), key: "root").blob : impatient.unwrap(blob).plaintext.exposed()
            }
            #expect([.server(.tokenUnavailable), .server(.deadlineExceeded), .deadlineExceeded].contains(code), "\(String(describing: code))")
            rule.clear()
            await impatient.shutdown()
            try await served(client, blob)
            #expect(try await client.unwrap(blob).plaintext.exposed() == [1, 2, 3])
        }
    }

    /// The same code stands for a wrong tag and for a broken token. A caller must not be told that its blob is bad when the
    /// token is.
    @Test func aBrokenTokenIsNotTakenForABadBlob() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        try await daemon.withClient { client in
            let blob = try await client.wrap(SecretBytes([1]), key: "root").blob
            let impatient = daemon.client(deadline: .milliseconds(300))
            let rule = faults.arm(.returns(.generalError), on: .decrypt)
            for _ in 0..<5 {
                // Successes of another kind say nothing of it.
                _ = try? await impatient.wrap(SecretBytes([1]), key: "root")
                #expect(try await errorCode { try await impatient.unwrap(blob) } != .server(.decryptionFailed))
            }
            await impatient.shutdown()
            rule.clear()
            try await served(client, blob)
            // And a bad blob is not taken for a broken token.
            let losses = try await client.status().token.health.losses
            var bad = blob
            bad[bad.count - 1] ^= 1
            for _ in 0..<5 { await expectError(.server(.decryptionFailed)) { try await client.unwrap(bad) } }
            #expect(try await client.status().token.health.losses == losses)
        }
    }

    /// What is asked again and again by monitors must not cost the token anything.
    @Test func statusAsksTheTokenForNothing() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(keys: "look-interval-ms = 60000", faults: faults)
        try await daemon.withClient { client in
            _ = try await client.wrap(SecretBytes([1]), key: "root")
            // The notary looks for its key now and then; in between nobody asks the token for anything.
            try await eventually("a token that is left alone") {
                let before = faults.calls
                for _ in 0..<100 { _ = try await client.status() }
                return faults.calls == before
            }
        }
    }
}

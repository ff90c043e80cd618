import Foundation
import PKCS11
import Synchronization
import TestSupport
import Testing

@testable import Custody

/// Start, overload, deadlines, a wrong PIN, the end.
@Suite struct CustodianLifeTests {
    private let operation = Custody.Operation.wrap(key: "root", plaintext: secret([1]), context: .empty)

    /// Counts answers by request, so that one that is missing and one that comes twice both show.
    private final class Answers: Sendable {
        private let byRequest = Mutex<[Int: [CustodyError.Code?]]>([:])

        func submit(_ request: CustodyRequest, _ number: Int, to vault: Vault) {
            vault.custodian.submit(request) { reply in
                self.byRequest.withLock { answers in
                    for result in reply {
                        if case .failure(let error) = result { answers[number, default: []].append(error.code) } else { answers[number, default: []].append(nil) }
                    }
                }
            }
        }

        var all: [Int: [CustodyError.Code?]] { byRequest.withLock { $0 } }
    }

    @Test func fullQueueIsSaidAtOnceAndWhatWaitsIsServed() async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in _ = try RootKeyTemplate(id: KeyID(newFor: 1).bytes).generate(session) }
            let vault = try Vault(token, queueLimit: 3)
            let answers = Answers()
            // No worker yet: the queue fills up.
            vault.custodian.startClerk()
            // One user has half of the places.
            for number in 0..<4 { answers.submit(vault.request([operation]), number, to: vault) }
            #expect(answers.all == [2: [.overloaded], 3: [.overloaded]])
            #expect(await vault.code(.status) == nil, "status does not wait for the HSM")
            #expect(await vault.code(operation, by: .stranger) == .denied, "nor does whom no grant names take a place in the queue")
            vault.custodian.startToken()
            try await eventually("all answers") { answers.all.count == 4 }
            try await vault.waitUntilReady()
            #expect(await vault.code(operation) == nil)
            await vault.stop()
            #expect(answers.all.values.allSatisfy { $0.count == 1 })
        }
    }

    @Test func passedDeadlineIsAnsweredWithoutTheHSM() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let answers = Answers()
                for number in 0..<20 { answers.submit(vault.request([operation], within: .zero), number, to: vault) }
                try await eventually("all answers") { answers.all.count == 20 }
                #expect(answers.all.values.allSatisfy { $0 == [.deadlineExceeded] })
                #expect(try vault.auditLines().filter { $0.contains("deadline-exceeded") }.count == 20)
                #expect(await vault.code(operation) == nil)
            }
        }
    }

    @Test(arguments: [1, 4]) func shutdownAnswersEverythingOnceAndFinalises(_ workers: Int) async throws {
        try await SoftHSM.withToken { token in
            try token.withSession { session in _ = try RootKeyTemplate(id: KeyID(newFor: 1).bytes).generate(session) }
            let answers = Answers()
            let vault = try Vault(token, workers: workers)
            vault.custodian.start()
            try await vault.waitUntilReady()
            for number in 0..<500 { answers.submit(vault.request([operation]), number, to: vault) }
            await vault.stop()
            #expect(answers.all.count == 500)
            #expect(answers.all.values.allSatisfy { $0 == [nil] || $0 == [.shuttingDown] })
            #expect(await vault.code(operation) == .shuttingDown)
            // C_Initialize would refuse if it were not finalised.
            try token.withModule { #expect($0.isFinalized == false) }
        }
    }

    @Test func stopWithoutATokenReturns() async throws {
        try await SoftHSM.withToken { token in
            let vault = try Vault(token, module: "/nonexistent/libhsm.so")
            vault.custodian.start()
            try await eventually("the failure") { vault.custodian.tokenState.name == "unavailable" }
            #expect(await vault.code(operation) == .tokenUnavailable)
            await vault.stop()
            #expect(await vault.code(operation) == .shuttingDown)
        }
    }

    /// What is wrong for good is not called late: the caller would try it again.
    @Test func aLateBatchStillSaysWhatIsWrongWithItsOperations() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let answers = Answers()
                let tooLong = Custody.Operation.wrap(key: "root", plaintext: secret([UInt8](repeating: 1, count: 65_537)), context: .empty)
                let operations = [operation, tooLong, .unwrap(blob: [1], context: .empty)]
                for number in 0..<20 { answers.submit(vault.request(operations, within: .zero), number, to: vault) }
                try await eventually("all answers") { answers.all.count == 20 }
                #expect(answers.all.values.allSatisfy { $0 == [.deadlineExceeded, .payloadTooLarge, .malformedBlob] })
            }
        }
    }

    @Test func theWorkOfACallerWhoHasLeftIsNotDone() async throws {
        try await SoftHSM.withToken { token in
            try await token.withVault { vault in
                let presence = CallerPresence()
                let answers = Answers()
                presence.leave()
                answers.submit(vault.request([operation, operation], caller: presence), 1, to: vault)
                try await eventually("the end of the request") { !answers.all.isEmpty }
                #expect(answers.all == [1: [.internalError, .internalError]])
                #expect(try vault.auditLines().isEmpty, "nothing was decided")
            }
        }
    }

    @Test func wrongPINIsTriedOnceOnly() async throws {
        try await SoftHSM.withToken { token in
            let spy = try PKCS11Spy.forThisProcess()
            let pin = try token.directory.write("wrong-pin", "wrong-73591846\n")
            let vault = try Vault(token, module: spy.modulePath, pinFile: pin, lookInterval: .milliseconds(50))
            vault.custodian.start()
            try await eventually("a locked state") { vault.custodian.tokenState.name == "locked" }
            for _ in 0..<50 { #expect(await vault.code(operation) == .tokenLocked) }
            guard case .status(let report) = try await vault.answer(.status), case .locked(let error) = report.token.state else {
                throw Succeeded()
            }
            #expect(error.cause?.contains("C_Login returned CKR_PIN_INCORRECT") == true)
            #expect(!"\(error)".contains("73591846"))
            await vault.stop()
            #expect(try spy.calls(of: "C_Login") == 1)
            #expect(try !vault.auditLines().joined().contains("73591846"))
        }
    }

    @Test func unreadablePINFileLocksWithoutAnAttempt() async throws {
        try await SoftHSM.withToken { token in
            let spy = try PKCS11Spy.forThisProcess()
            let pin = try token.directory.write("open-pin", SoftHSMToken.userPIN, mode: 0o644)
            let vault = try Vault(token, module: spy.modulePath, pinFile: pin)
            vault.custodian.start()
            try await eventually("a locked state") { vault.custodian.tokenState.name == "locked" }
            await vault.stop()
            #expect(try spy.calls(of: "C_Login") == 0)
        }
    }
}

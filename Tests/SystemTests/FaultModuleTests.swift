import CustodyClient
import Foundation
import PKCS11
import SecureMemory
import Synchronization
import TestSupport
import Testing

/// What the fault module is told to do is what a caller of PKCS#11 sees.
struct FaultModuleTests {
    /// Lends the fault module over a token, with a session in which the user is logged in.
    private func withSession(_ body: (FaultModule, Module, borrowing Session) throws -> Void) async throws {
        try await SoftHSM.withToken { token in
            let faults = try FaultModule.forThisProcess()
            try SoftHSMToken.withModule(faults.modulePath) { module in
                defer { faults.clear() }
                let session = try module.openSession(try module.token(matching: token.uri).slot, readWrite: true)
                try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
                try body(faults, module, session)
            }
        }
    }

    private func key(_ session: borrowing Session) throws -> ObjectHandle {
        try session.generateKey(.aesKeyGeneration, [
            .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.encrypt, true),
            .bool(.decrypt, true),
        ])
    }

    private func encrypt(_ session: borrowing Session, _ key: ObjectHandle) throws -> [UInt8] {
        let nonce = [UInt8](repeating: 1, count: 12)
        let text = [UInt8](repeating: 2, count: 32)
        var output: [UInt8] = []
        try session.encryptGCM(key, nonce: nonce.span.bytes, aad: nonce.span.bytes, plaintext: text.span.bytes, appendingTo: &output)
        return output
    }

    private func value(_ body: () throws -> Void) -> ReturnValue {
        do { try body() } catch { return (error as? PKCS11Error)?.returnValue ?? .generalError }
        return .ok
    }

    @Test func returnsACodeAtTheNthCall() async throws {
        try await withSession { faults, module, session in
            let before = faults.calls(of: .generateRandom)
            let rule = faults.arm(.returns(.deviceError), on: .generateRandom, from: 2, times: 2)
            let other = faults.arm(.returns(.hostMemory), on: .sign)
            let values = (0..<4).map { _ in value { _ = try session.random(count: 4) } }
            #expect(values == [.ok, .deviceError, .deviceError, .ok])
            #expect((rule.hits, other.hits) == (2, 0))
            #expect(faults.calls(of: .generateRandom) - before == 4)
            #expect(faults.inside(of: .generateRandom) == 0)
            faults.arm(.returns(.deviceRemoved), on: nil)
            #expect(value { _ = try session.random(count: 4) } == .deviceRemoved)
            faults.clear()
            #expect(value { _ = try session.random(count: 4) } == .ok)
        }
    }

    @Test func losesTheAnswerOfADeedThatIsDone() async throws {
        try await withSession { faults, module, session in
            let open = faults.openSessions
            faults.arm(.returnsAfter(.functionFailed), on: .openSession, times: 1)
            #expect(value { _ = try module.openSession(session.slot, readWrite: false) } == .functionFailed)
            #expect(faults.openSessions == open + 1)
            let another = try module.openSession(session.slot, readWrite: false)
            #expect(faults.openSessions == open + 2)
            _ = consume another
            #expect(faults.openSessions == open + 1)
        }
    }

    @Test func appliesAtRandom() async throws {
        try await withSession { faults, module, session in
            let rule = faults.arm(.returns(.deviceError), on: .generateRandom, probability: 0.5)
            let refused = (0..<2_000).count { _ in value { _ = try session.random(count: 4) } == .deviceError }
            #expect(refused == rule.hits)
            #expect((500...1_500).contains(refused))
        }
    }

    @Test func hangsUntilItIsLetGo() async throws {
        for code in [nil, ReturnValue.deviceError] {
            try await withSession { faults, module, session in
                let rule = faults.arm(.hangs(then: code), on: .getInfo)
                let answer = Mutex<ReturnValue?>(nil)
                let ended = DispatchSemaphore(value: 0)
                Thread.detachNewThread {
                    let value = value { _ = try module.info() }
                    answer.withLock { $0 = value }
                    ended.signal()
                }
                while rule.held == 0 { usleep(1_000) }
                #expect(faults.inside(of: .getInfo) == 1)
                // Nobody else is held up.
                #expect(value { _ = try session.random(count: 4) } == .ok)
                #expect(answer.withLock { $0 } == nil)
                rule.clear()
                ended.wait()
                #expect(answer.withLock { $0 } == code ?? .ok)
                #expect((rule.held, faults.inside(of: .getInfo)) == (0, 0))
            }
        }
    }

    @Test func isLate() async throws {
        try await withSession { faults, module, session in
            faults.arm(.delays(milliseconds: 50), on: .generateRandom)
            let start = ContinuousClock.now
            #expect(value { _ = try session.random(count: 4) } == .ok)
            #expect(start.duration(to: .now) >= .milliseconds(50))
        }
    }

    @Test func losesSessionsAndLogins() async throws {
        try await withSession { faults, module, session in
            let key = try key(session)
            faults.arm(.losesLogin(), on: .encryptInit, times: 1)
            #expect(value { _ = try encrypt(session, key) } != .ok)
            #expect(try !session.isUserLoggedIn())
            try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
            faults.arm(.losesSessions(), on: .generateRandom, times: 1)
            #expect(value { _ = try session.random(count: 4) } == .sessionHandleInvalid)
            #expect(faults.openSessions == 0)
            let another = try module.openSession(session.slot, readWrite: true)
            #expect(try !another.isUserLoggedIn())
        }
    }

    @Test func spoilsWhatTheTokenGives() async throws {
        try await withSession { faults, module, session in
            let key = try key(session)
            let right = try encrypt(session, key)
            faults.arm(.shortOutput(by: 3), on: .encrypt, times: 1)
            #expect(throws: PKCS11Error.self) { _ = try encrypt(session, key) }
            faults.arm(.wrongOutput(at: 5), on: .encrypt, times: 1)
            let wrong = try encrypt(session, key)
            #expect(zip(right, wrong).enumerated().filter { $1.0 != $1.1 }.map(\.offset) == [5])
            faults.arm(.longOutput(by: 1), on: .encrypt, times: 1)
            #expect(throws: PKCS11Error.self) { _ = try encrypt(session, key) }
            #expect(try encrypt(session, key) == right)

            let flags = try module.tokenInfo(session.slot)
            #expect(!flags.isUserPINFinalTry && !flags.isUserPINLocked)
            faults.arm(.tokenFlags([.userPINFinalTry, .userPINLocked]), on: .getTokenInfo)
            let spoilt = try module.tokenInfo(session.slot)
            #expect(spoilt.isUserPINFinalTry && spoilt.isUserPINLocked)
            #expect(spoilt.label == flags.label)

            faults.arm(.wrongOutput(at: 0), on: .getAttributeValue, times: 1)
            #expect(try session.attributes(of: key, [.encrypt]).bytes(.encrypt) == [0x11])
            faults.arm(.wrongOutput(at: 0), on: .openSession, times: 1)
            let nothing = try module.openSession(session.slot, readWrite: false)
            #expect(value { _ = try nothing.random(count: 4) } == .sessionHandleInvalid)
        }
    }

    @Test func countsLogins() async throws {
        try await withSession { faults, module, session in
            try session.logout()
            let before = faults.logins
            #expect(value { try session.login(.user, pin: SoftHSMToken.secret("wrong")) } == .pinIncorrect)
            #expect((faults.logins - before, faults.refusedLogins, faults.loginsAfterRefusal) == (1, 1, 0))
            try session.login(.user, pin: SoftHSMToken.secret(SoftHSMToken.userPIN))
            #expect((faults.logins - before, faults.refusedLogins, faults.loginsAfterRefusal) == (2, 1, 1))
            faults.resetLogins()
            #expect((faults.refusedLogins, faults.loginsAfterRefusal) == (0, 0))
        }
    }

    @Test func isAReaderWithOneSlot() async throws {
        try await SoftHSM.withToken(label: "first") { token in
            try await token.initialize(label: "second")
            let faults = try FaultModule.forThisProcess()
            faults.insert(label: "first")
            defer { faults.remove() }
            try SoftHSMToken.withModule(faults.modulePath) { module in
                let slots = try module.slots(withToken: true)
                #expect(slots.count == 1)
                let slot = slots[0]
                #expect(try module.tokenInfo(slot).label == "first")
                let session = try module.openSession(slot, readWrite: false)
                #expect(value { _ = try session.random(count: 4) } == .ok)

                faults.remove()
                #expect(value { _ = try session.random(count: 4) } == .deviceRemoved)
                #expect(value { _ = try module.tokenInfo(slot) } == .tokenNotPresent)
                #expect(value { _ = try module.openSession(slot, readWrite: false) } == .tokenNotPresent)
                #expect(try module.slots(withToken: true).isEmpty)
                #expect(try module.slots(withToken: false) == slots)
                #expect(try !module.slotInfo(slot).isTokenPresent)
                #expect(faults.openSessions == 0)

                faults.insert(label: "second")
                #expect(value { _ = try session.random(count: 4) } == .sessionHandleInvalid)
                #expect(try module.tokenInfo(slot).label == "second")
                #expect(try module.slotInfo(slot).isTokenPresent)
                #expect(value { _ = try module.openSession(slot, readWrite: false) } == .ok)
            }
        }
    }

    @Test(arguments: [SIGKILL, SIGSEGV, SIGABRT])
    func crashesTheProcess(signal: Int32) async throws {
        let faults = try FaultModule()
        let token = try await SoftHSMToken()
        faults.arm(.crashes(signal: signal), on: .getTokenInfo)
        let result = try await run(
            "custodyctl", arguments: ["token", "show", "--module", faults.modulePath, "--token", "\(token.uri)"],
            environment: token.environment.merging(faults.environment) { first, _ in first })
        #expect(result.status == .signalled(signal))
    }

    @Test func outlivesADaemonThatIsKilled() async throws {
        let faults = try FaultModule()
        let daemon = try await RunningDaemon.start(faults: faults)
        _ = try await daemon.withClient { try await $0.wrap(SoftHSMToken.secret("text"), key: "root") }
        let open = faults.openSessions
        #expect(open >= 2 && faults.mostSessions >= open)
        #expect(faults.calls(of: .encrypt) >= 1)
        daemon.process.signal(SIGKILL)
        try await daemon.process.end()
        #expect(faults.openSessions == 0)
        let again = try await daemon.again()
        #expect(faults.openSessions >= 1)
        again.process.signal(SIGTERM)
        try await again.process.end()
        #expect(faults.openSessions == 0)
    }
}

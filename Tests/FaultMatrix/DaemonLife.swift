import CustodyClient
import Foundation
import PKCS11
import TestSupport

/// A daemon's life in which it does all that it ever does, to learn which functions of PKCS#11 it calls.
public enum DaemonLife {
    /// What is wrong with ``CalledFunctions/byDaemon``.
    public static func undeclaredCalls() async throws -> [String] {
        let stand = try await Stand()
        _ = try await stand.stop()
        let before = stand.faults.calls
        // A new log has its first anchor, and the next checkpoint another.
        try stand.beginNewLog()
        try await stand.start()
        try await stand.settle()
        let anchors = stand.faults.calls(of: .setAttributeValue)
        try await eventually("an anchor that is renewed") {
            await stand.traffic[0].round()
            return stand.faults.calls(of: .setAttributeValue) > anchors
        }
        try await stand.correctPIN()
        // A session is lost, a ciphertext is doubtful, and the connection is lost.
        for (fault, function) in [
            (InjectedFault.returns(.sessionHandleInvalid), Function.generateRandom), (.returns(.generalError), .decrypt),
            (.returns(.deviceRemoved), .generateRandom),
        ] {
            let rule = stand.faults.arm(fault, on: function, times: 1)
            try await eventually("a call of \(function.rawValue)") {
                await stand.traffic[0].round()
                return rule.hits > 0
            }
            try await eventually("service") { await stand.traffic[0].isServed() }
        }
        try await stand.settle()
        stand.faults.clear()
        let problems = try await stand.stop()
        let called = Set(stand.faults.calls.filter { $0.value > before[$0.key] ?? 0 }.keys)
        await stand.finish()
        let declared = Set(CalledFunctions.byDaemon.map(\.rawValue))
        return problems
            + called.subtracting(declared).sorted().map { "custodyd calls \($0), which the matrix does not know" }
            + declared.subtracting(called).sorted().map { "custodyd does not call \($0), which the matrix has cells for" }
    }
}

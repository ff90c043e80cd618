import FaultControl
import Foundation
import PKCS11

/// A PKCS#11 module that stands between programs and SoftHSM, counts their calls and spoils what it is told to spoil.
///
/// Programs find it by ``modulePath`` and ``environment``. Its counters and rules are in a file that the test and all the
/// programs map: they outlive a program that crashes, and several may share one.
// Unchecked: everything behind the pointer is atomic.
public final class FaultModule: @unchecked Sendable {
    public let modulePath: String
    public let environment: [String: String]
    let control: UnsafeMutablePointer<fault_control>
    private let directory: TemporaryDirectory

    /// - Parameter real: The module behind it; SoftHSM's if nil.
    public init(real: String? = nil) throws {
        directory = try TemporaryDirectory()
        modulePath = Products.directory + "/libcustody-fault-module.so"
        guard FileManager.default.isReadableFile(atPath: modulePath) else {
            throw NotInstalled(description: "there is no \(modulePath); run `swift build --build-tests`")
        }
        let file = directory.file("faults")
        guard let control = fault_control_create(file) else { throw POSIXFailure(file) }
        self.control = control
        environment = ["CUSTODY_FAULT_MODULE": try real ?? SoftHSM.modulePath(), "CUSTODY_FAULT_CONTROL": file]
    }

    deinit { fault_control_close(control) }

    private static let shared: Result<FaultModule, any Error> = Result {
        let module = try FaultModule()
        module.directory.removeAtExit()
        // Once per process, for the same reason as SoftHSM's configuration.
        for (name, value) in module.environment { setenv(name, value, 1) }
        return module
    }

    /// The one that this process can load, with no rule and an empty slot forgotten; to be used while holding SoftHSM's token.
    public static func forThisProcess() throws -> FaultModule {
        let module = try shared.get()
        module.clear()
        module.resetLogins()
        fault_remove_reader(module.control)
        return module
    }

    // MARK: Rules

    /// Arms a rule; it holds until it is cleared or has hit so many times.
    ///
    /// - Parameters:
    ///   - function: nil for any.
    ///   - first: The first call that it applies to, counted from now on.
    ///   - times: How many calls it applies to; nil for all.
    ///   - probability: Of applying to a call.
    @discardableResult
    public func arm(
        _ fault: InjectedFault, on function: Function?, from first: Int = 1, times: Int? = nil, probability: Double = 1
    ) -> FaultRule {
        let (action, parameter) = fault.encoded
        let number = fault_arm(
            control, function.map(Self.number) ?? UInt32.max, action.rawValue, parameter, UInt64(first), UInt64(times ?? 0),
            probability >= 1 ? 0 : UInt32(max(1, probability * 65_536)))
        precondition(number >= 0, "more rules are armed than there is room for")
        return FaultRule(module: self, number: number)
    }

    /// Clears all rules.
    public func clear() { for number in 0..<Int32(FAULT_RULES) { fault_clear(control, number) } }

    // MARK: Counts

    /// How often a function was called.
    public func calls(of function: Function) -> Int { Int(fault_calls(control, Self.number(function))) }

    /// How many calls of it are under way; also those in which a process was killed.
    public func inside(of function: Function) -> Int { Int(fault_inside(control, Self.number(function))) }

    /// The calls of every function of the standard that was called.
    public var calls: [String: Int] {
        var counts: [String: Int] = [:]
        for number in 0..<UInt32(FAULT_FUNCTIONS.rawValue) {
            let count = Int(fault_calls(control, number))
            if count > 0 { counts[String(cString: fault_function_name(number))] = count }
        }
        return counts
    }

    /// How many sessions are open, of all processes that live.
    public var openSessions: Int { Int(fault_sessions(control)) }
    /// The most that one process had open.
    public var mostSessions: Int { Int(fault_sessions_high(control)) }

    public var logins: Int { Int(fault_logins(control)) }
    /// Logins answered with a PIN error since ``resetLogins()``.
    public var refusedLogins: Int { Int(fault_refused_logins(control)) }
    /// Logins tried after such an answer.
    public var loginsAfterRefusal: Int { Int(fault_logins_after_refusal(control)) }
    /// Says that an operator has acted.
    public func resetLogins() { fault_reset_logins(control) }

    // MARK: The reader

    /// From now on the module has one slot, and in it is the token of this label.
    ///
    /// A process that uses the token in the slot loses its sessions at its next call.
    public func insert(label: String) { fault_insert(control, label) }

    /// Takes the token out of the slot.
    public func remove() { fault_insert(control, nil) }

    static func number(_ function: Function) -> UInt32 { fault_function_named(function.rawValue) }
}

/// A rule that was armed.
public struct FaultRule: Sendable {
    let module: FaultModule
    let number: Int32

    /// How many calls it was applied to.
    public var hits: Int { Int(fault_hits(module.control, number)) }

    /// How many calls it is being applied to now, such as those that hang.
    public var held: Int { Int(fault_held(module.control, number)) }

    /// Ends it; calls that hang in it go on. Afterwards it is applied to none.
    public func clear() { fault_clear(module.control, number) }
}

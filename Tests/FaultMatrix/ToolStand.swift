import Foundation
import PKCS11
import TestSupport

/// A token without a daemon, behind the fault module, on which custodyctl is run.
final class ToolStand {
    private let token: SoftHSMToken
    private let faults: FaultModule
    private var names = 0

    init() async throws {
        faults = try FaultModule()
        token = try await SoftHSMToken()
        try RunningDaemon.configure(token, uri: "pkcs11:token=\(token.label)", faults: faults)
        let made = try await custodyctl(["key", "generate", "root"])
        guard made.status == .exited(0) else { throw UnexpectedResult(made) }
    }

    private func custodyctl(_ arguments: [String]) async throws -> ProcessResult {
        try await TestSupport.run("custodyctl", arguments: arguments + ["--config", token.directory.file("custody.toml")])
    }

    /// What calls the function, and must not succeed without it.
    private func command(calling function: Function) async throws -> [String] {
        names += 1
        let name = "cell-\(names)"
        func withKey(_ arguments: [String]) async throws -> [String] {
            let made = try await custodyctl(["key", "generate", name])
            guard made.status == .exited(0) else { throw UnexpectedResult(made) }
            return arguments
        }
        let soPIN = ["--so-pin-file", token.soPINFile]
        return switch function {
        case .getInfo, .getMechanismList: ["doctor"]
        case .getSlotInfo: ["slot", "list"]
        case .initToken: ["token", "init", "--label", name, "--pin-file", token.pinFile] + soPIN
        case .initPIN: ["token", "set-pin", "--new-pin-file", token.pinFile] + soPIN
        case .setPIN: ["token", "set-pin", "--new-pin-file", token.pinFile]
        case .generateKey: ["key", "generate", name]
        case .createObject: try await withKey(["key", "destroy", name, "--all", "--days", "14", "--yes-i-understand", name])
        case .setAttributeValue: try await withKey(["key", "disable", name, "--all"])
        case .destroyObject: try await withKey(["key", "destroy", name, "--all", "--now", "--yes-i-understand", name])
        case .signInit, .sign: ["audit", "init", "--rotate"]
        default: ["key", "list"]
        }
    }

    /// What a command must do about it.
    private enum Demand {
        /// End with an error that names the function and what it returned.
        case fails
        /// End with an error, of this call or of the next, which it has spoilt.
        case failsSoon
        /// Name them.
        case names
        /// Not crash.
        case nothing
    }

    private static func demand(_ function: Function, _ trouble: Trouble) -> Demand {
        switch (function, trouble.name) {
        // What is let go at the end matters to nobody.
        case (.finalize, _), (.closeSession, _): .nothing
        // A list that is missing is a warning, since the trials count.
        case (.getMechanismList, _): .names
        // What the token withholds is not there; and a key may go while it is looked at.
        case (.getAttributeValue, "CKR_ATTRIBUTE_SENSITIVE"), (.getAttributeValue, "CKR_ATTRIBUTE_TYPE_INVALID"),
            (.getAttributeValue, "CKR_BUFFER_TOO_SMALL"), (.getAttributeValue, "CKR_OBJECT_HANDLE_INVALID"),
            (.getAttributeValue, "CKR_KEY_HANDLE_INVALID"):
            .nothing
        // A search of dates goes without an answer; the next one meets the search that was not ended.
        case (.findObjectsFinal, _): .failsSoon
        // It is as good as a login, until the session says that nobody is logged in.
        case (.login, "CKR_USER_ALREADY_LOGGED_IN"): .nothing
        default: .fails
        }
    }

    func run(_ cell: Cell) async -> CellResult {
        var result = CellResult(cell)
        do {
            guard let function = cell.function, let fault = cell.trouble.fault else { return result }
            let arguments = try await command(calling: function)
            let logins = faults.logins
            let rule = faults.arm(fault, on: function)
            let failed = try await custodyctl(arguments)
            rule.clear()
            if rule.hits == 0 { result.problems.append("`custodyctl \(arguments.joined(separator: " "))` does not call it") }
            let said = failed.output + failed.errors
            let demand = Self.demand(function, cell.trouble)
            switch failed.status {
            case .exited(0): if demand == .fails || demand == .failsSoon { result.problems.append("custodyctl says that all is well") }
            case .exited: result.errors = 1
            case .signalled(let signal): result.problems.append("custodyctl was ended by signal \(signal)")
            }
            for part in [function.rawValue, cell.trouble.name] where (demand == .fails || demand == .names) && !said.contains(part) {
                result.problems.append("custodyctl does not name \(part): \(said.prefix(300))")
            }
            if Expectation(cell).locks, faults.logins - logins > 1 {
                result.problems.append("\(faults.logins - logins) logins")
            }
            let again = try await custodyctl(arguments)
            if again.status != .exited(0) { result.problems.append("the second time: \(again.status) \(again.errors.prefix(300))") }
        } catch {
            result.problems.append("\(error)")
        }
        faults.clear()
        return result
    }
}

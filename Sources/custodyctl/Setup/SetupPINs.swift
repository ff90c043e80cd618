import Custody
import Foundation
import SecureMemory
import ToolSupport

/// The PINs that `setup` deals with: the user's, which systemd keeps for the daemon, and the security officer's.
final class SetupPINs {
    static let officerFile = "/etc/custody/so.pin"

    private let plan: SetupPlan
    private let host = HostFiles()
    private var known: SecretBytes?

    init(_ plan: SetupPlan) { self.plan = plan }

    /// Whether systemd keeps one already.
    func isKept() throws(ToolError) -> Bool { try host.isFile(SetupPlan.credentialFile) }

    /// The PIN that is kept for the daemon.
    func kept() throws -> SecretBytes {
        if let known { return known }
        let bytes = try HostCommand("systemd-creds", "decrypt", "--name=\(SetupPlan.credential)", SetupPlan.credentialFile, "-").succeed()
        defer { bytes.zeroize() }
        let pin = SecretBytes(bytes)
        known = pin
        return pin
    }

    /// Refuses a `--pin-file` that says something else than what is kept: it would not be used.
    func checkThatKeptIsMeant() throws {
        guard let file = plan.pinFile, geteuid() == 0, try !PINSource(path: file).read().isEqual(to: kept()) else { return }
        throw ToolError(
            "pin-differs",
            "\(SetupPlan.credentialFile) is there and holds another PIN than \(file): remove it, if the one in \(file) is the token's")
    }

    /// Has systemd keep the PIN.
    func keep(_ pin: SecretBytes) throws {
        let encrypted = try HostCommand("systemd-creds", "encrypt", "--name=\(SetupPlan.credential)", "-", "-").succeed(input: pin)
        try host.write(SecretBytes(encrypted), to: SetupPlan.credentialFile, mode: 0o600, group: "root")
        known = pin
    }

    /// The PIN to keep.
    ///
    /// - Parameter isNew: The token is not initialised: it gets whatever PIN it is given.
    func choose(isNew: Bool) throws -> SecretBytes {
        if let file = plan.pinFile { return try PINSource(path: file).read() }
        if isNew { return Self.random() }
        guard plan.mayAsk, let pin = try Terminal.secret("user PIN of token '\(plan.label)': ") else {
            throw ToolError(
                "pin-unavailable", "the token '\(plan.label)' is there already: give its user PIN with --pin-file",
                exit: ToolExit.configuration)
        }
        return pin
    }

    /// The security officer's PIN, and what to say about it. One that is made here stays on this host until an operator takes it
    /// away: without it nobody unlocks a PIN.
    func officer() throws -> (SecretBytes, remark: String) {
        if plan.securityOfficer.isGiven { return (try plan.securityOfficer.read(), "") }
        if try !host.isFile(Self.officerFile) {
            let pin = Self.random()
            try host.write(pin, to: Self.officerFile, mode: 0o400, group: "root")
        }
        return (
            try PINSource(path: Self.officerFile).read(),
            "; the security officer's PIN is in \(Self.officerFile): TAKE IT AWAY to a safe place"
        )
    }

    /// 100 bits, of letters and digits that nobody mistakes for others.
    private static func random() -> SecretBytes {
        let letters = Array("abcdefghijkmnpqrstuvwxyz23456789".utf8)
        let bytes = (0..<20).map { _ in letters[Int.random(in: 0..<letters.count)] }
        defer { bytes.zeroize() }
        return SecretBytes(bytes)
    }
}

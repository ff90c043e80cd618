import Foundation
import SecureMemory
import ToolSupport

/// Files that `setup` writes.
struct HostFiles {
    /// Writes a whole file or none.
    ///
    /// - Parameter group: Whose members may read it, if the mode says so; root owns it.
    func write(_ text: String, to path: String, mode: mode_t, group: String) throws(ToolError) {
        try write(SecretBytes(Array(text.utf8)), to: path, mode: mode, group: group)
    }

    /// The same, of a secret.
    func write(_ content: SecretBytes, to path: String, mode: mode_t, group: String) throws(ToolError) {
        guard let entry = getgrnam(group) else { throw ToolError("failed", "there is no group '\(group)'") }
        let temporary = "\(path).new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.failed(path) }
        defer { close(descriptor) }
        guard Self.put(content, descriptor), fchown(descriptor, 0, entry.pointee.gr_gid) == 0, fchmod(descriptor, mode) == 0,
            fsync(descriptor) == 0, rename(temporary, path) == 0
        else {
            let error = Self.failed(path)
            unlink(temporary)
            throw error
        }
    }

    private static let loanFolder = "/run"
    private static let loanPrefix = "custodyctl-setup."

    /// Lends the daemon's user a file in memory that holds a secret, for a command that needs two PINs; it is removed afterwards,
    /// whatever happens, also if somebody wants this process to end meanwhile.
    func lending<R>(_ secret: SecretBytes, to body: (String) throws -> R) throws -> R {
        var (blocked, before) = (sigset_t(), sigset_t())
        sigemptyset(&blocked)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { sigaddset(&blocked, signal) }
        pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let path = try lend(secret)
        defer { unlink(path) }
        return try body(path)
    }

    /// Removes what an earlier run left that was killed.
    func removeLoans() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: Self.loanFolder)) ?? [] where name.hasPrefix(Self.loanPrefix) {
            unlink("\(Self.loanFolder)/\(name)")
        }
    }

    private func lend(_ secret: SecretBytes) throws(ToolError) -> String {
        guard let user = getpwnam(SetupPlan.daemonUser) else {
            throw ToolError("failed", "there is no user '\(SetupPlan.daemonUser)'")
        }
        let (uid, gid) = (user.pointee.pw_uid, user.pointee.pw_gid)
        var template = Array("\(Self.loanFolder)/\(Self.loanPrefix)XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw Self.failed(Self.loanFolder) }
        defer { close(descriptor) }
        let path = String(decoding: template.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        guard Self.put(secret, descriptor), fchown(descriptor, uid, gid) == 0 else {
            let error = Self.failed(path)
            unlink(path)
            throw error
        }
        return path
    }

    private static func put(_ secret: SecretBytes, _ descriptor: Int32) -> Bool {
        secret.withBytes { span in span.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count } }
    }

    private static func failed(_ path: String) -> ToolError {
        ToolError("output-failed", "can't write \(path): \(String(cString: strerror(errno)))")
    }
}

import Custody
import Foundation
import SecureMemory
import ToolSupport

/// Files that `setup` writes.
struct HostFiles {
    /// Writes a whole file or none.
    ///
    /// - Parameter group: Whose members may read it, if the mode says so; root owns it.
    func write(_ text: String, to path: String, mode: mode_t, group: String) throws(ToolError) {
        let temporary = "\(path).new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        func failed() -> ToolError { ToolError("output-failed", "can't write \(path): \(String(cString: strerror(errno)))") }
        guard descriptor >= 0 else { throw failed() }
        defer { close(descriptor) }
        guard let entry = getgrnam(group) else { throw ToolError("failed", "there is no group '\(group)'") }
        let bytes = Array(text.utf8)
        let isWritten = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
        guard isWritten, fchown(descriptor, 0, entry.pointee.gr_gid) == 0, fchmod(descriptor, mode) == 0, fsync(descriptor) == 0,
            rename(temporary, path) == 0
        else {
            let error = failed()
            unlink(temporary)
            throw error
        }
    }

    /// A file in memory that only the daemon's user can read, for a command that needs two PINs. The caller removes it.
    func lend(_ secret: SecretBytes) throws(ToolError) -> String {
        guard let user = getpwnam(SetupPlan.daemonUser) else { throw ToolError("failed", "there is no user '\(SetupPlan.daemonUser)'") }
        var template = Array("/run/custodyctl-setup.XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        func failed() -> ToolError { ToolError("output-failed", "can't write a file in /run: \(String(cString: strerror(errno)))") }
        guard descriptor >= 0 else { throw failed() }
        defer { close(descriptor) }
        let path = String(decoding: template.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let isWritten = secret.withBytes { span in span.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count } }
        guard isWritten, fchown(descriptor, user.pointee.pw_uid, user.pointee.pw_gid) == 0 else {
            let error = failed()
            unlink(path)
            throw error
        }
        return path
    }
}

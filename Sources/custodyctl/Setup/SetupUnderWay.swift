import Custody
import Foundation
import SecureMemory
import ToolSupport

/// That a set-up is under way: one at a time, and the secrets that it lends to commands meanwhile.
final class SetupUnderWay {
    private static let parent = "/run"
    private static let name = "custodyctl-setup"
    private let folder: TrustedFolder

    /// - Throws: ``ToolError`` with `busy` if another one is under way.
    init() throws(ToolError) {
        do throws(FileFailure) {
            folder = try TrustedFolder(Self.parent, .shared, trust: FileTrust(user: 0)).openOrMake(Self.name, owner: nil)
        } catch {
            throw HostFiles.refused(error)
        }
        guard flock(folder.descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw ToolError(
                "busy", "another `custodyctl setup` is under way on this host; wait for its end and run this again", exit: ToolExit.busy)
        }
        // Commands run as the daemon's user find their file by its name; nobody sees which there are.
        guard fchmod(folder.descriptor, 0o711) == 0 else {
            throw ToolError("output-failed", "can't set the mode of \(folder.path): \(String(cString: strerror(errno)))")
        }
        // What an earlier run left that was killed: nobody else is at work now.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] { unlinkat(folder.descriptor, name, 0) }
    }

    deinit { flock(folder.descriptor, LOCK_UN) }

    /// Lends the daemon's user a file in memory that holds a secret, for a command that needs two PINs; it is removed afterwards,
    /// whatever happens, also if somebody wants this process to end meanwhile.
    func lending<R>(_ secret: SecretBytes, to body: (String) throws -> R) throws -> R {
        var (blocked, before) = (sigset_t(), sigset_t())
        sigemptyset(&blocked)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { sigaddset(&blocked, signal) }
        pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let name = UUID().uuidString
        let owner = try HostFiles.daemonIDs()
        do throws(FileFailure) {
            try secret.withBytes { span throws(FileFailure) in try folder.replace(name, with: span, owner: owner) }
        } catch {
            throw HostFiles.refused(error)
        }
        defer { unlinkat(folder.descriptor, name, 0) }
        return try body(folder.file(name))
    }
}

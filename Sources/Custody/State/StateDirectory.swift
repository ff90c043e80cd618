import Glibc

/// The folder for the little that must outlive the daemon. One daemon each: it is locked.
///
/// It belongs to the daemon's user or root, and nobody else can write to it: whoever could would decide how often keys were used.
/// Files in it are replaced as a whole, so that a crash leaves the old one or the new one.
public final class StateDirectory: Sendable {
    public let path: String
    private let folder: TrustedFolder

    /// Opens the folder, and makes it (mode 0700) if only it is missing.
    ///
    /// - Throws: ``CustodyError`` with `stateUnavailable`.
    public init(_ path: String) throws(CustodyError) {
        self.path = path
        do throws(FileFailure) {
            folder = try TrustedFolder.openOrMake(path)
        } catch {
            let advice = error.code == nil ? "" : "; it must be a folder of the daemon's user"
            throw CustodyError(.stateUnavailable, "the state directory \(path) can't be used: \(error)\(advice)")
        }
        // Two daemons would count the same uses over each other.
        guard flock(folder.descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw CustodyError(.stateUnavailable, "another daemon uses the state directory \(path); stop it or set another `state.directory`")
        }
    }

    deinit {
        // A process that is being started may hold the descriptor a moment longer, and with it the lock.
        flock(folder.descriptor, LOCK_UN)
    }

    func file(_ name: String) -> String { folder.file(name) }

    /// The content of a file; nil if there is none.
    func read(_ name: String) throws(CustodyError) -> [UInt8]? {
        do { return try folder.read(name) } catch { throw failed(error.description) }
    }

    /// Puts a file in the place of the one of this name, on the disk when this returns.
    func replace(_ name: String, with content: [UInt8]) throws(CustodyError) {
        do { try folder.replace(name, with: content.span.bytes) } catch { throw failed(error.description) }
    }

    private func failed(_ cause: String) -> CustodyError {
        CustodyError(
            .stateUnavailable, "the daemon can't keep its state; the operator has to make room or repair the state directory",
            cause: cause, retryAfterMilliseconds: 1_000)
    }
}

import Glibc
import PKCS11
import SecureMemory
import Synchronization

/// Whose PIN of which token.
struct PINHolder: Sendable, Hashable {
    let serial: String
    let label: String
    let role: String

    init(_ user: UserType, _ token: TokenInfo) {
        serial = token.serial
        label = token.label
        role = user == .user ? "user" : "so"
    }

    func names(_ holder: PINRecord.Holder) -> Bool { (holder.serial, holder.label, holder.role) == (serial, label, role) }
}

/// The record of attempts at PINs that daemons and tools of one host share: a PIN that a token has refused is not tried again by
/// any of them, whatever crashes or starts anew in between, until an operator acts.
///
/// An attempt is on the disk before it is made. If the process is killed before it has learnt the token's answer, the attempt
/// counts as unanswered: two of them in a row, or one after which the token says that a wrong PIN was entered, and no other is made
/// before an operator has looked. So a token that locks after three wrong PINs keeps its last try. Attempts are made one at a
/// time, so that two processes don't try one wrong PIN at once.
public struct PINAttempts: Sendable, Hashable {
    private let file: SharedFile

    public init(path: String) { file = SharedFile(path: path) }

    public var path: String { file.path }

    /// Whether its folder is there; if not, no daemon has been there that it could be shared with.
    public var hasFolder: Bool { access(AtomicFile.folder(of: path), F_OK) == 0 || errno != ENOENT }

    /// Begins an attempt, if one may be made.
    ///
    /// - Parameter patience: How long to wait for another process that is logging in.
    /// - Throws: ``CustodyError`` with `tokenLocked` if none may be made before an operator acts, `tokenUnavailable` if another process
    ///   is at it, `stateUnavailable` if it can't be recorded.
    public func begin(
        _ pin: SecretBytes, of user: UserType = .user, on token: TokenInfo, within patience: Duration
    ) throws(CustodyError) -> PINAttempt {
        let holder = PINHolder(user, token)
        let lock = try lock(within: patience)
        var record = try read(lock)
        let known = record.holder(holder)
        if let known { try check(known, pin, user, token, record) }
        let before = known?.unanswered ?? 0
        record.change(holder) { $0.unanswered = before + 1 }
        try write(record, lock)
        return PINAttempt(self, holder, pin, before: before, lock)
    }

    /// Whether the record lets the PIN be tried, as far as it can be read. Nothing is
    /// recorded.
    func allows(_ pin: SecretBytes, on token: TokenInfo) -> Bool {
        do throws(CustodyError) {
            let record = try read(lock(within: .seconds(1)))
            if let known = record.holder(PINHolder(.user, token)) { try check(known, pin, .user, token, record) }
            return true
        } catch {
            return error.code != .tokenLocked
        }
    }

    /// Forgets what is known of a token, since its PINs were set anew.
    public func forget(_ token: TokenInfo) throws(CustodyError) {
        let lock = try lock(within: .seconds(10))
        var record = try read(lock)
        for user in [UserType.user, .securityOfficer] {
            record.change(PINHolder(user, token)) { holder in
                holder.unanswered = 0
                holder.refused = []
            }
        }
        try write(record, lock)
    }

    /// Forgets everything, since an operator says so. A damaged record goes, too.
    ///
    /// - Returns: Whether there was anything.
    public func forgetAll() throws(CustodyError) -> Bool {
        guard hasFolder else { return false }
        let lock = try lock(within: .seconds(10))
        do {
            let isThere = try lock.read() != nil
            try lock.remove()
            return isThere
        } catch {
            throw unavailable(error)
        }
    }

    // MARK: The rules

    private func check(
        _ known: PINRecord.Holder, _ pin: SecretBytes, _ user: UserType, _ token: TokenInfo, _ record: PINRecord
    ) throws(CustodyError) {
        let what = "\(user == .user ? "PIN" : "security officer's PIN") of token '\(token.label)'"
        let isCountLow = user == .user ? token.isUserPINCountLow : token.isSOPINCountLow
        if known.unanswered > 0, isCountLow {
            throw CustodyError(.tokenLocked, "an attempt at the \(what) ended before its answer was known, and the token says that a wrong one was entered; none is made before an operator acts: see that the PIN is right, then run `custodyctl token retry-pin`")
        }
        if known.unanswered >= PINRecord.mostUnanswered {
            throw CustodyError(.tokenLocked, "\(known.unanswered) attempts at the \(what) ended before their answer was known; none is made before an operator acts: see that the PIN is right, then run `custodyctl token retry-pin`")
        }
        guard !known.refused.isEmpty else { return }
        let value = record.check(pin, PINHolder(user, token))
        guard let refusal = known.refused.last(where: { $0.check == value }) else { return }
        let day = UTCDay(secondsSince1970: Int(clamping: refusal.time / 1_000))
        throw CustodyError(.tokenLocked, "the token refused this \(what) on \(day), so it is not tried again; correct it, or if it has become right, run `custodyctl token retry-pin`")
    }

    // MARK: The file

    fileprivate func lock(within patience: Duration) throws(CustodyError) -> SharedFile.Lock {
        let lock: SharedFile.Lock?
        do { lock = try file.lock(within: patience) } catch { throw unavailable(error) }
        guard let lock else {
            throw CustodyError(
                .tokenUnavailable, "another process of this host is logging in to the token", cause: "\(path).lock is taken",
                retryAfterMilliseconds: 100)
        }
        return lock
    }

    fileprivate func read(_ lock: SharedFile.Lock) throws(CustodyError) -> PINRecord {
        let bytes: [UInt8]?
        do { bytes = try lock.read() } catch { throw unavailable(error) }
        guard let bytes else { return PINRecord() }
        guard let record = PINRecord(bytes) else {
            throw CustodyError(.tokenLocked, "the record of attempts at PINs, \(path), is damaged, so none is made: see by `custodyctl token show` how the PIN stands and that yours is right, then run `custodyctl token retry-pin`, which begins a new record")
        }
        return record
    }

    fileprivate func write(_ record: PINRecord, _ lock: SharedFile.Lock) throws(CustodyError) {
        do throws(SharedFile.Failure) {
            if record.isEmpty { return try lock.remove() }
            guard let bytes = record.bytes else { throw SharedFile.Failure(message: "can't encode the record of attempts at PINs") }
            try lock.replace(with: bytes)
        } catch {
            throw unavailable(error)
        }
    }

    private func unavailable(_ failure: SharedFile.Failure) -> CustodyError {
        CustodyError(
            .stateUnavailable, "an attempt at a PIN can't be recorded in \(path), which daemon and tools share: \(failure.message)",
            retryAfterMilliseconds: 1_000)
    }
}

/// An attempt that is on the disk and was not answered yet. No other process of the host makes one until it has ended.
public final class PINAttempt: Sendable {
    /// What an attempt came to.
    public enum Outcome: Sendable {
        case taken
        case refused
        /// The token said nothing of the PIN.
        case noAnswer

        /// What an error of the call says that was given the PIN.
        public init(_ error: PKCS11Error) {
            let isRefused =
                switch error.function {
                case .login: Fault(error) == .pin
                // The others may be speaking of a new PIN.
                default: error.returnValue == .pinIncorrect || error.returnValue == .pinLocked
                }
            self = isRefused ? .refused : .noAnswer
        }
    }

    private let attempts: PINAttempts
    private let holder: PINHolder
    private let pin: SecretBytes
    private let before: Int
    private let lock: Mutex<SharedFile.Lock?>

    fileprivate init(_ attempts: PINAttempts, _ holder: PINHolder, _ pin: SecretBytes, before: Int, _ lock: SharedFile.Lock) {
        self.attempts = attempts
        self.holder = holder
        self.pin = pin
        self.before = before
        self.lock = Mutex(lock)
    }

    /// Records what it came to, and lets other processes go on. An answer that comes after all, to a call that was taken to hang, is
    /// recorded as well.
    ///
    /// - Throws: ``CustodyError`` if it can't be written: then it counts as unanswered.
    public func end(_ outcome: Outcome) throws(CustodyError) {
        let held = lock.withLock { $0.take() }
        if held == nil, case .noAnswer = outcome { return }
        let lock: SharedFile.Lock
        if let held { lock = held } else { lock = try attempts.lock(within: .seconds(10)) }
        var record = try attempts.read(lock)
        let refusal: PINRecord.Refusal? =
            if case .refused = outcome { .init(check: record.check(pin, holder), time: WallClock.milliseconds) } else { nil }
        record.change(holder) { holder in
            switch outcome {
            case .noAnswer: holder.unanswered = before
            case .taken, .refused: holder.unanswered = 0
            }
            if let refusal {
                holder.refused.removeAll { $0.check == refusal.check }
                holder.refused.append(refusal)
            }
        }
        try attempts.write(record, lock)
    }
}

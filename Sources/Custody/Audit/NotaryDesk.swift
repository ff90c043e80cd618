import ByteEncoding
import Foundation
import Logging
import PKCS11

/// What the notary's thread has: its session, the audit key, and what was anchored where.
struct NotaryDesk {
    /// A class, so that it can be replaced as a whole.
    private final class OpenSession: Sendable {
        let link: TokenLink
        let session: Session
        let isReadWrite: Bool

        init(_ link: TokenLink) throws(PKCS11Error) {
            self.link = link
            do throws(PKCS11Error) {
                session = try link.module.openSession(link.token.slot, readWrite: true)
                isReadWrite = true
            } catch {
                guard error.returnValue == .tokenWriteProtected || error.returnValue == .sessionReadOnly else { throw error }
                session = try link.module.openSession(link.token.slot, readWrite: false)
                isReadWrite = false
            }
        }
    }

    private let audit: AuditLog
    private let settings: AuditSettings
    private let log: Logger
    private let thread: CallingThread
    private let patience: Duration
    private var open: OpenSession?
    private var key: AuditKey?
    private var keyFound: ContinuousClock.Instant?
    /// What was tried of audit keys through the session's connection.
    private var trials = TrialMemory()
    /// What was last said of objects that are not believed.
    private var remark: String?
    private(set) var hasCompared = false
    /// The token's anchors that the log is still to be compared with.
    private var anchors: [TokenAnchor] = []
    /// Whose log this is, and other logs of the same owner that stood in its place before.
    private let owner: [UInt8]
    private var superseded: Set<[UInt8]> = []
    /// The newest checkpoint, and which lines the anchors vouch for.
    private var latest: AuditCheckpoint?
    private var stateAnchored: UInt64 = 0
    private var tokenAnchored: UInt64 = 0
    private var tokenAnchoredAt: ContinuousClock.Instant?
    /// The token takes no anchor.
    private var isTokenRefusing = false
    private var notBefore: ContinuousClock.Instant?

    /// For how long a found key counts, so that a new one is used and a daemon without one sees it soon.
    private static let keyLife = Duration.seconds(60)
    private static let keySearchInterval = Duration.seconds(3)

    /// - Parameters:
    ///   - thread: Whose desk it is.
    ///   - patience: For calls of the token.
    init(audit: AuditLog, settings: AuditSettings, thread: CallingThread, patience: Duration, log: Logger) {
        self.audit = audit
        self.settings = settings
        self.thread = thread
        self.patience = patience
        self.log = log
        owner = TokenAnchor.owner(of: audit.path)
    }

    /// When there is something to do; nil if nothing is in sight.
    var nextDue: ContinuousClock.Instant? {
        var due = [audit.duty.due]
        if !hasCompared { due.append(.now) }
        if let latest, latest.sequence > stateAnchored { due.append(.now) }
        if let latest, latest.sequence > tokenAnchored, !isTokenRefusing { due.append(tokenAnchorDue) }
        return due.compactMap { $0 }.min().map { max($0, notBefore ?? $0) }
    }

    private var tokenAnchorDue: ContinuousClock.Instant {
        tokenAnchoredAt.map { $0 + settings.tokenAnchorInterval } ?? .now
    }

    /// The token may know of lines that the state directory does not: it is harder to roll back.
    mutating func readAnchors(_ link: TokenLink) throws(CustodyError) {
        let open = try opened(link)
        var forged = 0
        anchors = try calling { (desk) throws(PKCS11Error) in
            let all = try TokenAnchor.all(open.session)
            guard !all.isEmpty else { return [] }
            let keys = try AuditKeys(open.session, &desk.trials)
            var believed: [TokenAnchor] = []
            for anchor in all {
                // Of a key that is gone nothing can be asked any more: such an anchor counts, so that who takes the key away
                // gains nothing by it.
                if let key = keys.believed.first(where: { $0.id.bytes == anchor.checkpoint.keyID }),
                    try key.mac(of: anchor.checkpoint.message, open.session) != anchor.checkpoint.mac {
                    forged += 1
                } else {
                    believed.append(anchor)
                }
            }
            return believed
        }
        if forged > 0 {
            log.warning(
                "anchors of an audit log on the token have a wrong MAC and are not believed: they were forged or damaged",
                metadata: ["count": "\(forged)"])
        }
    }

    /// Compares the log with the token's anchors. Until then there is no checkpoint, which could take an anchor's place.
    mutating func compare() throws(CustodyError) {
        let own = audit.duty.log
        let newest = anchors.filter { $0.checkpoint.log == own }.map(\.checkpoint).max { $0.sequence < $1.sequence }
        if let newest, let reason = Self.objection(to: newest, audit) { try tell(newest, reason) }
        for other in anchors where other.owner == owner && other.checkpoint.log != own && !superseded.contains(other.checkpoint.log) {
            let checkpoint = other.checkpoint
            try tell(checkpoint, "the token vouches for log \(hexadecimal(checkpoint.log)) up to line \(checkpoint.sequence), in whose place this one stands")
            superseded.insert(checkpoint.log)
        }
        anchors = []
        hasCompared = true
    }

    /// Does what is due; at the end, all that there is to do.
    mutating func serve(_ link: TokenLink, isLast: Bool) throws(CustodyError) {
        notBefore = nil
        let open = try opened(link)
        let duty = audit.duty
        if let due = duty.due, isLast || due <= .now { try certify(duty, open) }
        if let latest { try anchor(latest, open, isLast: isLast) }
        audit.amendNotes { $0.failure = nil }
    }

    /// Tries again later, and lets Status say why.
    mutating func postpone(_ error: CustodyError, by pause: Duration) {
        notBefore = .now + (error.code == .keyNotFound ? Self.keySearchInterval : pause)
        audit.amendNotes { $0.failure = error.cause ?? error.message }
    }

    /// Closes the session. The link must be held.
    mutating func leave() {
        key = nil
        trials = TrialMemory()
        guard open != nil else { return }
        thread.calling(within: patience) { open = nil }
    }

    /// The end, without the link: a session that is open still goes with it.
    mutating func abandon() {
        if let open { open.link.adopt(open) }
        open = nil
        key = nil
        trials = TrialMemory()
    }

    // MARK: Steps

    private func tell(_ anchor: AuditCheckpoint, _ reason: String) throws(CustodyError) {
        try audit.note(.anchorUnmet(anchor, reason: reason))
        log.error(
            "lines of the audit log are missing: it was cut, made anew, or replaced",
            metadata: ["reason": "\(reason)", "audit": "\(audit.path)"])
    }

    /// Asked again before it is believed: while files are read the log goes on and may be rotated.
    private static func objection(to anchor: AuditCheckpoint, _ audit: AuditLog) -> String? {
        var objection: String?
        for attempt in 1...3 {
            let duty = audit.duty
            objection = AuditContinuity(of: audit.path)
                .objection(to: anchor, end: AuditTail.Line(sequence: duty.sequence, hash: duty.hash))
            guard objection != nil else { return nil }
            if attempt < 3 { Thread.sleep(forTimeInterval: 0.1) }
        }
        return objection
    }

    private mutating func certify(_ duty: AuditLog.Duty, _ open: OpenSession) throws(CustodyError) {
        let key = try calling { (desk) throws(PKCS11Error) in try desk.auditKey(open) }
        guard let key else {
            throw CustodyError(
                .keyNotFound, "the token has no audit key; `custodyctl audit init` makes one" + (remark.map { ". \($0)" } ?? ""))
        }
        let keyID = key.id.bytes
        let message = AuditCheckpoint.message(log: duty.log, sequence: duty.sequence, hash: duty.hash, keyID: keyID)
        let mac = try calling { (_) throws(PKCS11Error) in try key.mac(of: message, open.session) }
        let checkpoint = AuditCheckpoint(log: duty.log, sequence: duty.sequence, hash: duty.hash, keyID: keyID, mac: mac)
        try audit.record(checkpoint, of: duty)
        latest = checkpoint
    }

    private mutating func anchor(_ checkpoint: AuditCheckpoint, _ open: OpenSession, isLast: Bool) throws(CustodyError) {
        if checkpoint.sequence > stateAnchored {
            do {
                try audit.stateAnchor.write(checkpoint)
            } catch {
                throw CustodyError(.auditUnavailable, "the checkpoint can't be anchored", cause: error.cause)
            }
            stateAnchored = checkpoint.sequence
        }
        if checkpoint.sequence > tokenAnchored, isLast || tokenAnchorDue <= .now, !isTokenRefusing {
            try anchorOnToken(checkpoint, open)
        }
        let place = tokenAnchored > 0 && !isTokenRefusing ? "token and state directory" : "state directory"
        audit.amendNotes { $0.anchor = place }
    }

    private mutating func anchorOnToken(_ checkpoint: AuditCheckpoint, _ open: OpenSession) throws(CustodyError) {
        let (owner, superseded) = (owner, superseded)
        let refusal = try calling { (_) throws(PKCS11Error) -> PKCS11Error? in
            guard open.isReadWrite else { return PKCS11Error(.openSession, .sessionReadOnly) }
            do throws(PKCS11Error) {
                try TokenAnchor.write(checkpoint, owner: owner, superseding: superseded, open.session)
                return nil
            } catch {
                guard Self.refusals.contains(error.returnValue) else { throw error }
                return error
            }
        }
        if let refusal {
            isTokenRefusing = true
            log.warning(
                "the token takes no anchor of the audit log: the state directory alone holds it",
                metadata: ["cause": "\(refusal)"])
        } else {
            tokenAnchored = checkpoint.sequence
            tokenAnchoredAt = .now
        }
    }

    /// What says that a token can't hold the anchor, and not that it is out of order.
    private static let refusals: Set<ReturnValue?> = [
        .tokenWriteProtected, .sessionReadOnly, .attributeReadOnly, .attributeTypeInvalid, .attributeValueInvalid,
        .templateIncomplete, .templateInconsistent, .functionNotSupported,
    ]

    // MARK: The session

    private mutating func opened(_ link: TokenLink) throws(CustodyError) -> OpenSession {
        if open?.link !== link {
            leave()
            // It may have said so for a moment only.
            isTokenRefusing = false
        }
        return try calling { (desk) throws(PKCS11Error) in try desk.openSession(link) }
    }

    private mutating func openSession(_ link: TokenLink) throws(PKCS11Error) -> OpenSession {
        if let open { return open }
        let new = try OpenSession(link)
        open = new
        return new
    }

    private mutating func auditKey(_ open: OpenSession) throws(PKCS11Error) -> AuditKey? {
        if let key, let keyFound, keyFound.duration(to: .now) < Self.keyLife { return key }
        let keys = try AuditKeys(open.session, &trials)
        key = keys.newest
        keyFound = .now
        say(of: keys)
        return key
    }

    /// A planted object stops nothing, and is told of.
    private mutating func say(of keys: AuditKeys) {
        let news = [keys.remark, keys.newest?.trial.warning.map { "the audit key is used with this reserve: \($0)" }]
            .compactMap { $0 }.joined(separator: "; ")
        guard news != remark ?? "" else { return }
        remark = news.isEmpty ? nil : news
        let text = remark
        audit.amendNotes { $0.remark = text }
        if let text { log.warning("what the token holds as audit keys is not all believed", metadata: ["reason": "\(text)"]) }
    }

    /// After any error the session and what was found by it count no more. Whether the whole connection is lost is for its
    /// keeper and the workers to find out.
    ///
    /// A thread that was given up in the call brings nothing back: another one has the desk, and two must not write to the
    /// log in turns.
    private mutating func calling<R>(_ body: (inout NotaryDesk) throws(PKCS11Error) -> R) throws(CustodyError) -> R {
        let result: R
        do {
            result = try thread.calling(within: patience) { () throws(PKCS11Error) in try body(&self) }
        } catch {
            leave()
            throw CustodyError(.tokenUnavailable, "the HSM makes no checkpoint", cause: "\(error)")
        }
        guard !thread.isGivenUp else {
            leave()
            throw CustodyError(.tokenUnavailable, "the HSM makes no checkpoint")
        }
        return result
    }
}

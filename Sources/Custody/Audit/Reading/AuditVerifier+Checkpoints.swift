import ByteEncoding

/// Checkpoints, in the log and as anchors outside of it.
extension AuditVerifier {
    /// What a line of the log says that the token said.
    struct CheckpointClaim {
        /// The log that the line itself names; only the MAC tells whether it is true.
        let log: [UInt8]?
        let covers: UInt64
        let hash: [UInt8]
        let keyID: [UInt8]
        let mac: [UInt8]

        func checkpoint(of log: [UInt8]) -> AuditCheckpoint {
            AuditCheckpoint(log: log, sequence: covers, hash: hash, keyID: keyID, mac: mac)
        }
    }

    /// Reads a checkpoint's line and holds it against the hashes of the lines before.
    func checkpointClaim(_ line: AuditLine) throws(AuditProblem) -> CheckpointClaim {
        guard let covers = line.number("covers"), covers > 0, let hash = line.bytes("covered_hash"), hash.count == AuditChain.hashLength,
            let keyID = line.bytes("key_id"), keyID.count == KeyID.length, let mac = line.bytes("mac"), mac.count == 32
        else { throw malformed(line, "a checkpoint names the line that it covers, its hash, a key and a MAC") }
        guard covers < line.sequence else { throw malformed(line, "it covers sequence \(covers), which it does not follow") }
        if tail.contains(covers) {
            guard tail.hash(covers).elementsEqual(hash) else {
                throw AuditProblem(
                    .checkpoint,
                    "the checkpoint at \(place(line)) does not fit sequence \(covers), which it covers: that line or one before it was changed and all hashes were computed anew, or the checkpoint was changed")
            }
        } else if let covered, covers < covered {
            throw AuditProblem(
                .checkpoint, "the checkpoint at \(place(line)) covers sequence \(covers) after another one covered \(covered): it was repeated or moved")
        }
        return CheckpointClaim(log: line.bytes("log").flatMap { $0.count == 16 ? $0 : nil }, covers: covers, hash: hash, keyID: keyID, mac: mac)
    }

    /// Gives a checkpoint its log, without which it can't be shown to the token.
    ///
    /// - Returns: nil if no line so far named the log, nor does this one, and it is none that an anchor names.
    mutating func named(_ claim: CheckpointClaim, _ ask: (AuditCheckpoint) throws -> Word) rethrows -> AuditCheckpoint? {
        report.checkpoints += 1
        if let log = report.log { return claim.checkpoint(of: log) }
        for log in Set(anchors.map(\.checkpoint.log)) {
            let checkpoint = claim.checkpoint(of: log)
            if try anchors.contains(where: { $0.checkpoint == checkpoint }) || ask(checkpoint) == .genuine {
                report.log = log
                return checkpoint
            }
        }
        guard let log = claim.log else { return nil }
        let checkpoint = claim.checkpoint(of: log)
        if [.genuine, .notAsked].contains(try ask(checkpoint)) { report.log = log }
        return checkpoint
    }

    /// Counts a checkpoint that fits its line, unless the token says that it is not its own.
    mutating func accept(_ checkpoint: AuditCheckpoint, _ word: Word, _ line: AuditLine) -> AuditProblem? {
        switch word {
        case .genuine: report.verifiedCheckpoints += 1
        case .notAsked: break
        case .forged:
            return AuditProblem(.mac, "the checkpoint at \(place(line)) is not the token's word: its MAC is wrong, so it was forged or changed")
        case .unknownKey:
            return Self.unknownKey("the checkpoint at \(place(line))", checkpoint)
        case .unbelievedKey(let reason):
            return Self.unbelievedKey("the checkpoint at \(place(line))", checkpoint, reason)
        }
        let start = covered.map { $0 + 1 } ?? tail.first
        if start <= checkpoint.sequence {
            report.longestStretch.lines = max(report.longestStretch.lines, checkpoint.sequence - start + 1)
            if let oldest = tail.oldestTime(from: start, through: checkpoint.sequence) {
                let seconds = Double(line.time.microseconds - oldest.microseconds) / 1_000_000
                report.longestStretch.seconds = max(report.longestStretch.seconds, seconds)
            }
        }
        covered = checkpoint.sequence
        report.coveredUpTo = checkpoint.sequence
        report.coveredAt = line.time
        tail.drop(before: checkpoint.sequence)
        return nil
    }

    // MARK: The end

    /// What is wrong with the log as a whole.
    mutating func compareEnd(_ ask: (AuditCheckpoint) throws -> Word) rethrows -> AuditProblem? {
        guard let first = report.firstSequence, let last = report.lastSequence else {
            return AuditProblem(.empty, "there is no line to verify")
        }
        if expectations.asksToken, report.verifiedCheckpoints == 0 {
            return AuditProblem(
                .nothingVouched,
                "nothing in this log is vouched for by the token: it has no checkpoint that covers a line of it"
                    + (report.checkpoints == 0 ? "; `custodyctl audit init` makes the key for them" : ""))
        }
        guard !expectations.isPart else { return nil }
        for anchor in anchors {
            if let problem = try compare(anchor, first, last, ask) { return problem }
        }
        guard !expectations.asksToken || report.anchors.contains(where: { $0.finding == .fits }) else {
            return AuditProblem(
                .noAnchor,
                "nothing says where this log ends, so lines cut off at its end would not be missed: neither the state directory nor the token holds an anchor of it; give one that is kept elsewhere by --anchor, or --part for a part of a log")
        }
        return nil
    }

    private mutating func compare(
        _ anchor: AuditAnchor, _ first: UInt64, _ last: UInt64, _ ask: (AuditCheckpoint) throws -> Word
    ) rethrows -> AuditProblem? {
        let checkpoint = anchor.checkpoint
        guard checkpoint.log == report.log else {
            guard anchor.mayBeOfAnotherLog || report.log == nil else {
                return AuditProblem(.otherLog, "the anchor in \(anchor.place) is of another log than these lines: the log was replaced")
            }
            report.anchors.append((anchor, .ofAnotherLog))
            report.remarks.append(
                "the anchor in \(anchor.place) is of another log, \(hexadecimal(checkpoint.log)), up to sequence \(checkpoint.sequence): if no other daemon uses the token, this log has taken that one's place")
            return nil
        }
        switch try ask(checkpoint) {
        case .genuine, .notAsked: break
        case .forged:
            return AuditProblem(.anchor, "the anchor in \(anchor.place) is not the token's word: its MAC is wrong, so it was forged or damaged")
        case .unknownKey: return Self.unknownKey("the anchor in \(anchor.place)", checkpoint)
        case .unbelievedKey(let reason): return Self.unbelievedKey("the anchor in \(anchor.place)", checkpoint, reason)
        }
        if found.contains(checkpoint) {
            report.anchors.append((anchor, .fits))
        } else if checkpoint.sequence > last {
            return AuditProblem(
                .cutBack, "the log was cut back: the anchor in \(anchor.place) covers sequence \(checkpoint.sequence), and the log ends at \(last)")
        } else if checkpoint.sequence < first {
            report.anchors.append((anchor, .beforeFirstLine))
        } else if checkpoint.sequence > report.coveredUpTo ?? 0 {
            return AuditProblem(
                .cutBack,
                "the log was cut back: the checkpoint of sequence \(checkpoint.sequence), which the anchor in \(anchor.place) holds, does not stand in it")
        } else {
            return AuditProblem(
                .anchor,
                "the checkpoint of sequence \(checkpoint.sequence), which the anchor in \(anchor.place) holds, does not stand in the log: it was removed or changed, and all hashes were computed anew")
        }
        return nil
    }

    private static func unknownKey(_ what: String, _ checkpoint: AuditCheckpoint) -> AuditProblem {
        let version = KeyID(checkpoint.keyID).map { " (version \($0.version))" } ?? ""
        return AuditProblem(
            .unknownKey,
            "\(what) was made with an audit key\(version) that the token does not have: it is another token, or the key was destroyed")
    }

    private static func unbelievedKey(_ what: String, _ checkpoint: AuditCheckpoint, _ reason: String) -> AuditProblem {
        AuditProblem(
            .unbelievedKey,
            "\(what) was made with a key that only bears an audit key's name (CKA_ID \(hexadecimal(checkpoint.keyID))), so the log is forged from there or before: \(reason)")
    }
}

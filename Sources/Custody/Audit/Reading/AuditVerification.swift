/// What verifying an audit log showed.
public struct AuditVerification: Sendable {
    /// The lines that one checkpoint vouched for at once, and how long the oldest of them had waited for it.
    public struct Stretch: Sendable, Hashable {
        public var lines: UInt64 = 0
        public var seconds: Double = 0
    }

    /// How an anchor and the log fit together.
    public enum AnchorFinding: Sendable, Hashable {
        /// Its checkpoint stands in the log.
        case fits
        /// It covers a line before the first that was given.
        case beforeFirstLine
        /// It is of another log, as a token's may be.
        case ofAnotherLog
    }

    public internal(set) var files = 0
    public internal(set) var lines: UInt64 = 0
    public internal(set) var firstSequence: UInt64?
    public internal(set) var lastSequence: UInt64?
    public internal(set) var firstTime: AuditTime?
    public internal(set) var lastTime: AuditTime?
    /// 16 bytes; nil if no line names it.
    public internal(set) var log: [UInt8]?
    /// Checkpoints that stand in the log, and those among them whose MAC is the token's.
    public internal(set) var checkpoints = 0
    public internal(set) var verifiedCheckpoints = 0
    /// The last line that a checkpoint covers, and when that checkpoint was made. Whether the token made it is known only
    /// if MACs were checked.
    public internal(set) var coveredUpTo: UInt64?
    public internal(set) var coveredAt: AuditTime?
    /// Lines at the end that no checkpoint covers, and when the first of them was written.
    public internal(set) var windowLines: UInt64 = 0
    public internal(set) var windowSince: AuditTime?
    public internal(set) var longestStretch = Stretch()
    public internal(set) var anchors: [(anchor: AuditAnchor, finding: AnchorFinding)] = []
    /// The first is the one to look at; more than one only where the daemon itself found lines missing and went on.
    public internal(set) var problems: [AuditProblem] = []
    /// Whether reading stopped at a problem, so that nothing is known of what follows.
    public internal(set) var isStopped = false
    /// What is odd but proves nothing.
    public internal(set) var remarks: [String] = []

    public var isWhole: Bool { problems.isEmpty }
    public var beginsAtBeginning: Bool { firstSequence == 1 }
}

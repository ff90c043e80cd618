/// How the audit log is written.
public struct AuditSettings: Sendable, Hashable {
    /// When a line is on the disk, and not only with the kernel.
    public enum Durability: Sendable, Hashable {
        /// When the kernel sees fit. A line survives the daemon's end, not the machine's.
        case write
        /// After this time at the latest; the answer does not wait for it.
        case interval(Duration)
        /// Before the answer leaves; the lines of a batch share one fdatasync.
        case fsync

        public var word: String {
            switch self {
            case .write: "write"
            case .interval: "interval"
            case .fsync: "fsync"
            }
        }
    }

    public var file: String
    /// Where the newest checkpoint is anchored beside the token.
    public var stateDirectory: String
    public var durability: Durability
    /// A checkpoint is made when so many lines were written since the latest, or so much time has passed since a line that
    /// no checkpoint covers.
    public var checkpointRecords: Int
    public var checkpointInterval: Duration
    /// The anchor on the token is renewed at most this often: a token's memory wears out.
    public var tokenAnchorInterval: Duration
    /// Lines go to the systemd journal as well.
    public var journal: Bool
    /// Where journald listens for its native protocol.
    public var journalSocket: String

    public init(
        file: String, stateDirectory: String, durability: Durability = .write, checkpointRecords: Int = 10_000,
        checkpointInterval: Duration = .seconds(10), tokenAnchorInterval: Duration = .seconds(60), journal: Bool = false,
        journalSocket: String = "/run/systemd/journal/socket"
    ) {
        self.file = file
        self.stateDirectory = stateDirectory
        self.durability = durability
        self.checkpointRecords = checkpointRecords
        self.checkpointInterval = checkpointInterval
        self.tokenAnchorInterval = tokenAnchorInterval
        self.journal = journal
        self.journalSocket = journalSocket
    }
}

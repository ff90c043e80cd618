/// Why an audit log is not whole.
public struct AuditProblem: Error, Sendable, Hashable {
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// Nothing to verify, or a file without a line.
        case empty = "empty"
        /// A line that no daemon wrote so.
        case malformed = "malformed-line"
        /// The last line lacks its line feed.
        case torn = "torn-line"
        case hash = "hash-mismatch"
        case sequence = "sequence-gap"
        /// A file or a run does not go on where the one before ended.
        case continuation = "continuation-mismatch"
        case otherLog = "other-log"
        /// The daemon itself found lines missing.
        case lost = "lines-lost"
        /// The log does not begin where it has to.
        case beginning = "beginning-missing"
        case checkpoint = "checkpoint-mismatch"
        case mac = "mac-mismatch"
        case unknownKey = "unknown-key"
        /// The token has a key of that id that fails its proof: anybody may have made it.
        case unbelievedKey = "unbelieved-key"
        /// No checkpoint of the token's.
        case nothingVouched = "nothing-vouched-for"
        case cutBack = "cut-back"
        case anchor = "anchor-mismatch"
        /// No anchor says where the log ends.
        case noAnchor = "no-anchor"
    }

    public let code: Code
    /// Where it is: the file, its line from 1, and the line's sequence, as far as there is one.
    public var file: String?
    public var line: Int?
    public var sequence: UInt64?
    /// What is wrong, for a person.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

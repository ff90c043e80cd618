/// What a verifier keeps of the lines from the latest covered one on: their hashes and times.
///
/// The next checkpoint covers one of them. This is all that grows with the log, and only until then: by 41 bytes a line,
/// and to the end in a log without checkpoints. There is no bound, since the next line may always be a checkpoint that
/// covers any of them, as after days without the token.
struct UncoveredLines {
    private var hashes: [UInt8] = []
    private var times: [AuditTime] = []
    /// Whether the line is a checkpoint: none is made for the sake of those.
    private var areCheckpoints: [Bool] = []
    private(set) var first: UInt64 = 0

    var isEmpty: Bool { times.isEmpty }
    var count: Int { times.count }

    func contains(_ sequence: UInt64) -> Bool { sequence >= first && sequence - first < UInt64(times.count) }

    mutating func append(_ sequence: UInt64, hash: [UInt8], time: AuditTime, isCheckpoint: Bool) {
        if isEmpty { first = sequence }
        hashes += hash
        times.append(time)
        areCheckpoints.append(isCheckpoint)
    }

    /// The line must be there.
    func hash(_ sequence: UInt64) -> ArraySlice<UInt8> {
        let start = Int(sequence - first) * AuditChain.hashLength
        return hashes[start..<start + AuditChain.hashLength]
    }

    /// The line must be there.
    func time(_ sequence: UInt64) -> AuditTime { times[Int(sequence - first)] }

    /// When the oldest line of a range was written that is no checkpoint itself.
    func oldestTime(from start: UInt64, through end: UInt64) -> AuditTime? {
        guard start <= end, contains(start), contains(end) else { return nil }
        return (Int(start - first)...Int(end - first)).first { !areCheckpoints[$0] }.map { times[$0] }
    }

    /// Forgets what is before a line.
    mutating func drop(before sequence: UInt64) {
        guard sequence > first, !isEmpty else { return }
        let count = Int(min(sequence - first, UInt64(times.count)))
        hashes.removeFirst(count * AuditChain.hashLength)
        times.removeFirst(count)
        areCheckpoints.removeFirst(count)
        first = sequence
    }

    mutating func clear() { self = UncoveredLines() }
}

import Foundation

/// Whether the log still is the one that an anchor vouches for: the anchored line is there, and from it an unbroken chain
/// leads to the end.
///
/// How far the log goes says nothing: who can write to its folder can make it anew, to any length, with hashes that fit each
/// other. The daemon must not go on from such a log as if nothing had happened, or its next checkpoint would vouch for it.
struct AuditContinuity {
    /// A file of the log, and the lines that it has.
    private struct Part {
        let path: String
        let identity: AuditFile.Identity
        let first: UInt64
        let last: UInt64
    }

    private let path: String
    private let parts: [Part]
    /// How often the files are looked for anew because a rotation gave them other names meanwhile.
    private let patience: Int

    /// - Parameter path: The log's own file; what rotations put aside beside it counts as well, as far as it can be read.
    init(of path: String, patience: Int = 5) {
        self.path = path
        self.patience = patience
        parts = ([path] + (AuditFiles.beside(path)?.plain ?? [])).compactMap { path in
            guard let (descriptor, identity) = Self.open(path) else { return nil }
            // It reads without moving on; the reader then closes it.
            let last = (try? AuditTail.read(descriptor, path: path))?.line?.sequence
            var reader = AuditLineReader(descriptor)
            guard let last, let line = try? reader.next(), let first = AuditLine.sequence(of: line) else { return nil }
            return Part(path: path, identity: identity, first: first, last: last)
        }.sorted { ($0.first, $0.last) < ($1.first, $1.last) }
    }

    /// What speaks against it, for a person; nil if nothing does.
    ///
    /// - Parameter end: The last line that counts.
    func objection(to anchor: AuditCheckpoint, end: AuditTail.Line) -> String? {
        guard anchor.sequence <= end.sequence else {
            return "the anchor vouches for line \(anchor.sequence), but the log ends at line \(end.sequence)"
        }
        guard let start = parts.lastIndex(where: { $0.first <= anchor.sequence && $0.last >= anchor.sequence }) else {
            return "line \(anchor.sequence), which the anchor vouches for, stands in no file of the log that can be read"
        }
        /// The line before the next one.
        var previous: AuditTail.Line?
        var isAnchored = false
        for part in parts[start...] {
            guard let descriptor = Self.open(part) else {
                guard patience > 0 else { return "\(part.path) can't be read" }
                return AuditContinuity(of: path, patience: patience - 1).objection(to: anchor, end: end)
            }
            var reader = AuditLineReader(descriptor)
            var isFirst = true
            while let line = try? reader.next(), line.last == 0x0A {
                guard let number = AuditLine.sequence(of: line), let (content, hash) = AuditChain.split(line) else {
                    return "there is something else than a line of the log behind line \(previous?.sequence ?? 0)"
                }
                defer {
                    previous = AuditTail.Line(sequence: number, hash: hash)
                    isFirst = false
                }
                guard isAnchored || number == anchor.sequence else { continue }
                if isAnchored, number != (previous?.sequence ?? 0) + 1 {
                    return "line \(number) follows line \(previous?.sequence ?? 0)"
                }
                // The first line of a file says itself what it goes on from; if that is not true, the hash does not fit.
                let before = isAnchored || !isFirst ? previous?.hash : Self.previous(of: line)
                guard let before, AuditChain.hash(after: before, content) == hash else { return "line \(number) was changed" }
                if number == anchor.sequence {
                    guard hash == anchor.hash else {
                        return "line \(number) is not the one that the anchor vouches for: the log was made anew from there or before"
                    }
                    isAnchored = true
                }
                if number == end.sequence {
                    return hash == end.hash && isAnchored ? nil : "line \(number) is not the one that the log ended with"
                }
            }
        }
        return "the lines after line \(previous?.sequence ?? 0) stand in no file of the log that can be read"
    }

    /// The hash that a line at the beginning of a file goes on from.
    private static func previous(of line: ArraySlice<UInt8>) -> [UInt8]? {
        guard let line = AuditLine(line) else { return nil }
        return line.event == "log-begins" ? AuditChain.origin : line.bytes("previous")
    }

    /// nil if another file has its name now.
    private static func open(_ part: Part) -> Int32? {
        guard let (descriptor, identity) = open(part.path) else { return nil }
        guard identity == part.identity else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    private static func open(_ path: String) -> (Int32, AuditFile.Identity)? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            close(descriptor)
            return nil
        }
        return (descriptor, AuditFile.Identity(status))
    }
}

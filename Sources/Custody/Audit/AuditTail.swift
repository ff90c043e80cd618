import Foundation

/// What stands at the end of a file of the audit log.
package struct AuditTail: Sendable, Equatable {
    /// The last line that can be read.
    package struct Line: Sendable, Equatable {
        package var sequence: UInt64
        package var hash: [UInt8]
    }

    /// The log that the file belongs to: the first one that a line of it names.
    var log: [UInt8]?
    package var line: Line?
    /// How many whole lines behind it are none of an audit log.
    var unreadableLines = 0
    /// How many bytes stand behind the last line feed: a line that was being written when the machine or daemon died.
    package var tornBytes = 0

    /// Reads it from the end.
    ///
    /// - Throws: ``AuditFailure`` also if the end is no line at all and too long to be the torn rest of one.
    static func read(_ descriptor: Int32, path: String) throws(AuditFailure) -> AuditTail {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw AuditFailure(path, errno: errno) }
        let size = Int(status.st_size)
        guard status.st_mode & S_IFMT == S_IFREG, size > 0 else { return AuditTail() }
        // Mostly the first look is enough; a line has up to about 1 MiB.
        var window = 1 << 16
        while true {
            let start = max(0, size - window)
            let tail = AuditTail(end: try bytes(descriptor, path, start..<size), isWhole: start == 0)
            if var tail, tail.line != nil || start == 0 || window >= 1 << 24 {
                tail.log = try log(descriptor, path, size)
                return tail
            }
            guard start > 0, window < 1 << 24 else {
                throw AuditFailure("\(path): it ends in something that is no line of an audit log; move it away")
            }
            window <<= 4
        }
    }

    /// - Parameters:
    ///   - end: The last bytes of the file.
    ///   - isWhole: Whether they are all of it. If not, the first line of them may be a part of one.
    /// - Returns: nil if no line ends in them, though the file goes on before.
    package init?(end: [UInt8], isWhole: Bool) {
        guard let lastFeed = end.lastIndex(of: 0x0A) else {
            guard isWhole else { return nil }
            tornBytes = end.count
            return
        }
        tornBytes = end.count - 1 - lastFeed
        var position = lastFeed
        while position >= 0 {
            let before = end[..<position].lastIndex(of: 0x0A)
            guard before != nil || isWhole else { return }
            if let line = Self.parse(end[((before ?? -1) + 1)...position]), let hash = line.hash {
                self.line = Line(sequence: line.sequence, hash: hash)
                return
            }
            unreadableLines += 1
            guard let before else { return }
            position = before
        }
    }

    init() {}

    /// The log that is named first.
    private static func log(_ descriptor: Int32, _ path: String, _ size: Int) throws(AuditFailure) -> [UInt8]? {
        let beginning = try bytes(descriptor, path, 0..<min(size, 1 << 20))
        for line in beginning.split(separator: 0x0A) {
            if let log = parse(line + [0x0A])?.log { return log }
        }
        return nil
    }

    private static func parse(_ line: ArraySlice<UInt8>) -> (sequence: UInt64, hash: [UInt8]?, log: [UInt8]?)? {
        guard let (_, hash) = AuditChain.split(line),
            let object = try? JSONSerialization.jsonObject(with: Data(line)) as? [String: Any],
            let sequence = object["sequence"] as? UInt64, AuditLine.numbers.contains(sequence)
        else { return nil }
        let name = object["event"] == nil ? nil : object["log"] as? String
        let log = name.flatMap { AuditChain.bytes(lowercaseHexadecimal: $0.utf8) }
        return (sequence, hash, log?.count == 16 ? log : nil)
    }

    private static func bytes(_ descriptor: Int32, _ path: String, _ range: Range<Int>) throws(AuditFailure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + filled }, $0.count - filled, off_t(range.lowerBound + filled))
            }
            if count > 0 {
                filled += count
            } else if count == 0 {
                // It became shorter just now.
                return Array(bytes.prefix(filled))
            } else if errno != EINTR {
                throw AuditFailure(path, errno: errno)
            }
        }
        return bytes
    }
}

extension AuditTail {
    /// The end of the file that a rotation put aside: among the files beside it whose names begin with its name the one
    /// that goes furthest.
    ///
    /// - Parameter log: If known, files of another log do not count.
    static func predecessor(of path: String, log: [UInt8]?) -> AuditTail? {
        var found: AuditTail?
        for file in AuditFiles.beside(path)?.plain ?? [] {
            let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            // What can't be read is none.
            guard let tail = try? read(descriptor, path: file), let line = tail.line, tail.log != nil, log == nil || tail.log == log
            else { continue }
            if line.sequence > found?.line?.sequence ?? 0 { found = tail }
        }
        return found
    }
}

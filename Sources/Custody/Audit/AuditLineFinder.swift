import Foundation

/// Finds a line of the log by its number, from the end: in its file, and in those that rotations put aside beside it.
///
/// An anchor does not only say how far the log goes but what stood there: a log that goes far enough may have been made anew.
struct AuditLineFinder {
    enum Finding: Equatable {
        /// The line's hash.
        case found([UInt8])
        /// The log goes past that number without such a line, or not as far.
        case missing
        /// It stood in a file that is not here any more, or that can't be read, such as a compressed one.
        case outOfReach
    }

    private enum InFile {
        case found([UInt8])
        /// The numbers of this file go past it on both sides.
        case missing
        /// All its lines come before, or it has none.
        case before
        /// All its lines come after.
        case after
    }

    private static let chunk = 1 << 20
    private static let longestLine = 1 << 24

    /// - Parameter path: The log's file.
    static func find(_ sequence: UInt64, path: String) -> Finding {
        let folder = AtomicFile.folder(of: path)
        let name = URL(fileURLWithPath: path).lastPathComponent
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        var isBehindAll = true
        // The log's own file first: it is there in nearly every case.
        for candidate in [name] + names.filter({ $0.hasPrefix(name) && $0 != name }) {
            switch find(sequence, inFile: "\(folder)/\(candidate)") {
            case .found(let hash): return .found(hash)
            case .missing: return .missing
            case .after: isBehindAll = false
            case .before: break
            }
        }
        return isBehindAll ? .missing : .outOfReach
    }

    private static func find(_ sequence: UInt64, inFile file: String) -> InFile {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return .before }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return .before }
        var end = Int(status.st_size)
        /// The beginning of the chunk before, which is the end of a line.
        var rest: [UInt8] = []
        var hasLater = false
        while end > 0, rest.count < longestLine {
            let start = max(0, end - chunk)
            guard let bytes = read(descriptor, start..<end) else { return .before }
            let text = bytes + rest
            end = start
            let first = start == 0 ? 0 : text.firstIndex(of: 0x0A).map { $0 + 1 } ?? text.count
            rest = Array(text[..<first])
            for line in text[first...].split(separator: 0x0A).reversed() {
                guard let number = number(of: line) else { continue }
                if number == sequence { return AuditChain.split(Array(line)[...] + [0x0A]).map { .found($0.hash) } ?? .missing }
                if number < sequence { return hasLater ? .missing : .before }
                hasLater = true
            }
        }
        return hasLater ? .after : .before
    }

    /// The number of a line, which stands right behind its time; nil if it does not.
    private static func number(of line: ArraySlice<UInt8>) -> UInt64? {
        let name = Array(",\"sequence\":".utf8)
        let head = line.prefix(80)
        guard let comma = head.firstIndex(of: UInt8(ascii: ",")), head[comma...].starts(with: name) else { return nil }
        let digits = head[(comma + name.count)...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return UInt64(String(decoding: digits, as: UTF8.self))
    }

    private static func read(_ descriptor: Int32, _ range: Range<Int>) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + filled }, $0.count - filled, off_t(range.lowerBound + filled))
            }
            if count < 0, errno == EINTR { continue }
            // Read error, or it became shorter just now.
            guard count > 0 else { return nil }
            filled += count
        }
        return bytes
    }
}

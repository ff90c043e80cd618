import Custody
import CustodyServer
import Foundation
import ToolSupport

/// Files of an audit log that are open for reading.
///
/// All are opened before any is read: a rotation in the meantime renames files, but not what is open.
struct OpenAuditFiles {
    struct File {
        /// `-` for standard input.
        let path: String
        let descriptor: Int32
        /// How many bytes to read: up to the last line feed at opening, if a daemon is writing it; nil for a pipe.
        let limit: Int?
        let firstSequence: UInt64?
        var isStream: Bool { limit == nil }

        var name: String { path == "-" ? "standard input" : path }
        var reader: AuditLineReader { AuditLineReader(dup(descriptor), limit: limit) }
    }

    private struct Identity: Hashable {
        let device: dev_t
        let inode: ino_t
    }

    /// Who said that a file is to be read, and so what may go wrong with it.
    private enum Origin {
        /// The caller, who may also name a pipe.
        case named
        /// The configuration: a daemon may be writing to it, or not have begun.
        case live
        /// It stands beside that one.
        case found
    }

    /// In the order of their first sequences.
    private(set) var files: [File] = []
    private(set) var skipped: [String] = []
    /// What a reader of the result should know.
    private(set) var remarks: [String] = []

    /// Opens these files; `-` is standard input.
    init(_ paths: [String]) throws(ToolError) {
        for path in paths {
            if path == "-" {
                files.append(File(path: path, descriptor: STDIN_FILENO, limit: nil, firstSequence: nil))
            } else if let suffix = AuditFiles.compression(path) {
                throw ToolError("compressed-file", "\(path) is compressed (\(suffix)); give its content by a pipe, such as `zcat \(path) | custodyctl audit verify -`, oldest file first")
            } else {
                try open(path, .named)
            }
        }
        sort()
    }

    /// Opens a daemon's file and what rotation made of its predecessors: ``AuditFiles``.
    static func ofDaemon(_ path: String) throws(ToolError) -> OpenAuditFiles {
        // A rotation between the listing and the opening shows in the names: begin again.
        for _ in 0..<5 {
            var files = OpenAuditFiles()
            let beside = try predecessors(path)
            files.skipped = beside.compressed
            try files.open(path, .live)
            for name in beside.plain { try files.open(name, .found) }
            if try predecessors(path) == beside, files.isUnchanged {
                files.sort()
                return files
            }
            for file in files.files { close(file.descriptor) }
        }
        throw ToolError("input-failed", "the files of the audit log \(path) are renamed all the time; try again, or name the files")
    }

    private init() {}

    private static func predecessors(_ path: String) throws(ToolError) -> AuditFiles {
        guard let files = AuditFiles.beside(path) else {
            throw .configuration("can't list the folder of the configuration's audit log \(path): \(String(cString: strerror(errno)))")
        }
        return files
    }

    private var isUnchanged: Bool {
        files.allSatisfy { file in
            var named = stat()
            return stat(file.path, &named) == 0 && Self.identity(file.descriptor) == Identity(device: named.st_dev, inode: named.st_ino)
        }
    }

    private static func identity(_ descriptor: Int32) -> Identity? {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        return Identity(device: status.st_dev, inode: status.st_ino)
    }

    private mutating func open(_ path: String, _ origin: Origin) throws(ToolError) {
        func failed() -> ToolError {
            let code = errno
            return ToolError(
                "input-failed", "can't read \(path): \(String(cString: strerror(code)))",
                exit: code == EACCES || code == EPERM ? ToolExit.denied : ToolExit.failed)
        }
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (origin == .named ? 0 : O_NOFOLLOW))
        if descriptor < 0, errno == ENOENT {
            if origin == .live { return remarks.append("\(path) does not exist") }
            // Renamed since the listing, so the next one differs.
            if origin == .found { return }
        }
        guard descriptor >= 0 else { throw failed() }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failed() }
        let type = status.st_mode & S_IFMT
        if type == S_IFIFO, origin == .named {
            // Whoever writes to it has it open by now, or there is nothing to wait for.
            guard fcntl(descriptor, F_SETFL, O_RDONLY) == 0 else { throw failed() }
            return files.append(File(path: path, descriptor: descriptor, limit: nil, firstSequence: nil))
        }
        guard type == S_IFREG else {
            close(descriptor)
            throw ToolError("input-failed", "\(path) is no file; give other things by a pipe to `-`")
        }
        let identity = Identity(device: status.st_dev, inode: status.st_ino)
        guard !files.contains(where: { Self.identity($0.descriptor) == identity }) else {
            close(descriptor)
            return
        }
        let size = Int(status.st_size)
        // A file that a rotation has just made has no lines yet; what is missing then, the anchors tell.
        if origin == .live, size == 0 {
            close(descriptor)
            return remarks.append("\(path) has no lines yet")
        }
        let limit = wholeLines(descriptor, path, size)
        files.append(File(path: path, descriptor: descriptor, limit: limit, firstSequence: Self.firstSequence(descriptor)))
    }

    /// The length without a last line that a daemon is writing just now.
    private mutating func wholeLines(_ descriptor: Int32, _ path: String, _ size: Int) -> Int {
        var tail = [UInt8](repeating: 0, count: min(size, AuditLine.longest))
        let read = pread(descriptor, &tail, tail.count, off_t(size - tail.count))
        guard read == tail.count, tail.last != 0x0A else { return size }
        // Only then is the lock tried: a daemon that starts at this moment would find it taken.
        guard flock(descriptor, LOCK_SH | LOCK_NB) != 0, errno == EWOULDBLOCK else {
            flock(descriptor, LOCK_UN)
            return size
        }
        let torn = tail.reversed().prefix { $0 != 0x0A }.count
        remarks.append("the last line of \(path) was being written and was left out (\(torn) bytes)")
        return size - torn
    }

    private static func firstSequence(_ descriptor: Int32) -> UInt64? {
        // By its own position: the descriptor is read from its beginning later.
        var start = [UInt8](repeating: 0, count: 65_536)
        let count = pread(descriptor, &start, start.count, 0)
        guard count > 0, let end = start[..<count].firstIndex(of: 0x0A) else { return nil }
        return AuditLine(start[..<end])?.sequence
    }

    /// Into the order of the log, whatever the order of the names. What has no sequence comes first, so that it is named.
    private mutating func sort() {
        let sorted = files.enumerated().sorted { a, b in
            (a.element.firstSequence ?? 0, a.offset) < (b.element.firstSequence ?? 0, b.offset)
        }
        files = sorted.map(\.element)
    }

    /// Hands out every line of every file.
    func forEachLine(begin: (File) -> Void = { _ in }, _ body: (File, ArraySlice<UInt8>) throws -> Bool) throws {
        for file in files {
            begin(file)
            var reader = file.reader
            do {
                while let line = try reader.next() {
                    guard try body(file, line) else { return }
                }
            } catch let failure as AuditLineReader.Failure {
                throw ToolError("input-failed", "can't read \(file.name): \(String(cString: strerror(failure.number)))")
            }
        }
    }

    /// The files that a command was given, else those of the configuration.
    static func opened(_ paths: [String], _ common: CommonOptions) throws -> OpenAuditFiles {
        guard paths.isEmpty else { return try OpenAuditFiles(paths) }
        let (configuration, place) = try common.configuration(judging: ["audit.file", "state.directory"])
        guard let settings = configuration?.audit else {
            throw ToolError.configuration("no audit log is named: give its files, or a configuration file by --config (\(place))")
        }
        return try ofDaemon(settings.file)
    }
}

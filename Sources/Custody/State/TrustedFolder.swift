import CSystemShim
import Glibc

/// A folder that is open. Names are looked up in it and nowhere else, whatever becomes of its path meanwhile.
///
/// It is found one name after the other, from the root of the file system on, and each folder on the way is looked at: nobody but
/// root and one user could have put another in its place. Symbolic links are followed if only these could have made them.
package final class TrustedFolder: Sendable {
    package enum Use: Sendable {
        /// Every name in it is ours.
        case own
        /// Files of ours are some of many in it.
        case shared
    }

    package let path: String
    package let descriptor: Int32
    private let trust: FileTrust
    private static let deepestLinks = 40

    package convenience init(_ path: String, _ use: Use = .own, trust: FileTrust = FileTrust()) throws(FileFailure) {
        try self.init(path, descriptor: Self.walk(path, trust), use, trust)
    }

    /// - Parameter descriptor: Of the folder, as a place (O_PATH); taken over.
    private init(_ path: String, descriptor place: Int32, _ use: Use, _ trust: FileTrust) throws(FileFailure) {
        self.path = path
        self.trust = trust
        defer { close(place) }
        descriptor = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileFailure("open \(path)", errno: errno) }
        let info = try Self.info(descriptor, path)
        switch use {
        case .own: try trust.check(info, path)
        case .shared: try trust.check(passing: info, path)
        }
    }

    deinit { close(descriptor) }

    /// Opens a folder, and makes it (mode 0700) if only it is missing.
    package static func openOrMake(_ path: String, trust: FileTrust = FileTrust()) throws(FileFailure) -> TrustedFolder {
        do throws(FileFailure) {
            return try TrustedFolder(path, trust: trust)
        } catch {
            guard error.code == ENOENT else { throw error }
        }
        let parent = try TrustedFolder(AtomicFile.folder(of: path), .shared, trust: trust)
        return try parent.openOrMake(AtomicFile.name(of: path), owner: nil)
    }

    /// The same for a folder in this one; no link is followed.
    ///
    /// - Parameter owner: Gets a folder that had to be made; nil leaves it to this process' user.
    package func openOrMake(_ name: String, owner: (uid_t, gid_t)?) throws(FileFailure) -> TrustedFolder {
        let whole = file(name)
        let isNew = mkdirat(descriptor, name, 0o700) == 0
        guard isNew || errno == EEXIST else { throw FileFailure("make \(whole)", errno: errno) }
        let place = try Self.place(name, in: descriptor, whole)
        guard isNew, let owner else { return try TrustedFolder(whole, descriptor: place, .own, trust) }
        // Nobody else can have it yet: it belongs to this process' user.
        let folder = try TrustedFolder(whole, descriptor: place, .own, FileTrust())
        guard fchown(folder.descriptor, owner.0, owner.1) == 0 else { throw FileFailure("give \(whole) to uid \(owner.0)", errno: errno) }
        return folder
    }

    /// The folder that a file is in, where others may have files too.
    package static func containing(_ path: String) throws(FileFailure) -> TrustedFolder {
        try TrustedFolder(AtomicFile.folder(of: path), .shared)
    }

    package func file(_ name: String) -> String { path == "/" ? "/" + name : path + "/" + name }

    /// Makes new names in it last.
    package func sync() throws(FileFailure) {
        // Not every file system knows fsync of a folder.
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileFailure("sync \(path)", errno: errno) }
    }

    // MARK: Files in it

    /// The content of a regular file that root or the user wrote; nil if there is none.
    package func read(_ name: String) throws(FileFailure) -> [UInt8]? {
        // Without O_NONBLOCK a pipe in its place would hold us up for as long as nobody writes to it.
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            if errno == ELOOP { throw FileFailure(refusing: self.file(name), "is a symbolic link, where none is followed: see who made it, and move it away") }
            throw FileFailure("open \(self.file(name))", errno: errno)
        }
        defer { close(file) }
        let info = try Self.info(file, self.file(name))
        guard info.st_mode & S_IFMT == S_IFREG else { throw FileFailure(refusing: self.file(name), "is not a regular file: move it away") }
        try trust.check(info, self.file(name))
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileFailure("read \(self.file(name))", errno: errno) }
            if count == 0 { return content }
            content += buffer.prefix(count)
        }
    }

    /// Puts a file in the place of the one of this name, on the disk when this returns: whenever the machine dies, the old one or
    /// the new one is there.
    ///
    /// - Parameter owner: nil for this process' user.
    package func replace(
        _ name: String, with content: RawSpan, mode: mode_t = 0o600, owner: (uid_t, gid_t)? = nil
    ) throws(FileFailure) {
        let new = name + ".new"
        // One that an end in the middle has left. Never written into: it may be something else by now.
        unlinkat(descriptor, new, 0)
        let file = openat(descriptor, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw FileFailure("make \(self.file(new))", errno: errno) }
        defer { close(file) }
        do throws(FileFailure) {
            try Self.write(content, file, self.file(new))
            if let owner, fchown(file, owner.0, owner.1) != 0 { throw FileFailure("give \(self.file(new)) to uid \(owner.0)", errno: errno) }
            guard mode == 0o600 || fchmod(file, mode) == 0 else { throw FileFailure("set the mode of \(self.file(new))", errno: errno) }
            guard fdatasync(file) == 0 else { throw FileFailure("sync \(self.file(new))", errno: errno) }
            guard renameat(descriptor, new, descriptor, name) == 0 else { throw FileFailure("replace \(self.file(name))", errno: errno) }
        } catch {
            unlinkat(descriptor, new, 0)
            throw error
        }
        try sync()
    }

    private static func write(_ content: RawSpan, _ file: Int32, _ path: String) throws(FileFailure) {
        var written = 0
        while written < content.byteCount {
            let count = content.withUnsafeBytes { Glibc.write(file, $0.baseAddress.map { $0 + written }, $0.count - written) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw FileFailure("write \(path)", errno: errno) }
            written += count
        }
    }

    // MARK: The way to it

    /// Throws if somebody besides root and the user could put another file in the place of one. A symbolic link in its place is
    /// followed if only these could have made it.
    package static func checkWay(to file: String, trust: FileTrust = FileTrust()) throws(FileFailure) {
        // A file that was handed over open is found by no name.
        if ["/dev/fd/", "/proc/self/fd/", "/dev/stdin"].contains(where: { file.hasPrefix($0) }) { return }
        var path = file
        for _ in 0...deepestLinks {
            let (folder, name) = (AtomicFile.folder(of: path), AtomicFile.name(of: path))
            let place = try walk(folder, trust)
            defer { close(place) }
            let folderInfo = try info(place, folder)
            try trust.check(passing: folderInfo, folder)
            var found = stat()
            guard fstatat(place, name, &found, AT_SYMLINK_NOFOLLOW) == 0 else { throw FileFailure("find \(path)", errno: errno) }
            guard found.st_mode & S_IFMT == S_IFLNK else { return }
            guard trust.allows(link: found, in: folderInfo) else {
                throw FileFailure(refusing: path, "is a symbolic link that others could have made: remove it, or name the file that is meant")
            }
            let next = try target(of: name, in: place, path)
            path = next.utf8.first == UInt8(ascii: "/") ? next : folder + "/" + next
        }
        throw FileFailure("find \(file)", errno: ELOOP)
    }

    /// - Returns: A descriptor of the place (O_PATH).
    private static func walk(_ path: String, _ trust: FileTrust) throws(FileFailure) -> Int32 {
        var rest = try names(absolute(path))
        var (here, soFar) = (try root(), "/")
        var links = 0
        do throws(FileFailure) {
            while let name = rest.popLast() {
                let folder = try info(here, soFar)
                try trust.check(passing: folder, soFar)
                let next = soFar == "/" ? "/" + name : soFar + "/" + name
                var found = stat()
                guard fstatat(here, name, &found, AT_SYMLINK_NOFOLLOW) == 0 else { throw FileFailure("find \(next)", errno: errno) }
                if found.st_mode & S_IFMT == S_IFLNK {
                    links += 1
                    guard links <= deepestLinks else { throw FileFailure("find \(path)", errno: ELOOP) }
                    guard trust.allows(link: found, in: folder) else {
                        throw FileFailure(refusing: next, "is a symbolic link that others could have made: remove it, or name the folder that is meant")
                    }
                    let target = try target(of: name, in: here, next)
                    rest += try names(target)
                    guard target.utf8.first == UInt8(ascii: "/") else { continue }
                    close(here)
                    (here, soFar) = (try root(), "/")
                    continue
                }
                let place = try place(name, in: here, next)
                close(here)
                (here, soFar) = (place, next)
            }
            return here
        } catch {
            close(here)
            throw error
        }
    }

    private static func root() throws(FileFailure) -> Int32 { try place("/", in: AT_FDCWD, "/") }

    private static func place(_ name: String, in folder: Int32, _ path: String) throws(FileFailure) -> Int32 {
        let descriptor = csystem_open_place(folder, name)
        switch -descriptor {
        case ELOOP, ENOTDIR:
            throw FileFailure(
                refusing: path, "is not a folder, or a symbolic link in a place where none is followed: see who made it, and move it away")
        case 1...: throw FileFailure("open \(path)", errno: -descriptor)
        default: return descriptor
        }
    }

    private static func absolute(_ path: String) throws(FileFailure) -> String {
        if path.utf8.first == UInt8(ascii: "/") { return path }
        // The kernel's word on where this process is.
        return try target(of: "/proc/self/cwd", in: AT_FDCWD, "/proc/self/cwd") + "/" + path
    }

    /// The last one first.
    private static func names(_ path: String) throws(FileFailure) -> [String] {
        guard !path.utf8.contains(0) else { throw FileFailure(refusing: path, "is no path: it holds a zero byte") }
        return path.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }.filter { $0 != "." }.reversed()
    }

    private static func target(of name: String, in folder: Int32, _ path: String) throws(FileFailure) -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = csystem_read_link(folder, name, &buffer, buffer.count)
        guard count > 0 else { throw FileFailure("read the link \(path)", errno: Int32(-count)) }
        guard let target = String(validating: buffer[..<count], as: UTF8.self) else {
            throw FileFailure(refusing: path, "is a symbolic link to what is no UTF-8 text")
        }
        return target
    }

    private static func info(_ descriptor: Int32, _ path: String) throws(FileFailure) -> stat {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileFailure("examine \(path)", errno: errno) }
        return info
    }
}

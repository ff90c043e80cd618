import ByteEncoding
import Crypto
import Foundation

/// The files of ``TenantPins``: one per tenant, in a folder per database. Written to another name, synced and renamed, under a
/// lock of the folder's: what is there is whole, and of two processes the newer word stays.
struct PinFolder: Sendable {
    let path: String

    /// Makes the folders that are not there.
    init(_ directory: String, of database: any TenantDatabase) throws(MasterKeyError) {
        let name = hexadecimal(SHA256.hash(data: Array(database.identity.utf8)).prefix(16))
        path = directory + "/" + name
        for folder in [directory, path] {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw Self.failure("can't make the folder \(folder)", error.localizedDescription)
            }
            try Self.checkOwner(folder)
        }
        try Self.checkAncestors(of: directory)
    }

    /// Whoever may write to the folder may forget for us.
    private static func checkOwner(_ folder: String) throws(MasterKeyError) {
        var status = stat()
        guard lstat(folder, &status) == 0 else { throw failure("can't look at \(folder)", String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw failure("\(folder) is no folder") }
        guard status.st_uid == geteuid() || status.st_uid == 0, status.st_mode & 0o022 == 0 else {
            throw failure("others than this user may write to \(folder)")
        }
    }

    /// Whoever may rename a folder above may put another one in its place. In a sticky one, as /tmp is, only the owner may.
    private static func checkAncestors(of directory: String) throws(MasterKeyError) {
        guard let resolved = realpath(directory, nil) else { throw failure("can't look at \(directory)", String(cString: strerror(errno))) }
        defer { free(resolved) }
        var path = String(cString: resolved)
        while !path.utf8.elementsEqual("/".utf8), let slash = path.lastIndex(of: "/") {
            path = slash == path.startIndex ? "/" : String(path[..<slash])
            var status = stat()
            guard lstat(path, &status) == 0 else { throw failure("can't look at \(path)", String(cString: strerror(errno))) }
            guard status.st_uid == geteuid() || status.st_uid == 0, status.st_mode & 0o002 == 0 || status.st_mode & 0o1000 != 0 else {
                throw failure("others than this user may move what lies in \(path), which is above the folder \(directory)")
            }
        }
    }

    /// The file of a tenant: its name, with a comma, which no name has, for a slash.
    func file(of tenant: TenantName) -> String { path + "/" + tenant.description.replacing("/", with: ",") + ".pin" }

    // MARK: Files

    /// nil for a tenant that was never seen.
    func pin(of tenant: TenantName) throws(MasterKeyError) -> TenantPin? {
        let file = file(of: tenant)
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw Self.failure("can't read \(file)", String(cString: strerror(errno)))
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure("can't look at \(file)", String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Self.failure("\(file) is no regular file") }
        guard status.st_uid == geteuid() || status.st_uid == 0, status.st_mode & 0o022 == 0 else {
            throw Self.failure("others than this user may have written \(file)")
        }
        do {
            let content = try JSONDecoder().decode(Content.self, from: try handle.read(upToCount: 65_536) ?? Data())
            guard content.tenant.utf8.elementsEqual(tenant.description.utf8), let pin = content.pin else { throw Unreadable() }
            return pin
        } catch {
            throw Self.failure("\(file) can't be read as a pin", "\(error)")
        }
    }

    /// Replaces a tenant's pin by what is made of it, while no other process does.
    func update(_ tenant: TenantName, _ change: (TenantPin?) -> TenantPin) throws(MasterKeyError) {
        let lock = open(path + "/.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard lock >= 0 else { throw Self.failure("can't open \(path)/.lock", String(cString: strerror(errno))) }
        defer { close(lock) }
        // Nobody holds it for longer than writing a file takes, unless he was stopped.
        let end = ContinuousClock.now + .seconds(5)
        while flock(lock, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EINTR || errno == EWOULDBLOCK, ContinuousClock.now < end else {
                throw Self.failure("can't lock \(path)", String(cString: strerror(errno)))
            }
            usleep(5_000)
        }
        let known = try pin(of: tenant)
        let changed = change(known)
        guard changed != known else { return }
        try write(Content(tenant, changed), to: file(of: tenant))
    }

    private func write(_ content: Content, to file: String) throws(MasterKeyError) {
        let new = path + "/.new"
        // Of a process that was killed: the lock is ours.
        unlink(new)
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
            let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
            let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            try handle.write(contentsOf: try encoder.encode(content) + Data("\n".utf8))
            try handle.synchronize()
        } catch {
            throw Self.failure("can't write \(new)", error.localizedDescription)
        }
        guard rename(new, file) == 0 else { throw Self.failure("can't write \(file)", String(cString: strerror(errno))) }
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure("can't sync \(path)", String(cString: strerror(errno))) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw Self.failure("can't sync \(path)", String(cString: strerror(errno))) }
    }

    private static func failure(_ what: String, _ why: String? = nil) -> MasterKeyError {
        MasterKeyError(
            .pinsUnusable, "what was seen of tenants can't be kept or looked up: " + what + (why.map { ": \($0)" } ?? ""),
            advice: "let this user, and nobody else, write to the folder, or name another one")
    }

    /// A file that is a pin of something else, or of nothing.
    private struct Unreadable: Error, CustomStringConvertible {
        let description = "it is not whole, or another tenant's"
    }

    /// What stands in a file.
    private struct Content: Codable {
        let tenant, masterKey: String
        let rootKey: String?
        let rootKeyVersion: UInt32?
        let generation: Int64
        let tag: Data
        let kmsKey: String?

        init(_ tenant: TenantName, _ pin: TenantPin) {
            self.tenant = tenant.description
            masterKey = Base64URL.encode(pin.masterKeyID.bytes)
            (rootKey, rootKeyVersion) = (pin.rootKey, pin.rootKeyVersion)
            (generation, tag) = (pin.generation, Data(pin.tag))
            kmsKey = pin.kmsKey?.rawValue
        }

        var pin: TenantPin? {
            guard let id = Base64URL.decode(masterKey).flatMap({ Identifier($0) }) else { return nil }
            return TenantPin(
                masterKeyID: id, rootKey: rootKey, rootKeyVersion: rootKeyVersion, generation: generation, tag: Array(tag),
                kmsKey: kmsKey.map { KMSKeyID(rawValue: $0) })
        }
    }
}

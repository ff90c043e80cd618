import Glibc

/// Who may have written a file or folder that is trusted: root and one other user, nobody else.
package struct FileTrust: Sendable {
    /// The user besides root.
    package let user: uid_t

    /// - Parameter user: This process' own if nothing else is said.
    package init(user: uid_t = geteuid()) { self.user = user }

    private static let sticky = mode_t(S_ISVTX)

    /// A file, or a folder of which every name counts.
    package func check(_ info: stat, _ path: String) throws(FileFailure) {
        guard isOwner(info.st_uid) else {
            throw FileFailure(
                refusing: path,
                "belongs to uid \(info.st_uid), not to \(owners): see whether what is there is genuine, then `chown \(user) \(path)`, or name another")
        }
        guard info.st_mode & 0o022 == 0 else {
            throw FileFailure(
                refusing: path,
                "can be changed by others (mode \(Self.octal(info.st_mode))): see whether what is there is genuine, then `chmod go-w \(path)`")
        }
    }

    /// A folder that leads to another one, or in which a file of ours is one of many: nobody else may replace what is in it.
    func check(passing info: stat, _ path: String) throws(FileFailure) {
        guard isOwner(info.st_uid) || info.st_uid == UserNamespace.ownerOfTheUnmapped else {
            throw FileFailure(refusing: path, "belongs to uid \(info.st_uid), who can replace what is in it: choose a place below folders of \(owners)")
        }
        guard info.st_mode & 0o002 == 0 || info.st_mode & Self.sticky != 0 else {
            throw FileFailure(refusing: path, "is a folder in which everybody can replace everything (mode \(Self.octal(info.st_mode))): `chmod o-w \(path)`, or choose another place")
        }
    }

    /// Whether a symbolic link says where this process' user or root wants to be led.
    func allows(link: stat, in folder: stat) -> Bool {
        func isOurs(_ info: stat) -> Bool { info.st_uid == 0 || info.st_uid == geteuid() }
        return isOurs(link) && isOurs(folder) && (folder.st_mode & 0o022 == 0 || folder.st_mode & Self.sticky != 0)
    }

    private func isOwner(_ uid: uid_t) -> Bool { uid == 0 || uid == user }

    private var owners: String { user == 0 ? "root" : "uid \(user) or root" }

    private static func octal(_ mode: mode_t) -> String { "0" + String(mode & 0o7777, radix: 8) }
}

/// The user namespace that this process is in.
enum UserNamespace {
    /// The uid that stands for every user whom the namespace does not know; nil if it knows everybody (user_namespaces(7)).
    static let ownerOfTheUnmapped: uid_t? = {
        let overflow: uid_t = 65_534
        guard let map = contents(of: "/proc/self/uid_map") else { return nil }
        let isKnown = map.split(separator: "\n").contains { line in
            let numbers = line.split(separator: " ").compactMap { UInt64($0) }
            return numbers.count == 3 && (numbers[0]..<(numbers[0] + numbers[2])).contains(UInt64(overflow))
        }
        return isKnown ? nil : overflow
    }()

    private static func contents(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = read(descriptor, &buffer, buffer.count)
        return count < 0 ? nil : String(validating: buffer[..<count], as: UTF8.self)
    }
}

import Foundation

/// The uid and the gid by which the kernel shows users and groups that it can't name here (user_namespaces(7)): for a daemon in
/// a user namespace that is everybody who has no number in it, root of the machine included. They identify nobody.
enum OverflowIDs {
    static let uid = read("/proc/sys/kernel/overflowuid")
    static let gid = read("/proc/sys/kernel/overflowgid")

    /// Whether this process is in a user namespace in which some of the machine's users have no number.
    static let areInUse = (try? String(contentsOfFile: "/proc/self/uid_map", encoding: .utf8)).map { !mapsEverybody($0) } ?? false

    static func mapsEverybody(_ map: String) -> Bool {
        let lengths = map.split(separator: "\n").compactMap { $0.split(separator: " ").last.flatMap { UInt64($0) } }
        // The last number of all stands for none.
        return lengths.reduce(0, +) >= UInt64(UInt32.max)
    }

    /// A sandbox may hide the setting, which is this number practically everywhere.
    private static func read(_ file: String) -> UInt32 {
        let text = try? String(contentsOfFile: file, encoding: .utf8)
        return text.flatMap { UInt32($0.trimmingCharacters(in: .whitespacesAndNewlines)) } ?? 65_534
    }
}

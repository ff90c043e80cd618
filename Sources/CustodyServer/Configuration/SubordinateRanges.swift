import ByteEncoding
import Custody
import Foundation

/// Which uids and gids a user may use in user namespaces of its own (subuid(5), subgid(5)).
public struct SubordinateRanges: Sendable {
    public struct Range: Sendable, Hashable {
        /// A user's name or number.
        public let owner: String
        public let ids: ClosedRange<UInt32>

        /// Whether it is root's, for containers: root may use any uid, so the range tells of no person.
        var isRoots: Bool { owner == "root" || owner == "0" }
    }

    /// Of uids.
    public let ranges: [Range]
    public let groupRanges: [Range]
    /// Why there may be more ranges than these; nil if these are all.
    public let gap: String?

    /// The machine's.
    public static func read(
        file: String = "/etc/subuid", groupFile: String = "/etc/subgid", switchFile: String = "/etc/nsswitch.conf"
    ) -> SubordinateRanges {
        var gap: String?
        if let source = otherSource((try? text(switchFile)) ?? "") {
            gap = "\(switchFile) has subordinate ids come from '\(source)', and \(file) and \(groupFile) alone are read"
        }
        func ranges(_ file: String) -> [Range] {
            // Where there is no file nobody has subordinate ids.
            guard FileManager.default.fileExists(atPath: file) else { return [] }
            do {
                return parse(try text(file))
            } catch {
                let reason = (error as? NotUTF8)?.description ?? error.localizedDescription
                gap = "\(file) can't be read: \(reason)"
                return []
            }
        }
        let (users, groups) = (ranges(file), ranges(groupFile))
        return SubordinateRanges(ranges: users, groupRanges: groups, gap: gap)
    }

    init(ranges: [Range], groupRanges: [Range] = [], gap: String?) {
        self.ranges = ranges
        self.groupRanges = groupRanges
        self.gap = gap
    }

    /// Whether somebody may give himself the group in a user namespace.
    public func canBeAssumed(gid: UInt32) -> Bool {
        groupRanges.contains { $0.ids.contains(gid) } || (gap != nil && gid >= 65_536)
    }

    private static func text(_ file: String) throws -> String {
        try String(strictUTF8: try Data(contentsOf: URL(fileURLWithPath: file)))
    }

    /// Those that a uid is in.
    public func ranges(with uid: UInt32) -> [Range] { ranges.filter { $0.ids.contains(uid) } }

    /// As newuidmap(1) reads it: what it does not understand it passes over.
    static func parse(_ text: String) -> [Range] {
        text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let line = Substring(line)
            let parts = line.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 3, !parts[0].isEmpty, let first = number(parts[1]), let count = number(parts[2]), count > 0,
                let start = UInt32(exactly: first)
            else { return nil }
            let range = Range(owner: String(parts[0]), ids: start...UInt32(clamping: first + min(count, 1 << 32) - 1))
            // Such as `root:1000:1`, by which a container shows one of the machine's own users.
            return range.isRoots && count == 1 ? nil : range
        }
    }

    /// Decimal, or as in C.
    private static func number(_ text: Substring) -> UInt64? {
        if text.hasPrefix("0x") || text.hasPrefix("0X") { return UInt64(text.dropFirst(2), radix: 16) }
        return text.count > 1 && text.hasPrefix("0") ? UInt64(text, radix: 8) : UInt64(text)
    }

    /// What the name service switch names for them besides files.
    private static func otherSource(_ text: String) -> String? {
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let line = Substring(line).prefix { $0 != "#" }.trimmingCharacters(in: .whitespaces)
            guard line.hasPrefix("subid:") else { continue }
            return line.dropFirst(6).split(whereSeparator: \.isWhitespace).map(String.init).first { $0 != "files" && !$0.hasPrefix("[") }
        }
        return nil
    }
}

extension SubordinateRanges {
    /// Whose a uid is; nil if it is an account of its own, as far as this machine knows. Asks the account database.
    public func subordination(of uid: UInt32) -> Subordination? {
        let own = ranges(with: uid)
        let owners = own.map { SystemAccounts.uid(ofUser: $0.owner) }
        guard let first = own.first, !owners.contains(uid) else { return nil }
        let account = first.isRoots ? nil : owners.first ?? nil
        return Subordination(
            account: account ?? first.ids.lowerBound, owners: owners.compactMap(\.self),
            ownerName: UInt32(first.owner).map(SystemAccounts.name(ofUID:)) ?? first.owner)
    }
}

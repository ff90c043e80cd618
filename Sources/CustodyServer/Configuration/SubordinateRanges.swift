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
                let content = try text(file)
                if let line = unreadableLine(content) {
                    gap = "line \(line) of \(file) is no range of subordinate ids (user:first:count); correct or remove it"
                }
                return parse(content)
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
            guard let (owner, first, count) = fields(Substring(line)), count > 0, let start = UInt32(exactly: first) else { return nil }
            let range = Range(owner: owner, ids: start...UInt32(clamping: first + min(count, 1 << 32) - 1))
            // Such as `root:1000:1`, by which a container shows one of the machine's own users.
            return range.isRoots && count == 1 ? nil : range
        }
    }

    /// The number of the first line that is neither a range, nor empty, nor a comment: another program may make something of it.
    static func unreadableLine(_ text: String) -> Int? {
        text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated().first { _, line in
            let rest = line.drop(while: isWhiteSpace)
            return !rest.isEmpty && rest.first != UInt8(ascii: "#") && fields(Substring(line)) == nil
        }.map { $0.offset + 1 }
    }

    private static func fields(_ line: Substring) -> (owner: String, first: UInt64, count: UInt64)? {
        let parts = line.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, let first = number(parts[1]), let count = number(parts[2]) else { return nil }
        return (String(Substring(parts[0])), first, count)
    }

    /// As strtoul(3) reads it with base 0: white space and a sign may stand before it, and what is negative counts from the other end.
    private static func number(_ text: Substring.UTF8View) -> UInt64? {
        var digits = text.drop(while: isWhiteSpace)
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative || digits.first == UInt8(ascii: "+") { digits = digits.dropFirst() }
        var radix = 10
        if digits.count > 1, digits.first == UInt8(ascii: "0") {
            digits = digits.dropFirst()
            radix = 8
            if digits.first == UInt8(ascii: "x") || digits.first == UInt8(ascii: "X") {
                digits = digits.dropFirst()
                radix = 16
            }
        }
        // There is one sign at most, and Swift would take another.
        guard digits.first != UInt8(ascii: "+"), digits.first != UInt8(ascii: "-"), let value = UInt64(Substring(digits), radix: radix) else {
            return nil
        }
        return isNegative ? 0 &- value : value
    }

    /// By isspace(3).
    private static func isWhiteSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

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
        subordination(
            of: uid, owner: { $0.isRoots ? .uid(0) : SystemAccounts.uid(ofUser: $0.owner).map { Owner.uid($0) } ?? .nobody },
            name: { SystemAccounts.name(ofUID: $0) })
    }

    /// Who has a range.
    enum Owner {
        case uid(UInt32)
        /// There is no such user.
        case nobody
        case unknown
    }

    /// A range that somebody else than the uid itself has.
    typealias Link = (range: Range, owner: Owner)

    /// So many owners of owners are looked for.
    private static let bound = 64

    /// Whose a uid is, to the end: an owner's uid may be subordinate itself. Where that leads in a circle, or does not end, the
    /// owners count as unknown.
    func subordination(of uid: UInt32, owner: (Range) -> Owner, name: (UInt32) -> String?) -> Subordination? {
        let chain = self.chain(ofOwnersOf: uid, owner: owner)
        guard var last = chain.links.first else { return nil }
        var areKnown = chain.areAll
        var owners: [UInt32] = []
        for link in chain.links {
            switch link.owner {
            case .uid(let owner): if !owners.contains(owner) { owners.append(owner) }
            case .nobody: break
            case .unknown: areKnown = false
            }
        }
        // The use goes to the first owner's first owner, and so on. Root's connections must not be used up by containers.
        var account = uid
        var passed: Set<UInt32> = [uid]
        var lowest = last.range.ids.lowerBound
        while let next = self.links(of: account, owner: owner).first {
            last = next
            lowest = min(lowest, next.range.ids.lowerBound)
            guard case .uid(let owner) = next.owner, owner != 0 else {
                account = next.range.ids.lowerBound
                break
            }
            guard passed.insert(owner).inserted, passed.count <= Self.bound else {
                // One for all of the circle.
                return Subordination(account: lowest, owners: nil, ownerName: nil)
            }
            account = owner
        }
        return Subordination(
            account: account, owners: areKnown ? owners : nil, ownerName: UInt32(last.range.owner).map(name) ?? last.range.owner)
    }

    /// The ranges that a uid is in, those that their owners are in, and so on; and whether these are all.
    func chain(ofOwnersOf uid: UInt32, owner: (Range) -> Owner) -> (links: [Link], areAll: Bool) {
        var links = self.links(of: uid, owner: owner)
        var looked: Set<UInt32> = [uid]
        var index = 0
        while index < links.count {
            if case .uid(let next) = links[index].owner, next != 0 {
                guard next != uid, looked.count <= Self.bound else { return (links, false) }
                if looked.insert(next).inserted { links += self.links(of: next, owner: owner) }
            }
            index += 1
        }
        return (links, true)
    }

    /// Some ranges hold their owners themselves, which makes nobody subordinate.
    private func links(of uid: UInt32, owner: (Range) -> Owner) -> [Link] {
        ranges(with: uid).map { (range: $0, owner: owner($0)) }.filter { link in
            if case .uid(uid) = link.owner { false } else { true }
        }
    }
}

/// A unit of the machine's systemd, as the path of a control group tells it.
public struct SystemdUnit: Sendable, Hashable {
    /// Such as `billing.service`.
    public let name: String
    /// The slices that it is in, the outermost first.
    public let slices: [String]

    private static let suffixes = [".service", ".scope", ".socket", ".mount", ".swap"]

    /// The unit is the first part of the path that is no slice. What comes below it is not systemd's but the unit's own, or a
    /// container's or a user's, who could call it anything.
    ///
    /// - Parameter path: From the root of the hierarchy, such as `/system.slice/billing.service`. nil if no unit is in it.
    public init?(cgroup path: String) {
        var slices: [String] = []
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            // systemd puts it before names that the kernel would take for its own files.
            let isEscaped = part.first == UInt8(ascii: "_")
            guard let name = String(isEscaped ? part.dropFirst() : part), Self.isName(name) else { return nil }
            if name.hasSuffix(".slice") {
                slices.append(name)
            } else if Self.suffixes.contains(where: name.hasSuffix) {
                self.name = name
                self.slices = slices
                return
            } else {
                return nil
            }
        }
        return nil
    }

    /// Whether it has this name, or is in a slice of this name.
    public func isWithin(_ unit: String) -> Bool { name == unit || slices.contains(unit) }

    /// Whether a rule can name it: a unit that has processes, or a slice.
    public static func canBeNamed(_ name: String) -> Bool {
        isName(name) && ([".slice"] + suffixes).contains { name.hasSuffix($0) && name.utf8.count > $0.utf8.count }
    }

    /// ASCII only, so that equal strings are equal bytes (systemd.unit(5)).
    private static func isName(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count) && !name.hasPrefix(".")
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: ":-_.\\@".utf8.contains(byte)
                }
            }
    }
}

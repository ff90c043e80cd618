import ToolSupport

/// What the doctor found, line by line.
struct DoctorReport: Encodable {
    enum Level: String, Encodable, Comparable {
        case ok, warn, fail

        private var rank: Int { self == .ok ? 0 : self == .warn ? 1 : 2 }
        static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
    }

    struct Check: Encodable {
        /// A stable name for programs.
        let id: String
        let level: Level
        /// What fits or does not, and why.
        let detail: String
    }

    /// The rate of the operation that wrapping consists of.
    struct Speed: Encodable {
        let key: String
        let bytes: Int
        let oneSessionPerSecond: Int
        let twoSessionsPerSecond: Int
    }

    private(set) var result = Level.ok
    private(set) var checks: [Check] = []
    var token: TokenView?
    var speed: Speed?

    mutating func add(_ id: String, _ level: Level, _ detail: String) {
        checks.append(Check(id: id, level: level, detail: detail))
        result = max(result, level)
    }

    func show() {
        var table = Table()
        for check in checks { table.add(check.level.rawValue, check.id, check.detail) }
        table.show()
        let (warnings, failures) = (checks.filter { $0.level == .warn }.count, checks.filter { $0.level == .fail }.count)
        Output.say("")
        switch result {
        case .ok: Output.say("Everything fits.")
        case .warn: Output.say("The token fits; \(warnings == 1 ? "one line is" : "\(warnings) lines are") worth a look.")
        case .fail: Output.say("The token does not fit: \(failures == 1 ? "one check" : "\(failures) checks") failed.")
        }
    }
}

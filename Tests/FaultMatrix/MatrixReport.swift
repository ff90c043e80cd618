import PKCS11

/// What came of a run.
public struct MatrixReport: Sendable {
    public var results: [CellResult] = []
    /// What was wrong at the end of daemons' lives, such as an audit log that is not whole.
    public var lifeProblems: [String] = []
    /// Operations of callers that were held against what they must give.
    public var operations = 0
    public var logins = 0
    /// Calls of PKCS#11 functions.
    public var calls = 0
    public var duration = Duration.zero

    public var failed: [CellResult] { results.filter { !$0.isPassed } }
    public var isPassed: Bool { failed.isEmpty && lifeProblems.isEmpty }

    mutating func merge(_ other: MatrixReport) {
        results += other.results
        lifeProblems += other.lifeProblems
        operations += other.operations
        logins += other.logins
        calls += other.calls
    }

    /// How the cells went by function, class and phase, as a table, and what failed, by name.
    public var text: String {
        var lines: [String] = []
        func column(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
        lines.append(column("function", 22) + column("class", 12) + Phase.allCases.map { column($0.rawValue, 12) }.joined())
        let groups = Dictionary(grouping: results) { Row(function: $0.cell.function?.rawValue ?? "token", kind: $0.cell.kind) }
        for row in groups.keys.sorted() {
            let counts = Phase.allCases.map { phase in
                let cells = (groups[row] ?? []).filter { $0.cell.phase == phase }
                let passed = cells.count { $0.isPassed }
                return column(cells.isEmpty ? "-" : passed == cells.count ? "\(passed)" : "\(passed) of \(cells.count)", 12)
            }
            lines.append(column(row.function, 22) + column(row.kind, 12) + counts.joined())
        }
        if !failed.isEmpty { lines += ["", "failed:"] }
        for result in failed.sorted(by: { "\($0.cell)" < "\($1.cell)" }) {
            lines.append("  \(result.cell)")
            lines += result.problems.map { "      " + $0.replacing("\n", with: "\n      ") }
        }
        if !lifeProblems.isEmpty { lines += ["", "at the end of daemons' lives:"] + lifeProblems.map { "  \($0)" } }
        let late = results.filter { $0.isPassed && $0.isSecondTry }
        if !late.isEmpty { lines += ["", "late at the first try, not at the second: " + late.map { "\($0.cell)" }.sorted().joined(separator: ", ")] }
        let longest = results.filter(\.isPassed).map(\.recovery).max() ?? .zero
        let errors = results.map(\.errors).reduce(0, +)
        lines += [
            "",
            "\(results.count) cells, \(failed.count) failed; \(operations) operations checked, \(errors) of them answered with an error; "
                + "\(calls) calls of PKCS#11, \(logins) logins; longest recovery \(Int(longest / .milliseconds(1))) ms; "
                + "\(Int(duration / .seconds(1))) s",
        ]
        return lines.joined(separator: "\n")
    }

    private struct Row: Hashable, Comparable {
        let function: String
        let kind: String
        static func < (left: Row, right: Row) -> Bool { (left.function, left.kind) < (right.function, right.kind) }
    }
}

extension Cell {
    /// The class that it is counted in.
    var kind: String {
        switch trouble {
        case .code(let value): function.map { "\(Expectation.subject(of: value, from: $0))" } ?? "code"
        case .lostAnswer: "lost-answer"
        case .crash: "crash"
        case .hang, .hangOnce, .delay: "hang"
        case .sessionsLost, .loginLost: "lost"
        case .shortOutput, .wrongOutput, .longOutput: "output"
        case .removal, .swap: "reader"
        }
    }
}

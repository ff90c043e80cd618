import Foundation
import PKCS11
import TestSupport

/// All cells, and those that can't be.
public struct Matrix: Sendable {
    public internal(set) var cells: [Cell]
    /// Nothing was left out by choice.
    var isWhole: Bool
    /// Cells that are not made, and why.
    public static let unmade: [(cell: String, reason: String)] = [
        ("C_GetFunctionList/*", "called once, when the library is loaded, before there is anything to be spoilt"),
        ("C_Initialize, C_Finalize, C_Login, C_GetSlotList/hang-once/*, C_GetTokenInfo, C_OpenSession/hang-once/first",
            "a thread that hangs in them while it connects has no substitute: the watchdog is no longer fed"),
        ("C_Decrypt/wrong-output/*", "a token that gives back other bytes and CKR_OK lies: the tag was checked inside it"),
        ("C_Sign/wrong-output/*", "`custodyctl audit verify` is what finds checkpoints with a wrong MAC"),
        ("C_Logout/*", "nobody calls it"),
        ("C_GenerateKeyPair/*", "called only where a token takes no public key from outside"),
        ("*/custodyctl with anything but a return value", "a command that hangs is ended by who has started it"),
        ("C_WrapKey/short-, wrong-, long-output/*", "the token must refuse the call, so that it gives nothing"),
    ]

    public init() {
        isWhole = true
        cells = []
        for phase in [Phase.first, .midLife, .load] {
            for function in CalledFunctions.byDaemon {
                cells += Self.troubles(of: function, in: phase).map { Cell(function: function, trouble: $0, phase: phase) }
            }
            cells += [.removal, .swap].map { Cell(function: nil, trouble: $0, phase: phase) }
        }
        for function in CalledFunctions.byTool {
            cells += Self.codes(of: function).map { Cell(function: function, trouble: .code($0), phase: .tool) }
        }
    }

    static func codes(of function: Function) -> [ReturnValue] {
        var seen: Set<ReturnValue> = []
        let all = StandardReturnValues.values(of: function) + StandardReturnValues.valuesFromTheField(of: function)
        return (all + [StandardReturnValues.vendors]).filter { seen.insert($0).inserted }
    }

    private static let giving: [Function] = [
        .getSlotList, .getTokenInfo, .openSession, .findObjects, .getAttributeValue, .generateKey, .encrypt, .decrypt,
        .generateRandom, .sign, .createObject,
    ]
    private static let counted: [Function] = [.getSlotList, .findObjects, .getAttributeValue, .encrypt, .decrypt, .sign]
    /// No second thread may repeat these while one hangs in them.
    private static let unrepeatable: [Function] = [.initialize, .finalize, .login, .getSlotList]
    /// Nor these while the first connection is made.
    private static let partsOfLogin: [Function] = [.getTokenInfo, .openSession]

    private static func troubles(of function: Function, in phase: Phase) -> [Trouble] {
        var troubles = codes(of: function).map { Trouble.code($0) }
        troubles += [.lostAnswer(.functionFailed), .hang, .delay, .crash(signal: SIGKILL), .crash(signal: SIGSEGV)]
        if !unrepeatable.contains(function), phase != .first || !partsOfLogin.contains(function) { troubles.append(.hangOnce) }
        if function != .initialize && function != .finalize { troubles += [.sessionsLost, .loginLost] }
        if counted.contains(function) { troubles += [.shortOutput, .longOutput] }
        if giving.contains(function), function != .decrypt, function != .sign { troubles.append(.wrongOutput) }
        return troubles
    }

    /// Keeps the cells whose name has all of these parts.
    public mutating func keep(function: String?, code: String?, phase: String?) {
        isWhole = isWhole && function == nil && code == nil && phase == nil
        cells = cells.filter { cell in
            (function == nil || cell.function?.rawValue == function || cell.function == nil && function == "token")
                && (code == nil || cell.trouble.name == code) && (phase == nil || cell.phase.rawValue == phase)
        }
    }

    // MARK: Running

    /// Runs the cells on so many stands side by side.
    ///
    /// - Parameter onResult: Told of each cell that is done.
    public func run(stands count: Int, onResult: @escaping @Sendable (CellResult) -> Void = { _ in }) async throws -> MatrixReport {
        let queue = CellQueue(cells)
        let start = ContinuousClock.now
        var report = MatrixReport()
        if isWhole { report.lifeProblems += try await DaemonLife.undeclaredCalls() }
        try await withThrowingTaskGroup(of: MatrixReport.self) { group in
            for _ in 0..<max(1, min(count, cells.count)) {
                group.addTask { try await Self.work(queue, onResult) }
            }
            for try await part in group { report.merge(part) }
        }
        report.duration = start.duration(to: .now)
        return report
    }

    private static func work(_ queue: CellQueue, _ onResult: @Sendable (CellResult) -> Void) async throws -> MatrixReport {
        var report = MatrixReport()
        var stand = try await Stand()
        var toolStand: ToolStand?
        var names: [String] = []
        while let cell = await queue.next() {
            if cell.phase == .tool {
                let own = if let toolStand { toolStand } else { try await ToolStand() }
                toolStand = own
                let result = await own.run(cell)
                report.results.append(result)
                onResult(result)
                continue
            }
            var run = CellRun(cell, on: stand)
            var result = await run.run()
            names.append("\(cell)")
            if result.isOnlyLate {
                stand.isDisturbed = true
                var again = CellRun(cell, on: stand)
                let second = await again.run()
                if second.isPassed { result = second }
                result.isSecondTry = true
            }
            report.results.append(result)
            onResult(result)
            if !result.isPassed {
                // What went wrong once must not show in other cells.
                report.merge(await end(stand, names))
                stand = try await Stand()
                names = []
            }
        }
        report.merge(await end(stand, names))
        return report
    }

    /// Looks at what a stand's daemons have left behind.
    private static func end(_ stand: Stand, _ names: [String]) async -> MatrixReport {
        var report = MatrixReport()
        do {
            stand.faults.clear()
            var problems = try await stand.stop()
            problems += try await stand.auditProblems()
            report.lifeProblems = problems.map { "\($0) (after \(names.suffix(4).joined(separator: ", ")), \(names.count) cells)" }
        } catch {
            report.lifeProblems.append("\(error)")
            try? await stand.kill()
        }
        await stand.finish()
        report.operations = stand.operations
        report.logins = stand.faults.logins
        report.calls = stand.faults.calls.values.reduce(0, +)
        return report
    }
}

private actor CellQueue {
    private var cells: [Cell]
    init(_ cells: [Cell]) { self.cells = cells.reversed() }
    func next() -> Cell? { cells.popLast() }
}

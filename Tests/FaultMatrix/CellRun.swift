import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import TestSupport

/// One cell on a stand: brings the daemon to the phase, makes the trouble, ends it, and looks whether everything holds.
struct CellRun {
    private let stand: Stand
    private let cell: Cell
    private let expectation: Expectation
    private var result: CellResult
    private var rules: [FaultRule] = []
    private var processID: Int32?
    private var loginsBefore = 0

    /// How soon there must be service again.
    private static let patience = Duration.seconds(1)
    /// How much longer than a call a look at the keys may take before it hangs (see hung-call-ms); the function may be called
    /// in one.
    private static let looking = 4
    /// A daemon that was ended has to be started first.
    private static let patienceForStart = Duration.seconds(15)

    init(_ cell: Cell, on stand: Stand) {
        self.cell = cell
        self.stand = stand
        expectation = Expectation(cell)
        result = CellResult(cell)
    }

    mutating func run() async -> CellResult {
        do {
            try await prepare()
            if cell.phase == .first { arm() }
            if cell.phase == .first { try await stand.launch() }
            processID = stand.processID
            let clients = Array(stand.traffic.prefix(cell.phase == .load ? 3 : 1))
            for client in clients { client.begin() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { for client in clients { client.end() } }
                if cell.phase == .load {
                    for client in clients { group.addTask { await client.run() } }
                    try await Self.rounds(1, of: clients)
                }
                if cell.phase != .first { arm() }
                provoke()
                if cell.phase != .load { for client in clients { group.addTask { await client.run() } } }
                try await meetTrouble(clients)
                try await endTrouble(stand.traffic[3], clients)
            }
            for client in clients { judge(client) }
            try await lookAround()
        } catch {
            if error is TimedOut { late("\(error)") } else { result.problems.append("\(error)") }
            stand.isDisturbed = true
        }
        if !result.isPassed { result.daemonLog = stand.errors }
        endFault()
        stand.faults.resetLogins()
        return result
    }

    // MARK: Before

    private mutating func prepare() async throws {
        let needsNewLog = cell.function.map { Reach($0) } == .newLog
        if cell.phase == .first || stand.isDisturbed || stand.processID == nil || needsNewLog {
            for problem in try await stand.stop() { result.problems.append("before: \(problem)") }
            if needsNewLog || stand.hasLongLog {
                for problem in try await stand.auditProblems() { result.problems.append("before: \(problem)") }
                try stand.beginNewLog()
            }
            if cell.phase != .first {
                // Without a checkpoint there is no anchor yet.
                let delaying = needsNewLog ? stand.faults.arm(.returns(.deviceError), on: .signInit) : nil
                try await stand.start()
                if let delaying { rules.append(delaying) } else { try await stand.settle() }
            }
        }
        if cell.phase != .first { await stand.traffic[0].round() }
        for client in stand.traffic { client.forget() }
        loginsBefore = stand.faults.logins
    }

    private mutating func arm() {
        loginsBefore = stand.faults.logins
        guard let function = cell.function, let fault = cell.trouble.fault else {
            return stand.faults.remove()
        }
        let rule = stand.faults.arm(fault, on: function, times: cell.trouble.isOnce ? 1 : nil)
        rules.insert(rule, at: 0)
    }

    /// Makes the daemon call the function.
    private func provoke() {
        guard let function = cell.function else { return }
        let needs: Reach
        switch (cell.phase, function) {
        case (.first, .finalize): needs = .reconnecting
        case (.first, .closeSession): needs = .changingSession
        case (.first, _): return
        default: needs = Reach(function)
        }
        switch needs {
        case .reconnecting: stand.faults.arm(.returns(.deviceRemoved), on: .generateRandom, times: 1)
        case .changingSession: stand.faults.arm(.returns(.sessionHandleInvalid), on: .generateRandom, times: 1)
        case .newLog: if rules.count > 1 { rules[1].clear() }
        case .always, .checkpoint: break
        }
    }

    private static func rounds(_ count: Int, of clients: [Traffic], within patience: Duration = .seconds(20)) async throws {
        let goals = clients.map { $0.report.rounds + count }
        try await eventually("answers", within: patience) { zip(clients, goals).allSatisfy { $0.report.rounds >= $1 } }
    }

    // MARK: The trouble

    private func meetTrouble(_ clients: [Traffic]) async throws {
        guard let rule = rules.first, cell.function != nil else {
            // The token is out: somebody has to notice.
            try await Self.rounds(2, of: clients)
            if cell.trouble == .swap {
                stand.faults.insert(label: Stand.other)
                try await Self.rounds(2, of: clients)
            }
            return
        }
        try await eventually("a call of \(cell.function?.rawValue ?? "")", within: .seconds(20)) { rule.hits > 0 }
        if case .crash = cell.trouble {
            try await eventually("the end of the process") { stand.processID == nil }
            return
        }
        // More than one call, unless no second one comes while the first lasts.
        let start = ContinuousClock.now
        if !cell.trouble.isOnce, cell.trouble != .hang {
            try await eventually("more calls") { rule.hits > 2 || start.duration(to: .now) > .milliseconds(300) }
        }
        if cell.trouble != .hangOnce { try await Self.rounds(1, of: clients) }
    }

    private mutating func endTrouble(_ probe: Traffic, _ clients: [Traffic]) async throws {
        if case .crash(let signal) = cell.trouble {
            if stand.exitStatus != .signalled(signal) { result.problems.append("it ended with \(String(describing: stand.exitStatus))") }
            for client in clients { client.end() }
            stand.faults.clear()
            // What was under way in the process that is gone counts no more.
            for client in clients { judge(client) }
            try await stand.launch()
            processID = stand.processID
            return try await awaitService(stand.traffic[3], within: Self.patienceForStart)
        }
        if cell.trouble == .hangOnce {
            // Served by another thread while the one hangs.
            try await awaitService(probe, within: Stand.hungAfter * Self.looking + Self.patience)
            if rules[0].held == 0 { result.problems.append("the call did not hang any more") }
            stand.faults.clear()
            return
        }
        if expectation.locks || expectation.mayLock { return try await awaitOperator(probe) }
        endFault()
        try await awaitService(probe, within: Self.patience)
    }

    private func endFault() {
        stand.faults.clear()
        // Only then: to put it in once more is to have pulled it.
        if cell.function == nil { stand.faults.insert(label: stand.token.label) }
    }

    /// - Parameter withOperator: A login that met the fault's end may lock the token a moment later: then an operator acts, once.
    private mutating func awaitService(_ probe: Traffic, within patience: Duration, withOperator: Bool = false) async throws {
        var start = ContinuousClock.now
        var operatorIsAway = withOperator
        while await !probe.isServed() {
            if operatorIsAway, await stand.status()?.token.state == .locked {
                operatorIsAway = false
                try await stand.correctPIN()
                // Until then there was nothing to wait for.
                start = .now
            }
            guard start.duration(to: .now) < .seconds(40) else {
                let token = await stand.status()?.token
                result.problems.append("no service after 40 s; the token is \(token.map { "\($0.state): \($0.detail)" } ?? "unknown")")
                stand.isDisturbed = true
                return
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        result.recovery = start.duration(to: .now)
        if result.recovery > patience { late("service came after \(result.recovery), not within \(patience)") }
    }

    private mutating func late(_ what: String) {
        result.problems.append(what)
        result.late += 1
    }

    /// A PIN is at fault, or may be: no login but one may be tried, and then an operator puts it right.
    private mutating func awaitOperator(_ probe: Traffic) async throws {
        // Time enough for another login, if one were tried.
        try await Task.sleep(for: .milliseconds(400))
        var isLocked = await stand.status()?.token.state == .locked
        // A refusal is on the disk before Status tells of it, and what is kept of the PIN is slowly made.
        let start = ContinuousClock.now
        while expectation.locks, !isLocked, start.duration(to: .now) < .seconds(10) {
            try await Task.sleep(for: .milliseconds(50))
            isLocked = await stand.status()?.token.state == .locked
        }
        let after = stand.faults.loginsAfterRefusal
        if expectation.locks {
            if !isLocked { result.problems.append("the token is not locked in Status after a PIN error") }
            if after > 0 { result.problems.append("\(after) logins after the PIN was refused") }
        } else if isLocked, cell.function != .login, stand.faults.logins - loginsBefore > 1 {
            result.problems.append("\(stand.faults.logins - loginsBefore) logins after a PIN error")
        }
        stand.faults.clear()
        if isLocked { try await stand.correctPIN() }
        try await awaitService(probe, within: Self.patience, withOperator: !isLocked)
    }

    // MARK: Afterwards

    private mutating func judge(_ client: Traffic) {
        let report = client.report
        result.problems += report.wrong.prefix(3)
        for (failure, count) in report.failures.sorted(by: { "\($0.key)" < "\($1.key)" }) {
            result.errors += count
            if isAllowed(failure) { continue }
            let problem = "callers were told \(failure) (\(count) times)"
            // Nothing hangs, so it is the machine that had no time.
            if failure.isDeadline { late(problem) } else { result.problems.append(problem) }
        }
        if report.longest > Stand.deadline + .milliseconds(800) {
            late("an answer took \(report.longest) with a deadline of \(Stand.deadline)")
        }
        client.forget()
    }

    private func isAllowed(_ failure: Traffic.Failure) -> Bool {
        let isCrash = if case .crash = cell.trouble { true } else { false }
        switch failure.code {
        case .server(let code):
            if code == .tokenUnavailable, expectation.isPassing, !failure.isRetryable { return false }
            // Provoking is trouble as well.
            if code == .tokenUnavailable, isProvoked { return true }
            return expectation.allowed.contains(code) || failure.isOpening && expectation.allowedForOpening.contains(code)
        case .cannotConnect: return cell.phase == .first || isCrash
        case .connectionLost, .shutDown: return isCrash
        // A daemon that starts does not answer yet.
        case .deadlineExceeded: return cell.phase == .first || cell.trouble == .hang || cell.trouble == .hangOnce || isCrash
        default: return false
        }
    }

    private var isProvoked: Bool { cell.phase == .first || cell.function.map { Reach($0) == .reconnecting || Reach($0) == .changingSession } ?? true }

    private mutating func lookAround() async throws {
        let isCrash = if case .crash = cell.trouble { true } else { false }
        guard let now = stand.processID, now == processID else {
            result.problems.append("the daemon has ended: \(String(describing: stand.exitStatus)) \(stand.errors.suffix(400))")
            stand.isDisturbed = true
            return
        }
        if expectation.mayLoseBlobs {
            for client in stand.traffic { client.drop() }
        } else {
            var lost: Set<String> = []
            for client in stand.traffic { lost.formUnion(await client.openAll()) }
            result.problems += lost.sorted()
            if !lost.isEmpty { for client in stand.traffic { client.drop() } }
        }
        if expectation.mayLeakSessions || isCrash {
            stand.isDisturbed = true
        } else {
            do {
                try await eventually("sessions to be closed", within: .seconds(4)) { stand.faults.openSessions <= stand.sessions }
            } catch {
                result.problems.append("\(stand.faults.openSessions) sessions are open, before it were \(stand.sessions)")
                stand.isDisturbed = true
            }
        }
        if stand.faults.logins != loginsBefore { stand.isDisturbed = true }
        // A token that has refused an anchor is not asked again.
        if cell.function == .setAttributeValue || cell.function == .createObject { stand.isDisturbed = true }
        if let state = await stand.status()?.token.state, state != .ready, state != .degraded {
            result.problems.append("Status shows the token as \(state) although it serves")
        }
    }
}

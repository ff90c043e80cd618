import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import TestSupport

/// What happens to the daemon from outside: faults of the token, its removal, crashes and restarts, one after the other at
/// random moments, now and then two at once.
final class Weather: Sendable {
    private let site: Site
    private let host: Host
    private let world: World
    private let book: Book
    private let plan: Plan
    private let gate: Gate

    init(_ site: Site, _ host: Host, _ world: World, _ book: Book, _ plan: Plan, _ gate: Gate) {
        (self.site, self.host, self.world, self.book, self.plan, self.gate) = (site, host, world, book, plan, gate)
    }

    private static let removals = ["removal", "another token"]
    private static let busiest: [Function] = [.encrypt, .encryptInit, .decrypt, .decryptInit, .getTokenInfo, .findObjects, .getAttributeValue]
    private static let ends = ["kill -9", "SIGTERM", "crash in the module"]

    func run() async throws {
        var random = RandomSource(seed: plan.seed, part: "weather")
        // Each kind once, then at random.
        let kinds = (FaultChoice.kinds + Self.removals + ["PIN refused", "standstill"] + (plan.hasLongRemoval ? ["long removal"] : []))
            .filter { !plan.without.contains($0) }
        let ends = Self.ends.filter { !plan.without.contains($0) }
        var (due, dueEnds) = (kinds.shuffled(using: &random), ends.shuffled(using: &random))
        // The first one is long, so that there is one to see what grows.
        var endOfLife = plan.longLife
        while !world.isOver {
            try await Task.sleep(for: random.pause(mean: plan.pause))
            await gate.enter()
            // In a short run everything else comes before, so that one life has it all.
            let isLifeOver = plan.isShort ? due.isEmpty : host.life.map { $0.began + endOfLife < .now } ?? true
            let kind: String
            if isLifeOver, !ends.isEmpty {
                kind = dueEnds.popLast() ?? random.element(ends)
                endOfLife = lifetime(&random)
            } else {
                kind = due.popLast() ?? usual(&random)
            }
            if !plan.without.contains(kind), !world.isOver { try await disturb(kind, &random) }
            if due.isEmpty, dueEnds.isEmpty { world.done("weather") }
            // Else the next one comes on top, or before the daemon is well again.
            if !random.oneIn(4) { try await clear() }
            await gate.leave()
        }
    }

    /// A life that was meant to be long is not ended in another way.
    private var isOfAge: Bool { host.life.map { $0.began + plan.longLife < .now } ?? true }

    private func usual(_ random: inout RandomSource) -> String {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<4: random.element(Self.removals)
        case 4: "PIN refused"
        case 5: "standstill"
        default: random.element(FaultChoice.kinds)
        }
    }

    /// Most lives are short; some are long enough to see what grows.
    private func lifetime(_ random: inout RandomSource) -> Duration {
        random.oneIn(4) ? plan.longLife : random.pause(mean: .seconds(30))
    }

    private func clear() async throws {
        while !world.isClear, !world.isOver { try await Task.sleep(for: .milliseconds(20)) }
    }

    // MARK: What there is

    private func disturb(_ kind: String, _ random: inout RandomSource) async throws {
        book.count("did \(kind)")
        switch kind {
        case "removal", "another token", "long removal": try await remove(kind, &random)
        case "kill -9": try await end(kind, .signalled(SIGKILL)) { $0.process.signal(SIGKILL) }
        case "SIGTERM": try await end(kind, .exited(0)) { $0.process.signal(SIGTERM) }
        case "crash in the module": try await crash(&random)
        case "standstill": try await standStill(random.duration(300...2_000))
        case "PIN refused": try await refusePIN(restarts: random.oneIn(3) && isOfAge)
        default: try await fault(kind, &random)
        }
    }

    private func remove(_ kind: String, _ random: inout RandomSource) async throws {
        let duration = kind == "long removal" ? plan.longRemoval : random.duration(200...(plan.isShort ? 1_000 : 5_000))
        world.disturb("\(kind) for \(duration.inMilliseconds) ms")
        if kind == "another token" { site.faults.insert(label: "other") } else { site.faults.remove() }
        try await Task.sleep(for: duration)
        site.faults.insert(label: site.token.label)
        world.calm(kind, kind: kind)
    }

    private func end(_ kind: String, _ way: ExitStatus, _ body: (Host.Life) -> Void) async throws {
        world.disturb(kind)
        try await host.restart([way]) { life in body(life) }
        world.calm(kind, kind: kind)
    }

    /// As when a virtual machine is moved: time goes on and the daemon does not.
    private func standStill(_ duration: Duration) async throws {
        guard let life = host.life else { return }
        world.disturb("the daemon stands still for \(duration.inMilliseconds) ms")
        life.process.signal(SIGSTOP)
        try await Task.sleep(for: duration)
        life.process.signal(SIGCONT)
        world.calm("standstill", kind: "standstill")
    }

    private func crash(_ random: inout RandomSource) async throws {
        let signal = random.element([SIGSEGV, SIGABRT, SIGKILL])
        let function = random.element(Self.busiest)
        world.disturb("crash by signal \(signal) in \(function.rawValue)")
        try await host.restart([.signalled(signal)]) { _ in
            let rule = site.faults.arm(.crashes(signal: signal), on: function, times: 1)
            try await eventually("a call of \(function.rawValue)") { rule.hits > 0 }
        }
        world.calm("crash", kind: "crash in the module")
    }

    private func fault(_ kind: String, _ random: inout RandomSource) async throws {
        let called = site.faults.calls.keys.sorted().compactMap(Function.init(rawValue:))
        // In a short run only what is called all the time, so that every fault is met.
        let choice = FaultChoice(kind, called: plan.isShort ? Self.busiest : called, &random)
        world.disturb(choice.description, tolerating: choice.tolerated)
        book.count("fault \(choice.function?.rawValue ?? "any")")
        let rule = site.faults.arm(choice.fault, on: choice.function, times: choice.times)
        let breaking = choice.breaksConnection ? site.faults.arm(.losesSessions(), on: .getTokenInfo, times: 1) : nil
        let end = ContinuousClock.now + choice.window
        while ContinuousClock.now < end, choice.times.map({ rule.hits < $0 }) ?? true { try await Task.sleep(for: .milliseconds(10)) }
        let hits = rule.hits
        rule.clear()
        breaking?.clear()
        book.count("hits of faults", hits)
        world.calm("\(choice.description): \(hits) calls", kind: kind)
    }

    /// The token says that the PIN is wrong: one attempt, and none before an operator acts.
    private func refusePIN(restarts: Bool) async throws {
        site.faults.resetLogins()
        world.disturb("PIN refused", tolerating: [.tokenLocked])
        let rule = site.faults.arm(.returns(.pinIncorrect), on: .login)
        let breaking = site.faults.arm(.losesSessions(), on: .getTokenInfo, times: 1)
        do {
            try await eventually("a refused login", within: .seconds(30)) { site.faults.refusedLogins > 0 }
            try await Task.sleep(for: .milliseconds(plan.isShort ? 500 : 2_000))
        } catch {
            book.violation(.wrong, "no login within 30 s of the connection's loss")
        }
        breaking.clear()
        if site.faults.loginsAfterRefusal > 0 {
            book.violation(.wrong, "\(site.faults.loginsAfterRefusal) logins were tried after a refused PIN")
        }
        rule.clear()
        // The operator, by whom the PIN is right after all.
        let told = try await TestSupport.run("custodyctl", arguments: ["token", "retry-pin", "--config", site.daemonConfiguration])
        if told.status != .exited(0) { book.violation(.wrong, "custodyctl token retry-pin: \(UnexpectedResult(told))") }
        if restarts {
            try await host.restart([.exited(0)]) { $0.process.signal(SIGTERM) }
        } else {
            do {
                // Another operator may be trying a broken configuration at this moment: then nothing is reloaded.
                try await eventually("a reload") { (try? await site.custodyctl("reload")) != nil }
            } catch {
                book.violation(.wrong, "custodyctl reload, after the PIN was put right: \(error)")
            }
        }
        world.calm("PIN refused", kind: "PIN refused")
    }
}

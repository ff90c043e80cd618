import ArgumentParser
import Foundation
import TestSupport

/// A whole run.
struct Soak: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "The soak itself.")

    @Option(help: "How long it goes on.")
    var minutes: Double = 10

    @Option(help: "What happens in which order; a random one if not given.")
    var seed: UInt64?

    @Option(help: "How many callers ask at once.")
    var callers = 12

    @Option(help: "Milliseconds between two requests of a caller, on average.")
    var pause = 20

    @Option(help: "Worker threads of the daemon, each with a session.")
    var sessions = 2

    @Option(help: "How many blobs are kept to be opened later and at the end.")
    var keep = 20_000

    @Option(help: "What is not to happen, as the table calls it, such as 'login lost'; may be repeated.")
    var without: [String] = []

    @Flag(help: "Print every event when it happens.")
    var verbose = false

    func validate() throws {
        guard minutes > 0, callers > 0, pause >= 0, sessions > 0, keep > 0 else {
            throw ValidationError("minutes, callers, sessions and keep must be more than 0")
        }
    }

    func run() async throws {
        let plan = Plan(
            duration: .milliseconds(Int(minutes * 60_000)), seed: seed ?? UInt64.random(in: 1...999_999), callers: callers,
            callerPause: .milliseconds(pause), without: Set(without))
        say("custody-soak --minutes \(minutes) --seed \(plan.seed)")
        let started = ContinuousClock.now
        let book = Book(isVerbose: verbose)
        let site = try await Site(sessions: sessions)
        let host = Host(site, book)
        let judge = Judge(world: World(book, proof: plan.proof), book: book, treasury: Treasury(capacity: keep, seed: plan.seed))
        try await host.start()
        try await host.life?.process.line(containing: "token ready")
        let stranger = try Stranger.start(site)
        if stranger == nil { say("Strangers are left out: only root can be another user.") }
        let calm = CalmMoments(site, host, judge.world, book, plan, Gate())
        try await drive(site, host, judge, plan, calm)
        if let stranger { Stranger.judge(stranger, book) }

        try await Closing(site: site, host: host, judge: judge).run()
        let perLogin = try await BareModule.measure(site, cycles: plan.isShort ? 40 : 200)
        calm.judge(softHSMKilobytesPerLogin: max(0, perLogin))
        let report = Report(
            book: book, plan: plan, duration: started.duration(to: .now), growths: calm.growths, softHSMKilobytesPerLogin: perLogin)
        report.show()
        if !report.isClean { throw ExitCode(1) }
    }

    /// Everything at once, until the time is over; then the daemon is started once more, with nothing that disturbs.
    private func drive(_ site: Site, _ host: Host, _ judge: Judge, _ plan: Plan, _ calm: CalmMoments) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await host.keep() }
            group.addTask {
                try await disturb(site, host, judge, plan, calm)
                site.faults.clear()
                site.faults.insert(label: site.token.label)
                try site.writeConfiguration(isBanned: false)
                try await host.restart([.exited(0)]) { $0.process.signal(SIGTERM) }
                host.stopKeeping()
            }
            try await group.waitForAll()
        }
    }

    private func disturb(_ site: Site, _ host: Host, _ judge: Judge, _ plan: Plan, _ calm: CalmMoments) async throws {
        let (world, book, gate) = (judge.world, judge.book, calm.gate)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<plan.callers {
                let caller = Caller(judge: judge, socket: site.socket, pause: plan.callerPause)
                group.addTask { await caller.run(seed: plan.seed, part: "caller \(number)") }
            }
            group.addTask { await Prober(judge: judge, socket: site.socket).run(seed: plan.seed) }
            group.addTask { try await Weather(site, host, world, book, plan, gate).run() }
            group.addTask { try await Operators(site, host, world, book, plan, gate).run() }
            group.addTask { await BadClients(site: site, world: world, book: book, plan: plan).run() }
            group.addTask { try await calm.run() }
            group.addTask {
                try await Task.sleep(for: plan.duration)
                // Everything has to happen once, however slow the machine is.
                try await eventually("everything to happen once", within: .seconds(300)) { world.isAllDone }
                world.finish()
            }
            try await group.waitForAll()
        }
    }
}

import CustodyClient
import CustodyProtocol
import Foundation
import Synchronization
import TestSupport

/// Lets everything rest now and then, and looks at what the daemon holds.
final class CalmMoments: Sendable {
    private let site: Site
    private let host: Host
    private let world: World
    private let book: Book
    private let plan: Plan
    let gate: Gate
    private let vitals = Mutex<[Vitals]>([])

    init(_ site: Site, _ host: Host, _ world: World, _ book: Book, _ plan: Plan, _ gate: Gate) {
        (self.site, self.host, self.world, self.book, self.plan, self.gate) = (site, host, world, book, plan, gate)
    }

    func run() async throws {
        while !world.isOver {
            // In small steps, so that the end is not waited for.
            let next = ContinuousClock.now + plan.calmInterval
            while ContinuousClock.now < next, !world.isOver { try await Task.sleep(for: .milliseconds(50)) }
            if !world.isOver { try await rest() }
        }
    }

    private func rest() async throws {
        await gate.close()
        let patience = ContinuousClock.now + .seconds(90)
        while !world.isClear, !world.isOver, ContinuousClock.now < patience { try await Task.sleep(for: .milliseconds(20)) }
        world.pause(true)
        while !world.isIdle, ContinuousClock.now < patience { try await Task.sleep(for: .milliseconds(10)) }
        if world.isClear, world.isIdle { try await look() }
        world.pause(false)
        await gate.open()
    }

    private func look() async throws {
        // Connections that were closed just now, and threads on their way out.
        try await Task.sleep(for: .milliseconds(500))
        guard let life = host.life, life.process.status == nil else { return }
        let client = CustodyClient(.init(socket: site.socket, deadline: .seconds(5)))
        var status = try? await client.status()
        // What the token refused counts as trouble for ten seconds after.
        for _ in 0..<110 where status?.token.state == .degraded {
            try await Task.sleep(for: .milliseconds(100))
            status = try? await client.status()
        }
        await client.shutdown()
        guard let status else { return book.violation(.wrong, "no status at a calm moment") }
        // A change that is still on its way is no leak: the moment with the least of a few counts.
        var least: Vitals?
        for _ in 0..<5 {
            guard let now = Vitals(life, sessions: site.faults.openSessions, logins: Int(status.token.health.logins)) else { return }
            if least.map({ now.descriptors + now.threads + now.sessions < $0.descriptors + $0.threads + $0.sessions }) ?? true { least = now }
            try await Task.sleep(for: .milliseconds(50))
        }
        guard let least else { return }
        if status.token.state != .ready { book.violation(.wrong, "the token is \(status.token.state) at a calm moment: \(status.token.detail)") }
        book.count("calm moments")
        book.note(least.description)
        if least.age >= plan.warmUp { vitals.withLock { $0.append(least) } }
    }

    /// What grew in each life that lasted long enough.
    var growths: [Growth] {
        Dictionary(grouping: vitals.withLock { $0 }, by: \.life).sorted { $0.key < $1.key }
            // The session that keeps the login, the audit log's, and the workers'.
            .compactMap { Growth($0.value, mostSessions: 2 + site.sessions) }
    }

    /// Holds them against what is allowed.
    func judge(softHSMKilobytesPerLogin perLogin: Double) {
        for growth in growths {
            let slack = Self.slackKilobytes + Int(perLogin * Double(growth.logins))
            if growth.kilobytes > slack { book.violation(.leak, "\(growth.kilobytes) kB more in life \(growth.life), \(slack) kB are allowed") }
            if growth.descriptors > 1 { book.violation(.leak, "\(growth.descriptors) descriptors more in life \(growth.life)") }
            if growth.threads > 1 { book.violation(.leak, "\(growth.threads) threads more in life \(growth.life)") }
            if growth.sessions > 0 { book.violation(.leak, "\(growth.sessions) sessions too many in life \(growth.life)") }
        }
    }

    /// An allocator gives back late and not all.
    static let slackKilobytes = 6_144
}

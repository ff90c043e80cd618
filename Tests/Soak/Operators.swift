import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport

/// What operators do meanwhile, beside whatever happens to the token: rotate, disable and enable keys, change the rules,
/// rotate the audit log.
final class Operators: Sendable {
    private let site: Site
    private let host: Host
    private let world: World
    private let book: Book
    private let plan: Plan
    private let gate: Gate
    private let client: CustodyClient

    init(_ site: Site, _ host: Host, _ world: World, _ book: Book, _ plan: Plan, _ gate: Gate) {
        (self.site, self.host, self.world, self.book, self.plan, self.gate) = (site, host, world, book, plan, gate)
        client = CustodyClient(.init(socket: site.socket, deadline: .seconds(1)))
    }

    private static let kinds = ["key rotation", "kill switch", "reload", "broken reload", "audit rotation"]
    /// A token with thousands of objects is another test.
    private static let mostVersions = 150

    func run() async throws {
        var random = RandomSource(seed: plan.seed, part: "operators")
        let kinds = Self.kinds.filter { !plan.without.contains($0) }
        var due = kinds.shuffled(using: &random)
        if kinds.isEmpty { return world.done("operators") }
        var auditFiles = 0
        var isBanned = false
        while !world.isOver {
            try await Task.sleep(for: random.pause(mean: plan.pause * 2))
            await gate.enter()
            let kind = due.popLast() ?? random.element(kinds)
            book.count("did \(kind)")
            book.note("operator: \(kind)")
            do {
                switch kind {
                case "key rotation": try await rotateKey()
                case "kill switch": try await disableAndEnable(&random)
                case "reload":
                    isBanned.toggle()
                    try await reload(isBanned: isBanned, bySignal: random.oneIn(2))
                case "broken reload": try await reloadBroken(isBanned: isBanned)
                default:
                    auditFiles += 1
                    try site.rotateAuditLog(auditFiles)
                }
            } catch {
                book.violation(.wrong, "an operator's \(kind) failed: \(error)")
            }
            if due.isEmpty { world.done("operators") }
            await gate.leave()
        }
        await client.shutdown()
    }

    /// As ``Site/custodyctl(_:)``; again if SoftHSM's files were being written when it read them.
    private func key(_ arguments: String...) async throws {
        var attempt = 1
        while true {
            let result = try await TestSupport.run(
                "custodyctl", arguments: ["key"] + arguments + ["--config", site.token.directory.file("operator.toml")])
            if result.status == .exited(0) { return }
            book.count("refused custodyctl")
            book.note("custodyctl key \(arguments.joined(separator: " ")): \(result.status) \(result.errors)")
            guard attempt < 3 else { throw UnexpectedResult(result) }
            attempt += 1
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private func rotateKey() async throws {
        guard world.highestVersion < Self.mostVersions else { return }
        world.beginRotation()
        try await key("rotate", "root")
        // From then on the new version wraps everywhere.
        try await Task.sleep(for: .seconds(1))
        world.settleRotation(world.highestVersion)
    }

    private func disableAndEnable(_ random: inout RandomSource) async throws {
        world.changeSecond()
        try await key("disable", "second", "--all")
        book.note("key second is disabled")
        try await Task.sleep(for: .seconds(1))
        world.settleSecond(false)
        try await Task.sleep(for: random.duration(200...3_000))
        world.changeSecond()
        try await key("enable", "second", "--all")
        try await served("second") { client in try await client.batch([.wrap(SecretBytes([1]), key: "second", context: [:])]).first }
        world.settleSecond(true)
        book.note("key second is enabled")
    }

    private func reload(isBanned: Bool, bySignal: Bool) async throws {
        world.changeBan()
        try site.writeConfiguration(isBanned: isBanned)
        let denials = isBanned ? 1 : 0
        if bySignal {
            // A signal that a daemon which is starting does not hear yet is not repeated by itself.
            try await eventually("the new rules") {
                host.life?.process.signal(SIGHUP)
                guard let status = try? await client.status() else { return false }
                return status.configuration.denials == denials && status.configuration.detail.isEmpty
            }
        } else {
            try await eventually("the reload") { (try? await client.reload())?.denials == UInt32(denials) }
        }
        world.settleBan(isBanned)
        book.note("the tenant is \(isBanned ? "banned" : "not banned")")
    }

    /// Nothing changes by it.
    private func reloadBroken(isBanned: Bool) async throws {
        // A daemon that is started with it ends at once, and should.
        await site.configurationLock.acquire()
        do {
            try site.writeBrokenConfiguration()
            do {
                _ = try await client.reload()
                book.violation(.wrong, "a broken configuration was loaded")
            } catch {
                if error.code != .server(.configurationInvalid) { book.note("the broken reload: \(error)") }
            }
            try site.writeConfiguration(isBanned: isBanned)
        } catch {
            book.violation(.wrong, "\(error)")
        }
        await site.configurationLock.release()
    }

    private func served(
        _ what: String, _ body: (CustodyClient) async throws -> Result<CustodyClient.Answer, CustodyClientError>?
    ) async throws {
        try await eventually("service with \(what)", within: plan.longRemoval + .seconds(60)) {
            if case .success? = try? await body(client) { true } else { false }
        }
    }
}

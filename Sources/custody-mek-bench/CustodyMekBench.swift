import ArgumentParser
import AWSKMS
import CustodyClient
import Foundation
import MasterKey
import SecureMemory
import TenantStorage
import ToolSupport

/// How fast tenants' master keys open, against the calls that an opening consists of.
@main
struct CustodyMekBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custody-mek-bench",
        abstract: "Measures the opening of many tenants' master keys, with the cache on and off, interleaved in one run.",
        discussion: """
            Example: custody-mek-bench --database sqlite:bench.db --socket custody.sock --root-key bench

            Makes the tenants first, in a database that holds nothing else. Each round takes the next tenants through every \
            scenario, so that the machine's moods meet all of them alike. Compare figures of one run only.
            """)

    static func main() async { await ToolMain.run(CustodyMekBench.self) { ToolError("failed", "\($0)") } }

    @Option(help: "The tenants' database.")
    var database: String

    @Option(help: "custodyd's socket.")
    var socket: String

    @Option(name: .customLong("root-key"), help: "The root key.")
    var rootKey: String

    @Option(help: "How many tenants.")
    var tenants = 10_000

    @Option(help: "How many openings go on at once.")
    var callers: [Int] = [1, 8]

    @Option(help: "Rounds.")
    var rounds = 10

    func run() async throws {
        let database = try TenantDatabases.open(database)
        let kms = try AWSKMSClient(.init())
        let custody = CustodyClient(.init(socket: socket, connections: 2, deadline: .seconds(30)))
        let preparation = Preparation(database: database, kms: kms, custody: custody, rootKey: rootKey)
        let names = try await preparation.tenants(tenants)
        let records = try await preparation.inner(names)

        let off = MasterKeys(database: database, kms: kms, custody: custody, cache: nil)
        var scenarios: [Scenario] = []
        for callers in callers {
            let on = MasterKeys(database: database, kms: kms, custody: custody, cache: MasterKeyCacheLimits(age: .seconds(3_600), keys: tenants))
            scenarios += [
                Scenario("read the row", callers) { _ = try await database.record(of: names[$0]) },
                Scenario("unwrap by custodyd", callers) { _ = try await custody.unwrap(records[$0].blob, context: records[$0].rootKeyContext) },
                Scenario("decrypt by the KMS", callers) {
                    _ = try await kms.decrypt(records[$0].ciphertext, under: records[$0].key, context: names[$0].encryptionContext)
                },
                Scenario("open, cache off", callers) { _ = try await off.open(names[$0]) },
                Scenario("open, cache on, first time", callers) { _ = try await on.open(names[$0]) },
                Scenario("open, cache on, again", callers) { _ = try await on.open(names[$0]) },
            ]
        }
        for round in 0..<rounds {
            Output.complain("round \(round + 1) of \(rounds)")
            let part = (tenants * round / rounds)..<(tenants * (round + 1) / rounds)
            for index in scenarios.indices { try await scenarios[index].run(part) }
        }
        Scenario.report(scenarios, tenants: tenants)
        await custody.shutdown()
        await kms.shutdown()
        await database.close()
    }
}

import ArgumentParser
import MasterKey
import ToolSupport

/// `rewrap`: the outer layer anew.
struct RewrapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewrap", abstract: "Move envelopes to the newest version of their root key, without showing the MEK to anybody.",
        discussion: """
            Example: custody-mek rewrap --all      (after: custodyctl key rotate payments)

            The KMS is not asked. With --all, a tenant that fails is reported and the others go on, unless custodyd, its \
            token or the database is missing. It may be stopped and run again.
            """)

    private struct Document: Encodable {
        struct Failure: Encodable {
            let tenant: String
            let code: String
            let message: String
        }
        var rewrapped: [String] = []
        var alreadyNewest: [String] = []
        var notEnabled: [String] = []
        var failed: [Failure] = []
    }

    @Argument(help: ArgumentHelp("The tenant's name.", valueName: "tenant"))
    var tenant: String?

    @Flag(help: "All tenants.")
    var all = false

    @OptionGroup var custody: CustodyOptions
    @OptionGroup var trust: TrustOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (tenant == nil) == all else { throw ValidationError("name a tenant, or give --all") }
    }

    func run() async throws {
        let name = try tenant.map { text throws(MasterKeyError) in try TenantName(text) }
        var document = Document()
        let ended: (any Error)? = try await common.withDatabase { database in
            let pins = try trust.pins(of: database)
            return try await custody.withClient { client in
                let rewrapping = Rewrapping(database: database, custody: client, pins: pins)
                if let name {
                    try await rewrap(name, rewrapping, &document)
                    return nil
                }
                // What was done is told also if it ends early.
                do { try await rewrapAll(database, rewrapping, &document) } catch { return error }
                return nil
            }
        }
        if common.json, ended == nil {
            try Output.json(document)
        } else if !common.json {
            Output.say("\(document.rewrapped.count) rewrapped, \(document.alreadyNewest.count) under the newest version already, \(document.notEnabled.count) not enabled, \(document.failed.count) failed")
        }
        if let ended { throw ended }
        guard document.failed.isEmpty else { throw ExitCode(ToolExit.failed) }
    }

    private func rewrapAll(_ database: any TenantDatabase, _ rewrapping: Rewrapping, _ document: inout Document) async throws {
        for row in try await database.rowsWithoutName() {
            document.failed.append(.init(tenant: "", code: row.code.rawValue, message: row.message))
            Output.complain("custody-mek: \(row.description)")
        }
        for try await name in TenantNames(database) {
            do {
                try await rewrap(name, rewrapping, &document)
            } catch let error as MasterKeyError where error.code == .notEnabled {
                document.notEnabled.append(name.description)
            } catch let error as MasterKeyError where error.concernsTenantOnly {
                document.failed.append(.init(tenant: name.description, code: error.code.rawValue, message: error.message))
                Output.complain("custody-mek: \(error.description)")
            }
        }
    }

    private func rewrap(_ tenant: TenantName, _ rewrapping: Rewrapping, _ document: inout Document) async throws {
        switch try await rewrapping.run(tenant) {
        case .rewrapped(let record):
            document.rewrapped.append(record.tenant.description)
            if !common.json { Output.say("\(record.tenant): now under \(record.layers)") }
        case .alreadyNewest(let record): document.alreadyNewest.append(record.tenant.description)
        }
    }
}

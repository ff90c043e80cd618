import ArgumentParser
import MasterKey
import ToolSupport

/// `status`: a tenant and its journal, or all tenants.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show a tenant's state, keys, layers and journal, or a list of all tenants.",
        discussion: """
            Example: custody-mek status acme

            Reads the database only: neither KMS nor custodyd is asked, nothing is opened.
            """)

    private struct TenantDocument: Encodable {
        let tenant: TenantView
        let journal: [OperationView]
    }

    private struct ListDocument: Encodable {
        let database: String
        let tenants: [TenantView]
        let damaged: [Damage]
    }

    /// A row that can't be read.
    private struct Damage: Encodable {
        let tenant: String
        let message: String
    }

    @Argument(help: ArgumentHelp("The tenant's name; without it, all tenants.", valueName: "tenant"))
    var tenant: String?

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let name = try tenant.map { text throws(MasterKeyError) in try TenantName(text) }
        try await common.withDatabase { database in
            if let name { try await showOne(name, database) } else { try await showAll(database) }
        }
    }

    private func showOne(_ name: TenantName, _ database: any TenantDatabase) async throws {
        let record = try await database.existingRecord(of: name)
        let journal = try await database.operations(of: name)
        let view = TenantView(record, unfinished: journal.map(\.operation).first { $0.state == .unfinished })
        let operations = journal.map { OperationView($0.operation, $0.steps) }
        if common.json { return try Output.json(TenantDocument(tenant: view, journal: operations)) }
        try view.show(json: false, "tenant \(name)")
        guard !operations.isEmpty else { return }
        Output.say("journal, the newest first")
        for operation in operations {
            Output.say("  \(operation.summary)")
            Output.say("    KMS keys: \(operation.keys)")
            var table = Table(indent: 4)
            for step in operation.steps { table.add("\(step.step)", step.name, step.at) }
            table.show()
        }
    }

    private func showAll(_ database: any TenantDatabase) async throws {
        var views: [TenantView] = []
        var damaged: [Damage] = []
        for try await name in TenantNames(database) {
            do throws(MasterKeyError) {
                let unfinished = try await database.unfinishedOperation(of: name)
                views.append(TenantView(try await database.existingRecord(of: name), unfinished: unfinished))
            } catch {
                guard error.code == .rowDamaged else { throw error }
                damaged.append(Damage(tenant: name.description, message: error.message))
            }
        }
        for row in try await database.rowsWithoutName() { damaged.append(Damage(tenant: "", message: row.message)) }
        if common.json { return try Output.json(ListDocument(database: database.name, tenants: views, damaged: damaged)) }
        for row in damaged { Output.complain("custody-mek: \(row.message)") }
        guard !views.isEmpty else { return Output.say("\(database.name) holds no tenants") }
        var table = Table(["TENANT", "STATE", "ROOT KEY", "KMS KEY", "ENVELOPE SINCE", "LAST OPENED"])
        for view in views {
            table.add(
                view.tenant, view.state, view.rootKey.map { "\($0.name) v\($0.version)" } ?? "-", view.kmsKey, view.changedAt,
                view.lastOpenedAt ?? "never")
        }
        table.show()
    }
}

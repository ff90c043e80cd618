import ArgumentParser
import MasterKey
import ToolSupport

/// `settle`: what earlier runs could not finish by themselves.
struct SettleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settle", abstract: "Delete KMS keys that were asked for and never heard of, and clean old envelopes out of the files.",
        discussion: "Example: custody-mek settle acme      (when a note of enable or rotate-kms names it)")

    private struct Document: Encodable {
        let tenant: String
        let notes: [String]
    }

    @OptionGroup var tenant: TenantArgument
    @OptionGroup var services: ServiceOptions

    func run() async throws {
        let name = try tenant.tenant()
        try await services.withServices { services in
            let notes = try await EnvelopeChange(database: services.database, kms: services.kms, custody: services.custody, pins: services.pins).settle(name)
            if self.services.common.json { return try Output.json(Document(tenant: "\(name)", notes: notes)) }
            for note in notes { Output.say("note: \(note)") }
            if notes.isEmpty { Output.say("nothing is left to settle for tenant \(name)") }
        }
    }
}

import ArgumentParser
import MasterKey
import ToolSupport

/// `enable`: the user's root key over a fresh KMS key.
struct EnableCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Put the user's root key over the KMS: from then on neither alone opens the tenant's MEK.",
        discussion: """
            Example: custody-mek enable acme --root-key payments

            Ten steps, each recorded in the database. It may be stopped or killed at any moment: the tenant's row always holds \
            a MEK that opens, and running it again goes on where it stopped, with the choices that it was begun with.
            """)

    @OptionGroup var tenant: TenantArgument

    @Option(name: .customLong("root-key"), help: ArgumentHelp(
        "The root key's name, as custodyd knows it; needed to begin.", valueName: "name"))
    var rootKey: String?

    @OptionGroup var change: ChangeOptions

    @Option(name: .customLong("yes-i-understand"), help: ArgumentHelp(
        "The tenant's name again, instead of typing it at the terminal.", valueName: "tenant"))
    var confirmation: String?

    @OptionGroup var services: ServiceOptions

    func validate() throws {
        guard confirmation == nil || confirmation == tenant.name else {
            throw ValidationError("--yes-i-understand says '\(confirmation ?? "")', the tenant is '\(tenant.name)'; nothing was changed")
        }
    }

    func run() async throws {
        let name = try tenant.tenant()
        try await services.withServices { services in
            let record = try await services.database.existingRecord(of: name)
            // What is enabled has been confirmed.
            if !record.isEnabled { try confirm(record, try await services.database.unfinishedOperation(of: name)) }
            try await change.run(.enable, of: name, rootKey: rootKey, services, json: self.services.common.json)
        }
    }

    /// - Parameter unfinished: An unfinished operation, whose choices hold where none are made here.
    private func confirm(_ record: TenantRecord, _ unfinished: OperationRecord?) throws {
        let begun = unfinished?.kind == .enable ? unfinished : nil
        guard let rootKey = rootKey ?? begun?.rootKey else {
            throw ToolError.usage("--root-key is missing: tenant '\(record.tenant)' has no unfinished operation that names one. Nothing was changed")
        }
        let retires = change.retiresOldKey ?? begun?.retiresOldKey ?? true
        let days = change.deletionDays ?? begun?.deletionDays ?? EnvelopeChange.Request.usualDeletionDays
        let retirement =
            !retires
            ? "KMS key \(record.kmsKey) is left as it is: old backups of the database stay readable by the KMS alone."
            : "KMS key \(record.kmsKey) stops working at once, if no other tenant here uses it, and is erased in \(days) days; whatever else it encrypts dies with it (--keep-old-key leaves it)."
        let warning: DisplayText = """
            This encrypts the MEK of tenant '\(record.tenant)' under root key '\(rootKey)' of the user's HSM.
              1. Whoever removes the root key makes all data of the tenant unreadable, for ever. Nobody can bring them back.
              2. There is no way back to the KMS alone.
            \(retirement)

            """
        guard confirmation == nil else { return Output.complain(warning) }
        guard Terminal.isInteractive, let typed = try Terminal.answer(warning + "Type the tenant's name to go on: ") else {
            throw ToolError.usage(
                "nobody is at the terminal to type the tenant's name; --yes-i-understand \(record.tenant) stands for it. Nothing was changed")
        }
        guard typed == record.tenant.description else {
            throw ToolError("not-confirmed", "'\(typed)' is not '\(record.tenant)'; nothing was changed")
        }
    }
}

import ArgumentParser
import MasterKey
import ToolSupport

/// `accept`: an operator's word for a row.
struct AcceptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "accept", abstract: "Vouch for a tenant's row as it stands: one of an older release, or one that was restored from a backup.",
        discussion: """
            Example: custody-mek accept --all      (after: custody-mek migrate, for a database of an older release)
                     custody-mek accept acme       (after an older row of acme was restored on purpose)

            Rows are authenticated, and what was seen of a tenant is remembered: a row that somebody has changed does not \
            open. Here an operator says that a row is right all the same. It is opened first, and shown. Compare it with \
            what you know of the tenant from elsewhere: its MEK's id stands in all its sealed data.
            """)

    private struct Document: Encodable {
        struct Failure: Encodable {
            let tenant: String
            let code: String
            let message: String
        }
        var accepted: [String] = []
        var failed: [Failure] = []
    }

    @Argument(help: ArgumentHelp("The tenant's name.", valueName: "tenant"))
    var tenant: String?

    @Flag(help: "All tenants whose row an older release has written.")
    var all = false

    @Option(name: .customLong("kms-context"), help: ArgumentHelp(
        "The encryption context that the KMS got, if that was not the tenant's own; may be repeated.", valueName: "key=value"))
    var context: [String] = []

    @Option(name: .customLong("yes-i-understand"), help: ArgumentHelp(
        "The tenant's name again, or 'all', instead of typing it at the terminal.", valueName: "tenant"))
    var confirmation: String?

    @OptionGroup var services: ServiceOptions

    /// What has to be typed.
    private var word: String { tenant ?? "all" }

    func validate() throws {
        guard (tenant == nil) == all else { throw ValidationError("name a tenant, or give --all") }
        guard context.isEmpty || !all else { throw ValidationError("--kms-context goes with one tenant") }
        guard confirmation.map({ $0.utf8.elementsEqual(word.utf8) }) ?? true else {
            throw ValidationError("--yes-i-understand says '\(confirmation ?? "")', and not '\(word)'; nothing was changed")
        }
        _ = try KeyValue.dictionary(context, flag: "--kms-context")
    }

    func run() async throws {
        let name = try tenant.map { text throws(MasterKeyError) in try TenantName(text) }
        let entries = try KeyValue.dictionary(context, flag: "--kms-context")
        if confirmation == nil, !Terminal.isInteractive {
            throw ToolError.usage("nobody is at the terminal to vouch for a row; --yes-i-understand \(word) stands for it. Nothing was changed")
        }
        var document = Document()
        try await services.withServices { services in
            let acceptance = Acceptance(database: services.database, kms: services.kms, custody: services.custody, pins: services.pins)
            if let name {
                try await accept(name, acceptance, services.pins, entries.isEmpty ? nil : entries, &document)
            } else {
                try await acceptAll(services, acceptance, &document)
            }
        }
        if self.services.common.json {
            try Output.json(document)
        } else {
            Output.say("\(document.accepted.count) accepted, \(document.failed.count) failed")
        }
        guard document.failed.isEmpty else { throw ExitCode(ToolExit.failed) }
    }

    private func acceptAll(_ services: ServiceOptions.Services, _ acceptance: Acceptance, _ document: inout Document) async throws {
        for row in try await services.database.rowsWithoutName() {
            document.failed.append(.init(tenant: "", code: row.code.rawValue, message: row.message))
            Output.complain("custody-mek: \(row.description)")
        }
        for try await name in TenantNames(services.database) {
            do throws(MasterKeyError) {
                guard try await services.database.existingRecord(of: name).tag == nil else { continue }
                try await accept(name, acceptance, services.pins, nil, &document)
            } catch {
                guard error.concernsTenantOnly else { throw error }
                document.failed.append(.init(tenant: name.description, code: error.code.rawValue, message: error.message))
                Output.complain("custody-mek: \(error.description)")
            }
        }
    }

    private func accept(
        _ tenant: TenantName, _ acceptance: Acceptance, _ pins: TenantPins, _ context: [String: String]?, _ document: inout Document
    ) async throws(MasterKeyError) {
        let confirmation = confirmation
        let outcome = try await acceptance.run(tenant, kmsContext: context) { record throws(MasterKeyError) in
            try Self.confirm(record, pins, confirmation)
        }
        document.accepted.append(tenant.description)
        guard !services.common.json else { return }
        switch outcome {
        case .authenticated(let record): Output.say("\(tenant): authenticated, generation \(record.generation)")
        case .pinned(let record): Output.say("\(tenant): accepted as it stands, generation \(record.generation)")
        }
    }

    private static func confirm(_ record: TenantRecord, _ pins: TenantPins, _ confirmation: String?) throws(MasterKeyError) {
        var warning: DisplayText = """
            tenant '\(record.tenant)': MEK \(record.masterKeyID), encrypted by \(record.layers), KMS key \(record.kmsKey), changed \(TenantView.text(record.changedAt))

            """
        do throws(MasterKeyError) {
            try pins.check(record)
        } catch {
            guard error.code != .pinsUnusable else { throw error }
            // A row without a tag is no older one.
            if record.tag != nil || error.code != .rowOutdated { warning = warning + "WARNING: \(error.message)\n" }
        }
        guard confirmation == nil else { return Output.complain(warning) }
        let typed: String?
        do throws(ToolError) {
            typed = try Terminal.answer(warning + "Type the tenant's name to vouch for it: ")
        } catch {
            throw MasterKeyError(.cancelled, error.message)
        }
        guard let typed, typed.utf8.elementsEqual(record.tenant.description.utf8) else {
            throw MasterKeyError(.cancelled, "'\(typed ?? "")' is not '\(record.tenant)'; nothing was changed")
        }
    }
}

extension MasterKeyError {
    /// Whether only this tenant is concerned; what concerns all tenants ends a sweep over them.
    var concernsTenantOnly: Bool {
        switch code {
        // Each tenant may have a root key of its own user's, and a KMS key.
        case .operationUnderWay, .rowChanged, .rowDamaged, .rowAltered, .rowNotAccepted, .rowOutdated, .rootKeyRequired,
            .masterKeyReplaced, .envelopeRefused, .proofFailed, .tenantNotFound, .rootKeyDenied, .rootKeyNotFound, .rootKeyNotUsable,
            .kmsCiphertextRefused, .kmsKeyNotFound, .kmsKeyDisabled, .kmsKeyPendingDeletion: true
        default: false
        }
    }
}

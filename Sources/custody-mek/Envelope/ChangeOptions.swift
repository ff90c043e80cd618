import ArgumentParser
import MasterKey
import ToolSupport

/// How a change of the envelope goes and is shown.
struct ChangeOptions: ParsableArguments {
    private struct Document: Encodable {
        let result: String
        let tenant: TenantView
        let notes: [String]
    }

    /// What becomes of the old KMS key.
    enum OldKey: EnumerableFlag {
        case keepOldKey, retireOldKey

        static func help(for value: OldKey) -> ArgumentHelp? {
            switch value {
            case .keepOldKey: "Do not schedule the old KMS key's deletion: old backups of the database stay readable by the KMS alone."
            case .retireOldKey: "Schedule the old KMS key's deletion, as is usual."
            }
        }
    }

    @Option(name: .customLong("deletion-days"), help: ArgumentHelp(
        "The waiting period of the old KMS key's deletion, 7 to 30 (default: as the operation was begun, else 30).", valueName: "days"))
    var deletionDays: Int?

    @Flag var oldKey: OldKey?

    @Flag(name: .customLong("change-choices"), help: "Go on with an unfinished operation otherwise than it was begun, without being asked.")
    var changeChoices = false

    @Flag(help: "Wait for Enter on standard input after each step.")
    var stepByStep = false

    func validate() throws {
        guard deletionDays.map((7...30).contains) ?? true else { throw ValidationError("--deletion-days must be from 7 to 30") }
    }

    /// nil if nothing is said.
    var retiresOldKey: Bool? { oldKey.map { $0 == .retireOldKey } }

    /// Asks whoever is at the terminal; false if nobody is.
    private static func confirm(_ changes: [ChangedChoice], _ tenant: TenantName) throws(MasterKeyError) -> Bool {
        guard Terminal.isInteractive else { return false }
        let list = changes.map { "  begun with \($0.begun), now told \($0.asked)\n" as DisplayText }.joined()
        let question: DisplayText =
            "The unfinished operation of tenant '\(tenant)' would change:\n\(layout: list)Type the tenant's name to have it so: "
        do throws(ToolError) {
            return try Terminal.answer(question).map { $0.utf8.elementsEqual(tenant.description.utf8) } ?? false
        } catch {
            throw MasterKeyError(.cancelled, error.message)
        }
    }

    func run(
        _ kind: OperationRecord.Kind, of tenant: TenantName, rootKey: String? = nil, _ services: ServiceOptions.Services, json: Bool
    ) async throws {
        let request = EnvelopeChange.Request(
            kind, tenant: tenant, rootKey: rootKey, deletionDays: deletionDays, retiresOldKey: retiresOldKey)
        let (stepByStep, changeChoices) = (stepByStep, changeChoices)
        let change = EnvelopeChange(
            database: services.database, kms: services.kms, custody: services.custody, pins: services.pins
        ) { step, detail throws(MasterKeyError) in
            if !json { Output.say("step \(step.rawValue) of \(Step.allCases.count): \(step.title): \(detail)") }
            guard stepByStep else { return }
            Output.complain("Enter goes on, Ctrl-D stops: ")
            guard readLine() != nil else { throw MasterKeyError(.cancelled, "stopped after step \(step.rawValue)") }
        } confirm: { changes throws(MasterKeyError) in
            changeChoices ? true : try Self.confirm(changes, tenant)
        }
        let outcome = try await change.run(request)
        let view = TenantView(outcome.record)
        if json { return try Output.json(Document(result: outcome.result.rawValue, tenant: view, notes: outcome.notes)) }
        let title: DisplayText =
            switch outcome.result {
            case .done: "done: tenant \(request.tenant) is changed"
            case .alreadyDone: "nothing to do: tenant \(request.tenant) was enabled already"
            }
        try view.show(json: false, title)
        for note in outcome.notes { Output.say("note: \(note)") }
    }
}

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

    @Option(name: .customLong("deletion-days"), help: ArgumentHelp(
        "The waiting period of the old KMS key's deletion, 7 to 30.", valueName: "days"))
    var deletionDays = 30

    @Flag(help: "Do not schedule the old KMS key's deletion: old backups of the database stay readable by the KMS alone.")
    var keepOldKey = false

    @Flag(help: "Wait for Enter on standard input after each step.")
    var stepByStep = false

    func validate() throws {
        guard (7...30).contains(deletionDays) else { throw ValidationError("--deletion-days must be from 7 to 30") }
    }

    func run(
        _ kind: OperationRecord.Kind, of tenant: TenantName, rootKey: String? = nil, _ services: ServiceOptions.Services, json: Bool
    ) async throws {
        let request = EnvelopeChange.Request(
            kind, tenant: tenant, rootKey: rootKey, deletionDays: deletionDays, retiresOldKey: !keepOldKey)
        let stepByStep = stepByStep
        let change = EnvelopeChange(
            database: services.database, kms: services.kms, custody: services.custody
        ) { step, detail throws(MasterKeyError) in
            if !json { Output.say("step \(step.rawValue) of \(Step.allCases.count): \(step.title): \(detail)") }
            guard stepByStep else { return }
            Output.complain("Enter goes on, Ctrl-D stops: ")
            guard readLine() != nil else { throw MasterKeyError(.cancelled, "stopped after step \(step.rawValue)") }
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

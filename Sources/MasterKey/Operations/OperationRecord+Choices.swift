/// A choice that an unfinished operation was begun with, and that a later run is told otherwise. Texts are as options of
/// `custody-mek` say it.
public struct ChangedChoice: Sendable, Hashable {
    public let begun: String
    public let asked: String
}

/// The choices of an operation are its journal entry's: a run that goes on with it is told nothing, or the same.
extension OperationRecord {
    /// What a request says otherwise than the entry.
    ///
    /// - Throws: `operation-unfinished` if it is about another change; `choice-changed` if it is too late for a choice;
    ///   `choice-missing` if the entry is of an older release, which did not record all choices, and the request does not say.
    func changes(by request: EnvelopeChange.Request) throws(MasterKeyError) -> [ChangedChoice] {
        guard kind == request.kind else {
            throw MasterKeyError(
                .operationUnfinished, "tenant \(tenant) has an unfinished operation '\(kind.rawValue)'",
                advice: "finish it by `custody-mek \(kind.command(tenant))` first")
        }
        var changes: [ChangedChoice] = []
        if let asked = request.rootKey, !asked.utf8.elementsEqual(rootKey.utf8) {
            // Until the row is replaced nothing depends on it: a name that was misspelt can be put right.
            guard !isReplaced else {
                throw MasterKeyError(
                    .choiceChanged, "the row of tenant \(tenant) is replaced and lies under root key '\(rootKey)', not '\(asked)'",
                    advice: "leave --root-key out to finish what was begun")
            }
            changes.append(ChangedChoice(begun: "--root-key \(rootKey)", asked: "--root-key \(asked)"))
        }
        if let asked = request.deletionDays, asked != deletionDays {
            changes.append(ChangedChoice(begun: "--deletion-days \(deletionDays)", asked: "--deletion-days \(asked)"))
        }
        switch (retiresOldKey, request.retiresOldKey) {
        case (nil, nil) where kind != .refreshKMS:
            throw MasterKeyError(
                .choiceMissing, "an older release began this operation of tenant \(tenant) and did not record what becomes of KMS key \(oldKey)",
                advice: "say --retire-old-key to have it deleted, or --keep-old-key")
        case (let begun?, let asked?) where begun != asked:
            changes.append(ChangedChoice(begun: Self.option(retiring: begun), asked: Self.option(retiring: asked)))
        default: break
        }
        return changes
    }

    /// What the request says holds from now on.
    mutating func apply(_ request: EnvelopeChange.Request) {
        if let asked = request.rootKey { rootKey = asked }
        if let asked = request.deletionDays { deletionDays = asked }
        if let asked = request.retiresOldKey { retiresOldKey = asked }
    }

    func unconfirmed(_ changes: [ChangedChoice]) -> MasterKeyError {
        let list = changes.map { "begun with \($0.begun), now told \($0.asked)" }.joined(separator: "; ")
        return MasterKeyError(
            .choiceChanged, "the unfinished operation of tenant \(tenant) would change: \(list)",
            state: "nothing was changed by this run",
            advice: "leave out \(changes.map(\.asked).joined(separator: " ")) to go on as it was begun, or add --change-choices to have it so")
    }

    private static func option(retiring: Bool) -> String { retiring ? "--retire-old-key" : "--keep-old-key" }
}

import MasterKey

/// An entry of the journal as commands show it.
struct OperationView: Encodable {
    struct DoneStep: Encodable {
        let step: Int
        let name: String
        let at: String
    }
    let id: String
    let kind: String
    let state: String
    let step: Int?
    let oldKmsKey: String
    let newKmsKey: String?
    /// nil if an older release did not record it.
    let retiresOldKey: Bool?
    let deletionDays: Int
    /// KMS keys that were asked for and never heard of.
    let lostCreations: Int
    let startedAt: String
    let changedAt: String
    let steps: [DoneStep]

    init(_ operation: OperationRecord, _ steps: [StepRecord]) {
        id = operation.id.description
        kind = operation.kind.rawValue
        state = operation.state.rawValue
        step = operation.step?.rawValue
        oldKmsKey = operation.oldKey.rawValue
        newKmsKey = operation.newKey?.rawValue
        retiresOldKey = operation.retiresOldKey
        deletionDays = operation.deletionDays
        lostCreations = operation.lostCreations
        startedAt = TenantView.text(operation.startedAt)
        changedAt = TenantView.text(operation.changedAt)
        self.steps = steps.map { DoneStep(step: $0.step.rawValue, name: $0.step.title, at: TenantView.text($0.at)) }
    }

    /// Which are needed and which not, for who has to undo something.
    var keys: String {
        guard let newKmsKey, newKmsKey != oldKmsKey else { return oldKmsKey }
        return "from \(oldKmsKey) to \(newKmsKey)"
    }

    var summary: String {
        let done = step.map { "step \($0) of \(Step.allCases.count) done" } ?? "nothing done yet"
        let lost = lostCreations > 0 ? ", \(lostCreations) KMS key asked for without an answer" : ""
        return "\(kind), \(state), \(done), since \(startedAt)\(lost)"
    }
}

extension Step {
    /// What a person reads.
    var title: String {
        switch self {
        case .rowRead: "row read"
        case .decrypted: "present envelope opened"
        case .held: "MEK held"
        case .keyCreated: "KMS key made"
        case .encrypted: "encrypted by the KMS"
        case .ciphertextTaken: "KMS ciphertext taken"
        case .wrapped: "wrapped by custodyd"
        case .envelopeTaken: "double envelope taken"
        case .replaced: "proved to open, row replaced"
        case .oldKeyRetired: "old KMS key scheduled for deletion"
        }
    }
}

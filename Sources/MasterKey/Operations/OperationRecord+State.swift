extension OperationRecord {
    /// Adds to an error how it has left the tenant, and what to do.
    func explain(_ error: MasterKeyError, _ record: TenantRecord) -> MasterKeyError {
        var explained = error
        let made = newKey.flatMap { $0 == oldKey ? nil : "KMS key \($0) was made for it and is recorded" }
        let lost = lostCreations > 0 ? "the KMS was asked for a key and gave no answer, which is recorded" : nil
        let row: String
        if (step ?? .rowRead) >= .replaced {
            row = "the row of tenant \(tenant) is replaced and opens with the root key and \(newKey?.rawValue ?? "its KMS key"); KMS key \(oldKey) is not scheduled for deletion yet"
        } else if step == .envelopeTaken, error.code == .databaseUnavailable {
            row = "the row of tenant \(tenant) is as it was, or replaced if the database did it before it was lost; either opens"
        } else {
            row = "the row of tenant \(tenant) is as it was and opens with \(record.layers.description)"
        }
        explained.state = [row, made, lost].compactMap(\.self).joined(separator: "; ")
        let again = "`custody-mek \(kind.command) \(tenant)` again goes on from here"
        explained.advice = error.code == .proofFailed ? error.advice : [error.advice, again].compactMap(\.self).joined(separator: "; then ")
        return explained
    }
}

extension OperationRecord.Kind {
    /// The command that begins it and goes on with it.
    var command: String {
        switch self {
        case .enable: "enable"
        case .rotateKMSKey: "rotate-kms --new-key"
        case .refreshKMS: "rotate-kms"
        }
    }
}

extension EnvelopeLayers: CustomStringConvertible {
    public var description: String {
        switch self {
        case .kms: "the KMS alone"
        case .rootKeyOverKMS(let name, let version): "root key \(name), version \(version), over the KMS"
        }
    }
}

extension OperationRecord {
    /// Adds to an error how it has left the tenant, and what to do. This is the entry as the journal has it.
    ///
    /// - Parameter record: The row as the run found it.
    func explain(_ error: MasterKeyError, _ record: TenantRecord) -> MasterKeyError {
        var explained = error
        var state: [String] = []
        if isReplaced {
            state.append("the row of tenant \(tenant) is replaced and opens with the root key and \(newKey?.rawValue ?? "its KMS key")")
            if kind != .refreshKMS { state.append("KMS key \(oldKey) is not known to be scheduled for deletion yet") }
        } else if error.code == .rowChanged {
            state.append("something else has changed tenant \(tenant) meanwhile, this run has not; see `custody-mek status \(tenant)`")
        } else if step == .envelopeTaken, error.code == .databaseUnavailable {
            state.append("the row of tenant \(tenant) is as it was, or replaced if the database did it before it was lost; either opens")
        } else {
            state.append("the row of tenant \(tenant) is as it was and opens with \(record.layers)")
        }
        if let newKey, !isReplaced, newKey != oldKey { state.append("KMS key \(newKey) was made for it and is recorded") }
        if lostCreations > 0 { state.append("the KMS was asked for a key and gave no answer, which is recorded") }
        explained.state = state.joined(separator: "; ")
        let again = "`custody-mek \(kind.command(tenant))` again goes on from here"
        explained.advice = error.code == .proofFailed ? error.advice : [error.advice, again].compactMap(\.self).joined(separator: "; then ")
        return explained
    }
}

extension OperationRecord.Kind {
    /// The command that begins it and goes on with it.
    func command(_ tenant: TenantName) -> String {
        switch self {
        case .enable: "enable \(tenant)"
        case .rotateKMSKey: "rotate-kms \(tenant) --new-key"
        case .refreshKMS: "rotate-kms \(tenant)"
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

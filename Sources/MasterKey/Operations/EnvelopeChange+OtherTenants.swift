/// What other tenants' rows say of a KMS key that is to be deleted, and whether that can be believed.
extension EnvelopeChange {
    /// Why it can't be told from the rows of the other tenants which KMS keys they need; nil if every one of them is as it was
    /// written. Those that were seen before are compared with that, the others are opened.
    func doubt(besides tenant: TenantName) async throws(MasterKeyError) -> String? {
        if let damaged = try await database.rowsWithoutName().first { return damaged.message }
        var last: TenantName?
        while true {
            let page = try await database.tenants(after: last, limit: 1_000)
            guard let end = page.last else { return nil }
            for other in page where other != tenant {
                do throws(MasterKeyError) {
                    try await believe(other)
                } catch {
                    switch error.code {
                    // Of no row: it is known when the change is run again.
                    case .cancelled, .kmsUnavailable, .kmsThrottled, .kmsCredentials, .daemonUnavailable, .daemonFailed, .tokenUnavailable,
                        .tokenLocked, .databaseUnavailable, .databaseBusy, .databaseDenied:
                        throw error
                    default: return error.message
                    }
                }
            }
            last = end
        }
    }

    private func believe(_ tenant: TenantName) async throws(MasterKeyError) {
        let record = try await database.existingRecord(of: tenant)
        guard record.tag != nil else { throw record.notAccepted }
        if try pins.vouch(for: record) { return }
        _ = try await opener.open(record)
        try pins.note(record)
    }

    static func kept(_ key: KMSKeyID, _ doubt: String) -> String {
        "KMS key \(key) was not scheduled for deletion, since another tenant may need it whose row can't be believed: \(doubt); when that is mended and no tenant uses the key, delete it in the KMS itself; until then old backups of this tenant's row open by the KMS alone"
    }
}

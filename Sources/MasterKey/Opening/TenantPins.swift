import Foundation
import Synchronization

/// What a service has seen of its tenants, kept where who writes to the tenants' database can't reach it: the master key's
/// id, whether the tenant is enabled, and how often its envelope was changed. A row that takes one of these back is refused,
/// also while `custodyd` is away: an enabled tenant stays enabled, an older row does not come again.
///
/// A tenant that was never seen is believed at the first opening; ``RootKeyRequirement`` is for services that must not.
/// An operator who restores a backup vouches for the row by `custody-mek accept`.
public final class TenantPins: Sendable {
    private let seen = Mutex<[TenantName: TenantPin]>([:])
    private let folder: PinFolder?

    /// Kept for as long as this object lives.
    public init() { folder = nil }

    /// Kept in files too, one for each tenant, shared with every process that names the same folder and database.
    ///
    /// - Parameters:
    ///   - directory: Made if it is not there, for this user alone. Refused if others may write to it.
    ///   - database: The tenants' database; each has a folder of its own in the directory.
    /// - Throws: `pins-unusable`.
    public init(directory: String, of database: any TenantDatabase) throws(MasterKeyError) {
        folder = try PinFolder(directory, of: database)
    }

    /// Holds a row against what was seen of its tenant. Whether the row opens is another matter.
    ///
    /// - Throws: `master-key-replaced`, `root-key-required` or `row-outdated` if the row takes back what was seen;
    ///   `pins-unusable`.
    public func check(_ record: TenantRecord) throws(MasterKeyError) {
        try seen.withLock { $0[record.tenant] }?.check(record, keptIn: "this process")
        guard let folder else { return }
        try folder.pin(of: record.tenant)?.check(record, keptIn: folder.file(of: record.tenant))
    }

    /// Whether exactly this envelope, with its KMS key, was proved to open before.
    ///
    /// - Throws: What ``check(_:)`` throws.
    func vouch(for record: TenantRecord) throws(MasterKeyError) -> Bool {
        try check(record)
        guard let pin = TenantPin(record) else { return false }
        if let known = seen.withLock({ $0[record.tenant] }), known.isSameEnvelope(as: pin) { return true }
        guard let known = try folder?.pin(of: record.tenant) else { return false }
        return known.isSameEnvelope(as: pin)
    }

    /// Remembers a row that was proved to open, unless something newer was seen meanwhile.
    func note(_ record: TenantRecord) throws(MasterKeyError) {
        guard let pin = TenantPin(record) else { return }
        let isKnown = seen.withLock { seen in
            if let known = seen[record.tenant], known == pin || pin.isOlder(than: known) { return true }
            seen[record.tenant] = pin
            return false
        }
        guard !isKnown, let folder else { return }
        try folder.update(record.tenant) { known in
            guard let known else { return pin }
            return pin.isOlder(than: known) ? known : pin
        }
    }

    /// Remembers a row that an operator vouches for, whatever was seen before.
    func replace(_ record: TenantRecord) throws(MasterKeyError) {
        guard let pin = TenantPin(record) else { return }
        seen.withLock { $0[record.tenant] = pin }
        try folder?.update(record.tenant) { _ in pin }
    }
}

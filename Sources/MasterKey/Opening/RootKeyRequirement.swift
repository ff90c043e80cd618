/// Whether a service opens only what lies under a user's root key.
///
/// A tenant that is not enabled has a row that anybody can make who may write to the database and encrypt by the KMS, of a
/// master key that he knows. A service whose tenants are all enabled demands the root key and so takes none of these, also
/// while `custodyd` is away.
public enum RootKeyRequirement: Sendable, Hashable {
    /// Tenants that are not enabled are opened as well, unless they were enabled once, as ``TenantPins`` know.
    case none
    /// Every tenant has to be enabled, under whichever root key.
    case any
    /// Every tenant has to be enabled under the root key of this name. The word of `custodyd` counts, not the row's.
    case named(String)

    /// - Parameter text: The root key's name; `*` for any.
    public init(_ text: String) { self = text.utf8.elementsEqual("*".utf8) ? .any : .named(text) }

    /// - Throws: `root-key-required`.
    func check(_ layers: EnvelopeLayers, of tenant: TenantName) throws(MasterKeyError) {
        switch (self, layers) {
        case (.none, _), (.any, .rootKeyOverKMS): return
        case (.named(let wanted), .rootKeyOverKMS(let name, _)):
            // By bytes: a name that only looks the same is another.
            guard !wanted.utf8.elementsEqual(name.utf8) else { return }
            throw MasterKeyError(
                .rootKeyRequired, "tenant \(tenant) lies under root key '\(name)', and '\(wanted)' is required",
                advice: "if that is not intended, somebody has changed the row: restore it from a backup; do not seal data before")
        case (_, .kms):
            throw MasterKeyError(
                .rootKeyRequired, "tenant \(tenant) is encrypted by the KMS alone, and a root key is required",
                advice: "if it was enabled, somebody has changed the row: restore it from a backup; if it never was, enable it by `custody-mek enable \(tenant) --root-key NAME`")
        }
    }
}

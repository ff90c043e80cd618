import MasterKey

/// The numbers by which databases know locks.
///
/// Hashes by FNV-1a (64 bits), the same in every process and release: one that numbers them differently would not be kept
/// out. Two names with one number would merely exclude each other.
enum LockKey {
    static let migration = number("schema")

    static func tenant(_ tenant: TenantName) -> Int64 { number("tenant:\(tenant)") }

    private static func number(_ name: String) -> Int64 {
        let hash = "custody-mek:\(name)".utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return Int64(bitPattern: hash)
    }
}

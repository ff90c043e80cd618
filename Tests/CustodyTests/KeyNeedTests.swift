import PKCS11
import Testing

@testable import Custody

@Suite struct KeyNeedTests {
    private static let today = UTCDay(secondsSince1970: 1_795_219_200)
    /// Noon of a day so long before 2026-11-21.
    private static func milliseconds(_ daysAgo: Int) -> UInt64 { UInt64((1_795_219_200 + 43_200 - daysAgo * 86_400) * 1_000) }

    private static func text(_ uses: UInt64, _ encrypted: Int?, _ decrypted: Int?, created: String?) -> String {
        var usage = KeyUsage()
        usage.uses = uses
        usage.lastEncrypted = encrypted.map(milliseconds)
        usage.lastDecrypted = decrypted.map(milliseconds)
        // Counted for a year.
        return KeyNeed(usage, created: created, counting: today.adding(days: -365), today: today).text
    }

    @Test(arguments: [
        (0, nil, 0, "yes: opened 2026-11-21"), (0, nil, 90, "yes: opened 2026-08-23"),
        (0, nil, 91, "maybe: last opened 2026-08-22"), (5, 3, nil, "maybe: not opened since counting began"),
        (5, 3, 1, "yes: opened 2026-11-20"), (5, 300, 200, "maybe: last opened 2026-05-05"),
    ] as [(UInt64, Int?, Int?, String)])
    func whatTheCountsSay(_ uses: UInt64, _ encrypted: Int?, _ decrypted: Int?, _ expected: String) {
        for created in ["2020-01-01", "2026-11-20", nil] {
            #expect(Self.text(uses, encrypted, decrypted, created: created) == expected)
        }
    }

    /// Without any count it is not needed only if the counting is older than the version.
    @Test(arguments: [
        ("2025-11-22", "no: wrapped nothing here since it was made"), ("2026-11-21", "no: wrapped nothing here since it was made"),
        ("2025-11-21", "unknown: not used here since 2025-11-21"), ("2020-01-01", "unknown: not used here since 2025-11-21"),
        (nil, "unknown: not used here since 2025-11-21"),
    ] as [(String?, String)])
    func whatNoCountSays(_ created: String?, _ expected: String) {
        #expect(Self.text(0, nil, nil, created: created) == expected)
    }
}

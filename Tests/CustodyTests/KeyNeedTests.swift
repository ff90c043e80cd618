import PKCS11
import Testing

@testable import Custody

@Suite struct KeyNeedTests {
    /// Noon of a day so long before 2026-11-21.
    private static func milliseconds(_ daysAgo: Int) -> UInt64 { UInt64((1_795_219_200 + 43_200 - daysAgo * 86_400) * 1_000) }

    @Test(arguments: [
        (0, nil, nil, "no: never used to wrap"), (0, nil, 0, "yes: opened 2026-11-21"), (0, nil, 90, "yes: opened 2026-08-23"),
        (0, nil, 91, "maybe: last opened 2026-08-22"), (5, 3, nil, "maybe: not opened since counting began"),
        (5, 3, 1, "yes: opened 2026-11-20"), (5, 300, 200, "maybe: last opened 2026-05-05"),
    ] as [(UInt64, Int?, Int?, String)])
    func whatTheCountsSay(_ uses: UInt64, _ encrypted: Int?, _ decrypted: Int?, _ expected: String) {
        var usage = KeyUsage()
        usage.uses = uses
        usage.lastEncrypted = encrypted.map(Self.milliseconds)
        usage.lastDecrypted = decrypted.map(Self.milliseconds)
        #expect(KeyNeed(usage, today: UTCDay(secondsSince1970: 1_795_219_200)).text == expected)
    }
}

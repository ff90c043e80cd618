import MasterKey
import Testing

@Suite struct TenantNameTests {
    @Test(arguments: ["a", "acme", "ACME-2.eu_west:7@x/y+z", String(repeating: "x", count: 128)])
    func good(_ text: String) throws {
        let name = try TenantName(text)
        #expect(name.description == text)
        #expect(name.encryptionContext == ["tenant": text])
    }

    @Test(arguments: ["", " ", "a b", "acme\n", "é", "*", "a'b", "a\u{0}b", String(repeating: "x", count: 129)])
    func bad(_ text: String) {
        #expect(#expect(throws: MasterKeyError.self) { try TenantName(text) }?.code == .invalidTenant)
    }

    @Test func sortedByBytes() throws {
        let names = try ["b", "a-1", "B", "a", "_x"].map { try TenantName($0) }.sorted()
        #expect(names.map(\.description) == ["B", "_x", "a", "a-1", "b"])
    }
}

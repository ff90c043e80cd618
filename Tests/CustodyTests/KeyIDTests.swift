import ByteEncoding
import Custody
import Testing

@Suite struct KeyIDTests {
    @Test func roundTrip() throws {
        let bytes = [0, 0, 0, 7] + [UInt8](0xF0...0xFB)
        let id = try #require(KeyID(bytes))
        #expect(id.bytes == bytes)
        #expect(id.version == 7)
        #expect(id.description == "00000007f0f1f2f3f4f5f6f7f8f9fafb")
        #expect(KeyID(bytes[...]) == id)
    }

    @Test(arguments: [0, 1, 15, 17, 32]) func otherLengthsAreNone(_ length: Int) {
        #expect(KeyID([UInt8](repeating: 1, count: length)) == nil)
    }

    @Test(arguments: [UInt32(1), 2, 255, 256, .max]) func freshIDCarriesItsVersionAndIsNeverTheSame(_ version: UInt32) {
        let ids = (0..<100).map { _ in KeyID(newFor: version) }
        #expect(Set(ids).count == 100)
        #expect(ids.allSatisfy { $0.version == version && $0.bytes.count == KeyID.length })
        // Every random byte varies.
        for index in 4..<KeyID.length { #expect(Set(ids.map { $0.bytes[index] }).count > 1) }
    }

    @Test func versionsSortAsTheirBytesDo() {
        let versions: [UInt32] = [1, 2, 255, 256, 65_536, .max]
        let ids = versions.map { KeyID(newFor: $0).bytes }
        for (older, newer) in zip(ids, ids.dropFirst()) { #expect(older.lexicographicallyPrecedes(newer)) }
    }

    @Test func hexadecimalDigits() {
        #expect(hexadecimal([0x00, 0x0F, 0xA5, 0xFF]) == "000fa5ff")
        #expect(hexadecimal([UInt8]()) == "")
    }
}

import SecureMemory
import Testing

@Suite struct SecretBytesTests {
    @Test func printingShowsNoBytes() {
        let bytes = SecretBytes(Array("73591846".utf8))
        var dumped = ""
        dump(bytes, to: &dumped)
        for text in ["\(bytes)", bytes.description, String(reflecting: bytes), dumped, "\([bytes])", "\(Optional(bytes) as Any)"] {
            #expect(!text.contains("73591846"))
            #expect(!text.contains("55"), "the first byte as a number")
        }
        #expect(bytes.description == "<8 secret bytes>")
    }

    @Test func lendsItsBytes() {
        let bytes = SecretBytes([1, 2, 3].map { $0 &* 5 })
        #expect(bytes.count == 3)
        #expect(!bytes.isEmpty)
        #expect(bytes.withBytes { span in span.withUnsafeBytes { Array($0) } } == [5, 10, 15])
        #expect(SecretBytes(Array(repeating: 0, count: 0)).isEmpty)
    }

    @Test(arguments: [
        ([UInt8](), [UInt8](), true), ([1, 2], [1, 2], true), ([1, 2], [1, 3], false), ([1, 2], [0, 2], false),
        ([1, 2], [1, 2, 0], false), ([0], [], false),
    ])
    func equality(_ one: [UInt8], _ other: [UInt8], _ isEqual: Bool) {
        #expect(SecretBytes(one.map { $0 }).isEqual(to: SecretBytes(other.map { $0 })) == isEqual)
        #expect(SecretBytes(other.map { $0 }).isEqual(to: SecretBytes(one.map { $0 })) == isEqual)
    }

    @Test func ownsItsBytesAlone() {
        let mine = (1...64).map { UInt8($0) }
        var secret: SecretBytes? = SecretBytes(mine)
        let exposed = secret?.exposed()
        secret = nil
        #expect(mine == [UInt8](1...64), "the caller's array is the caller's")
        #expect(exposed == [UInt8](1...64))
    }

    @Test func zeroizeReachesEveryCopyThatShares() {
        let one = (1...64).map { UInt8($0) }
        let other = one
        one.zeroize()
        #expect(other == [UInt8](repeating: 0, count: 64))
    }
}

import Foundation
import SecureMemory
import TestSupport
import Testing

@testable import MasterKey

@Suite struct SealedDataTests {
    struct Vector: Decodable, Sendable, CustomTestStringConvertible {
        let name, masterKey, masterKeyID, plaintext, associatedData, sealed, text: String
        var testDescription: String { name }
    }

    private struct File: Decodable {
        let vectors: [Vector]
    }

    static func vectors() throws -> [Vector] {
        guard let url = Bundle.module.url(forResource: "sealed-data-v1", withExtension: "json", subdirectory: "Vectors") else { return [] }
        return try JSONDecoder().decode(File.self, from: Data(contentsOf: url)).vectors
    }

    private func key(_ bytes: [UInt8] = Array(1...32), id: Identifier = Identifier()) throws -> OpenedMasterKey {
        OpenedMasterKey(tenant: try TenantName("acme"), id: id, bytes: LockedBytes(bytes))
    }

    @Test(arguments: try vectors()) func opensWhatAnotherImplementationSealed(_ vector: Vector) throws {
        let idBytes = try #require(bytes(hex: vector.masterKeyID)), keyBytes = try #require(bytes(hex: vector.masterKey))
        let key = try key(keyBytes, id: try #require(Identifier(idBytes)))
        let sealed = try SealedData(text: vector.text)
        #expect(sealed.bytes == bytes(hex: vector.sealed))
        #expect(sealed.text == vector.text)
        let associatedData = try #require(bytes(hex: vector.associatedData))
        let opened = try key.open(sealed, associatedData: associatedData)
        #expect(opened.exposed() == bytes(hex: vector.plaintext))
    }

    /// The expected value is of another implementation of HKDF.
    @Test func masterKeyIsNamedByWhatItIs() {
        #expect(Identifier(ofMasterKey: LockedBytes(1...32)).description == "a89ea3676034458259885fa42f569837")
        #expect(Identifier(ofMasterKey: LockedBytes(1...31)) != Identifier(ofMasterKey: LockedBytes(1...32)))
    }

    @Test func sealedTwiceIsNotTheSame() throws {
        let key = try key()
        let first = try key.seal(Array("card".utf8)), second = try key.seal(Array("card".utf8))
        #expect(first.bytes[22..<46] != second.bytes[22..<46])
        #expect(first.bytes[46...] != second.bytes[46...])
        #expect(first.bytes.count == 4 + SealedData.overhead)
        #expect(try key.open(first).exposed() == key.open(second).exposed())
    }

    @Test func byteFlippedAnywhereIsRefused() throws {
        let key = try key()
        let sealed = try key.seal(Array("4111 1111 1111 1111".utf8), associatedData: Array("people/17".utf8)).bytes
        for index in sealed.indices {
            var altered = sealed
            altered[index] ^= 0x10
            let error = #expect(throws: MasterKeyError.self, "byte \(index)") {
                try key.open(try SealedData(altered), associatedData: Array("people/17".utf8))
            }
            let expected: MasterKeyError.Code =
                switch index {
                case 0..<4: .dataMalformed
                case 4, 5: .dataUnsupported
                case 6..<22: .dataOfAnotherKey
                default: .dataAltered
                }
            #expect(error?.code == expected, "byte \(index)")
        }
    }

    @Test func cutOffAnywhereIsRefused() throws {
        let key = try key()
        let sealed = try key.seal(Array("card".utf8)).bytes
        for count in 0..<sealed.count {
            let error = #expect(throws: MasterKeyError.self, "\(count) bytes") { try key.open(try SealedData(Array(sealed.prefix(count)))) }
            #expect(error?.code == (count < SealedData.overhead ? .dataMalformed : .dataAltered), "\(count) bytes")
        }
    }

    @Test func otherAssociatedDataIsRefused() throws {
        let key = try key()
        let sealed = try key.seal(Array("card".utf8), associatedData: Array("people/17".utf8))
        for other in ["people/18", "", "people/1", "people/17 "] {
            let error = #expect(throws: MasterKeyError.self) { try key.open(sealed, associatedData: Array(other.utf8)) }
            #expect(error?.code == .dataAltered)
        }
    }

    @Test func anotherMasterKeyOfTheSameIDIsRefused() throws {
        let id = Identifier()
        let sealed = try key(Array(1...32), id: id).seal(Array("card".utf8))
        let error = #expect(throws: MasterKeyError.self) { try key(Array(2...33), id: id).open(sealed) }
        #expect(error?.code == .dataAltered)
    }

    @Test(arguments: ["", "custody-data:v1:", "custody-data:v2:Q1RTRA", "custody-data:v1:Q1RTRAEB=", "custody-data:v1:Q1RTR!", "CTSD", "custody-data:v1:Q1RTRB"])
    func textThatIsNone(_ text: String) throws {
        let error = #expect(throws: MasterKeyError.self) { try SealedData(text: text) }
        #expect(error?.code == .dataMalformed)
    }

    @Test func droppedKeyIsUnusable() throws {
        let key = try key()
        let sealed = try key.seal(Array("card".utf8))
        key.drop()
        #expect(#expect(throws: MasterKeyError.self) { try key.open(sealed) }?.code == .masterKeyDropped)
        #expect(#expect(throws: MasterKeyError.self) { try key.seal(Array("card".utf8)) }?.code == .masterKeyDropped)
        #expect(#expect(throws: MasterKeyError.self) { try key.withBytes { $0.byteCount } }?.code == .masterKeyDropped)
    }

    @Test func nothingSecretIsPrinted() throws {
        let key = try key(Array("0123456789abcdef0123456789abcdef".utf8))
        for text in ["\(key)", String(describing: LockedBytes(Array("0123456789abcdef".utf8))), String(reflecting: LockedBytes(Array("0123456789abcdef".utf8)))] {
            #expect(!text.contains("0123456789abcdef") && !text.contains("48, 49, 50"))
        }
    }
}

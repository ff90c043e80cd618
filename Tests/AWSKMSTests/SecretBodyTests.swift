import Foundation
import NIOCore
import SecureMemory
import Testing

@testable import AWSKMS

@Suite struct SecretBodyTests {
    @Test(arguments: 0...67) func base64IsFoundations(_ count: Int) {
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255) }
        var buffer = ByteBuffer()
        LockedBytes(bytes).withBytes { Base64.encode($0, into: &buffer) }
        #expect(String(buffer: buffer) == Data(bytes).base64EncodedString())
        #expect(buffer.readableBytes == Base64.encodedLength(count))
        #expect(Base64.decode(Array(buffer.readableBytesView)) == bytes)
    }

    @Test(arguments: ["A", "AAA", "A===", "====", "AA=A", "AA==AAAA", "AA==AA==", "A AA", "AA-_", "AAA\u{e9}"])
    func whatIsNoBase64(_ text: String) { #expect(Base64.decode(Array(text.utf8)) == nil) }

    @Test func bodiesAreWhatJSONSays() throws {
        let secret = LockedBytes([0xFF, 0xFE, 0xFD])
        let body = try RequestBody(Message.Encrypt(keyID: "k/\"1", context: ["ä": "\n"]), plaintext: secret)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(body.buffer.readableBytesView)) as? [String: Any])
        #expect(object["KeyId"] as? String == "k/\"1" && object["Plaintext"] as? String == "//79")
        #expect(object["EncryptionContext"] as? [String: String] == ["ä": "\n"])
        #expect(body.redact("echo: //79!") == "echo: <hidden>!")
    }

    @Test func aPlaintextIsCutOut() throws {
        let json = #"{"a":{"Plaintext":"no"},"b":"\"Plaintext\":","Plaintext" : "ab\/c","KeyId":"k"}"#
        let split = try #require(SecretMember.split("Plaintext", outOf: SecretBytes(json.utf8)))
        #expect(split.value == Array("ab/c".utf8))
        let rest = try #require(try JSONSerialization.jsonObject(with: split.rest) as? [String: Any])
        #expect(rest["Plaintext"] as? String == "" && rest["KeyId"] as? String == "k")
    }

    @Test(arguments: ["", "{}", "[]", "{\"Plaintext\":1}", "{\"Plaintext\":\"abc", "{\"Plaintext\":", "{\"Plaintext\"", "\"Plaintext\":\"a\""])
    func wherePlaintextIsMissing(_ json: String) {
        #expect(SecretMember.split("Plaintext", outOf: SecretBytes(json.utf8)) == nil)
    }

    @Test func pausesGrowAndStayInBounds() {
        #expect(Backoff.pause(after: 1, random: 1) == .milliseconds(50))
        #expect(Backoff.pause(after: 2, random: 1) == .milliseconds(100))
        #expect(Backoff.pause(after: 5, random: 1) == .milliseconds(800))
        #expect(Backoff.pause(after: 3, random: 0.5) == .milliseconds(100))
        for attempt in [-1, 0, 1, 7, 63, Int.max] {
            #expect(Backoff.pause(after: attempt, random: 0) == .zero)
            #expect((.zero ... .seconds(2)).contains(Backoff.pause(after: attempt)))
        }
        #expect(Backoff.pause(after: 60, random: 1) == .seconds(2))
        #expect(Set((0..<50).map { _ in Backoff.pause(after: 6) }).count > 40, "the jitter is full")
    }
}

import Crypto
import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport

@testable import AWSKMS

@Suite struct SignatureV4Tests {
    struct Vector: Decodable, Sendable, CustomTestStringConvertible {
        let name, id, secret, region, body, date, authorization: String
        let token: String?
        let time: Double
        let headers: [String: String]

        var testDescription: String { name }
    }

    static let vectors: [Vector] = {
        let url = Bundle.module.bundleURL.appendingPathComponent("Vectors/sigv4.json")
        return (try? JSONDecoder().decode([Vector].self, from: Data(contentsOf: url))) ?? []
    }()

    @Test func thereAreVectors() { #expect(Self.vectors.count == 5) }

    /// Vectors/make-sigv4.py has them from botocore.
    @Test(arguments: vectors) func signsAsBotocoreDoes(_ vector: Vector) throws {
        let keys = try AWSCredentials(
            id: vector.id, secret: SecretBytes(vector.secret.utf8), token: vector.token.map { SecretBytes($0.utf8) }, source: "a test")
        let added = SignatureV4.headers(
            signing: vector.headers.map { (name: $0.key, value: $0.value) }, bodyHash: SHA256.hash(data: Data(vector.body.utf8)),
            credentials: keys, region: vector.region, at: Date(timeIntervalSince1970: vector.time))
        let values = Dictionary(added.map { ($0.name, $0.value) }) { first, _ in first }
        #expect(values["X-Amz-Date"] == vector.date)
        #expect(values["Authorization"] == vector.authorization)
        #expect(values["X-Amz-Security-Token"] == vector.token)
    }

    /// moto checks signatures and policies here. It answers in XML.
    @Test func aServerThatChecksSignaturesTakesOurs() async throws {
        let server = try await KMSServer()
        let all = ["kms:CreateKey", "kms:Encrypt", "kms:Decrypt"]
        let keys = try await server.guardWithSignatures(allowing: ["all": all, "some": ["kms:CreateKey"], "role-all": all])
        func client(_ keys: KMSServer.Keys, secret: String? = nil, id: String? = nil) -> AWSKMSClient.Configuration {
            var environment = ["AWS_ACCESS_KEY_ID": id ?? keys.id, "AWS_SECRET_ACCESS_KEY": secret ?? keys.secret]
            environment["AWS_SESSION_TOKEN"] = keys.token
            return .init(region: KMSServer.region, endpoint: server.endpoint, environment: environment)
        }
        let user = try #require(keys["all"]), limited = try #require(keys["some"]), role = try #require(keys["role-all"])
        #expect(role.token != nil)
        for keys in [user, role] {
            try await withClient(client(keys)) { kms in
                let key = try await kms.createKey(description: "signed")
                let ciphertext = try await kms.encrypt(plaintext, under: key, context: context)
                #expect(try await kms.decrypt(ciphertext, under: key, context: context).isEqual(to: plaintext))
            }
        }
        let wrongSecret = try await failure {
            try await withClient(client(user, secret: "not-the-secret")) { _ = try await $0.createKey(description: "") }
        }
        #expect(wrongSecret.code == .kmsCredentials)
        #expect(wrongSecret.message.contains("SignatureDoesNotMatch"))
        #expect(!"\(wrongSecret)".contains("not-the-secret"))
        let unknown = try await failure {
            try await withClient(client(user, id: "AKIAUNKNOWN")) { _ = try await $0.createKey(description: "") }
        }
        #expect(unknown.code == .kmsCredentials)
        let denied = try await failure {
            try await withClient(client(limited)) { kms in
                let key = try await kms.createKey(description: "")
                _ = try await kms.encrypt(plaintext, under: key, context: [:])
            }
        }
        #expect(denied.code == .kmsDenied)
        #expect(denied.message.contains("Encrypt"))
        #expect(denied.advice?.contains("kms:Encrypt") == true)
    }
}

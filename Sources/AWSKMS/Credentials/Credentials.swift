import Foundation
import MasterKey
import SecureMemory
import Synchronization

/// Keys to sign with.
struct AWSCredentials: Sendable {
    let id: String
    let secret: SecretBytes
    /// Of temporary keys. Whoever has it still needs the secret; kept like one all the same.
    let token: SecretBytes?
    /// Where they are from, for messages.
    let source: String

    init(id: String, secret: SecretBytes, token: SecretBytes?, source: String) throws(MasterKeyError) {
        // Both go into headers.
        let isVisible = { (bytes: SecretBytes) in bytes.exposedSatisfies { (0x21...0x7E).contains($0) } }
        guard !id.isEmpty, id.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ",") }),
            token.map(isVisible) ?? true
        else {
            throw MasterKeyError(
                .kmsCredentials, "the access key id or the session token of \(source) holds characters that none has",
                advice: "correct the credentials in \(source)")
        }
        self.id = id
        self.secret = secret
        self.token = token
        self.source = source
    }
}

/// Finds the credentials, and again when the files in which they are have changed.
final class CredentialSource: Sendable {
    private struct Found {
        let stamp: ProfileFiles.Stamp
        let credentials: AWSCredentials
    }

    private let fixed: AWSCredentials?
    private let files: ProfileFiles
    private let found = Mutex<Found?>(nil)

    /// Finds them for the first time, so that a program learns at its start that there are none.
    init(_ configuration: AWSKMSClient.Configuration, _ files: ProfileFiles) throws(MasterKeyError) {
        self.files = files
        fixed = configuration.profile == nil ? try Self.keys(AWSEnvironment(configuration.environment)) : nil
        _ = try current()
    }

    func current() throws(MasterKeyError) -> AWSCredentials {
        if let fixed { return fixed }
        // Taken before reading: a change meanwhile is then seen the next time.
        let stamp = files.stamp
        if let found = found.withLock({ $0 }), found.stamp == stamp { return found.credentials }
        let credentials = try files.keys()
        found.withLock { $0 = Found(stamp: stamp, credentials: credentials) }
        return credentials
    }

    private static func keys(_ environment: AWSEnvironment) throws(MasterKeyError) -> AWSCredentials? {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        let id = environment[names[0]], secret = environment[names[1]]
        if id == nil, secret == nil { return nil }
        guard let id, let secret else {
            let (set, unset) = id == nil ? (names[1], names[0]) : (names[0], names[1])
            throw MasterKeyError(
                .kmsCredentials, "\(set) is set and \(unset) is not", advice: "set both, or none of them to use a profile's keys")
        }
        let token = environment["AWS_SESSION_TOKEN"].map { SecretBytes($0.utf8) }
        return try AWSCredentials(id: id, secret: SecretBytes(secret.utf8), token: token, source: "the environment")
    }
}

extension SecretBytes {
    func exposedSatisfies(_ condition: (UInt8) -> Bool) -> Bool {
        withBytes { span in span.byteOffsets.allSatisfy { condition(span.unsafeLoad(fromByteOffset: $0, as: UInt8.self)) } }
    }
}

import Foundation
import MasterKey
import SecureMemory

/// A client of AWS KMS, and of whatever speaks its protocol.
///
/// Calls may be made from any number of tasks. Each ends within ``Configuration/deadline``; the search for keys by their
/// description is many calls, and has the deadline for each of them.
///
/// **Credentials** are found as AWS's tools find them: in the environment; else in the profile's section of the credentials
/// file, else of the configuration file. Files are read again when they have changed, so keys that another tool renews are
/// taken up. Instance metadata, SSO, roles to assume, web identities and credential processes are not asked. Proxies that
/// the environment names are not used.
///
/// **Retries**: throttling and unavailability are tried again up to six times within the deadline. CreateKey is, only if the
/// KMS certainly has not made a key.
///
/// **Plaintexts** lie in ``LockedBytes`` and, while a call lasts, in buffers of this module, which are zeroed afterwards. So
/// are those in which the HTTP client hands over an answer. Not ours to zero are the copies that the TLS library makes when
/// it encrypts and decrypts records, and what the HTTP client and the kernel read into before the answer's body is cut out
/// of it. The secret access key is held in memory that is zeroed; if it comes from the environment, the environment holds
/// it, too. A session token is a header, and so a string of the HTTP client.
///
/// **Printing** one shows endpoint and region only.
public struct AWSKMSClient: KeyManagementService, CustomStringConvertible, CustomReflectable {
    let caller: Caller
    /// How many keys are asked for at once.
    let pageSize: Int

    /// Finds region, endpoint and credentials. Nothing is connected until the first call.
    ///
    /// - Throws: `kmsConfiguration` or `kmsCredentials`.
    public init(_ configuration: Configuration) throws(MasterKeyError) {
        pageSize = configuration.pageSize
        caller = try Caller(configuration)
    }

    /// Closes the connections; has to be called before the last reference goes. Calls under way fail.
    public func shutdown() async { await caller.shutdown() }

    public var description: String { "AWS KMS at \(caller.endpoint), region \(caller.region)" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    // MARK: Keys

    /// - Throws: `kmsAnswerLost` whenever it is open whether the key was made: also if the task was cancelled meanwhile, or if
    ///   the answer does not name a key by its ARN.
    public func createKey(description: String) async throws(MasterKeyError) -> KMSKeyID {
        let body = try body(.createKey, nil, Message.CreateKey(description: description))
        let answer = try await call(.createKey, nil, body)
        guard let made = Self.decode(Message.Described.self, answer), Self.isKeyARN(made.metadata.arn) else {
            throw failure(.createKey).error(.kmsAnswerLost, "\(Self.notAnAnswer); it may have been done all the same")
        }
        return KMSKeyID(rawValue: made.metadata.arn)
    }

    public func describe(_ name: String) async throws(MasterKeyError) -> KMSKeyDescription {
        do throws(Refusal) { return try await describe(name, until: caller.deadline) } catch { throw error.error }
    }

    func describe(_ name: String, until deadline: ContinuousClock.Instant) async throws(Refusal) -> KMSKeyDescription {
        do throws(MasterKeyError) { try checkRegion(.describeKey, name) } catch { throw Refusal(error) }
        let body: RequestBody
        do { body = try self.body(.describeKey, name, Message.DescribeKey(keyID: name)) } catch { throw Refusal(error) }
        let answer = try await caller.call(.describeKey, key: name, body, until: deadline)
        guard let described = Self.decode(Message.Described.self, answer) else {
            throw Refusal(failure(.describeKey, name).error(.kmsRefused, Self.notAnAnswer))
        }
        return described.metadata.keyDescription
    }

    public func scheduleDeletion(of key: KMSKeyID, afterDays days: Int) async throws(MasterKeyError) {
        // Checked here as well: a stand-in that takes any number would hide the mistake.
        guard (7...30).contains(days) else {
            throw failure(.scheduleKeyDeletion, key.rawValue).error(
                .kmsRefused, "\(days) days is no waiting period", advice: "choose 7 to 30 days")
        }
        try checkRegion(.scheduleKeyDeletion, key.rawValue)
        let request = Message.ScheduleKeyDeletion(keyID: key.rawValue, days: days)
        let body = try body(.scheduleKeyDeletion, key.rawValue, request)
        let deadline = caller.deadline
        do throws(Refusal) {
            _ = try await caller.call(.scheduleKeyDeletion, key: key.rawValue, body, until: deadline)
        } catch {
            switch error.meaning {
            case .keyNotFound: return
            case .invalidState:
                if let found = try? await describe(key.rawValue, until: deadline), found.state == .pendingDeletion { return }
                throw error.error
            default: throw error.error
            }
        }
    }

    // MARK: Data

    public func encrypt(
        _ plaintext: LockedBytes, under key: KMSKeyID, context: [String: String]
    ) async throws(MasterKeyError) -> [UInt8] {
        guard (1...4096).contains(plaintext.count) else {
            throw failure(.encrypt, key.rawValue).error(
                .kmsRefused, "the plaintext has \(plaintext.count) bytes", advice: "a KMS encrypts 1 to 4096 bytes")
        }
        try checkRegion(.encrypt, key.rawValue)
        let body = try body(.encrypt, key, Message.Encrypt(keyID: key.rawValue, context: context), plaintext)
        let answer = try await call(.encrypt, key.rawValue, body)
        guard let encrypted = Self.decode(Message.Encrypted.self, answer), !encrypted.ciphertext.isEmpty else {
            throw failure(.encrypt, key.rawValue).error(.kmsRefused, Self.notAnAnswer)
        }
        try checkKey(.encrypt, asked: key, answered: encrypted.keyID)
        return Array(encrypted.ciphertext)
    }

    public func decrypt(
        _ ciphertext: [UInt8], under key: KMSKeyID, context: [String: String]
    ) async throws(MasterKeyError) -> LockedBytes {
        try checkRegion(.decrypt, key.rawValue)
        let request = Message.Decrypt(keyID: key.rawValue, ciphertext: Data(ciphertext), context: context)
        let answer = try await call(.decrypt, key.rawValue, try body(.decrypt, key.rawValue, request))
        guard let split = SecretMember.split("Plaintext", outOf: answer) else {
            throw failure(.decrypt, key.rawValue).error(.kmsRefused, Self.notAnAnswer)
        }
        defer { split.value.zeroize() }
        guard let decrypted = try? JSONDecoder().decode(Message.Decrypted.self, from: split.rest),
            let plaintext = Base64.decode(split.value)
        else { throw failure(.decrypt, key.rawValue).error(.kmsRefused, Self.notAnAnswer) }
        defer { plaintext.zeroize() }
        try checkKey(.decrypt, asked: key, answered: decrypted.keyID)
        return LockedBytes(plaintext)
    }
}

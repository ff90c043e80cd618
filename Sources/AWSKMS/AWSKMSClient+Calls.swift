import Foundation
import MasterKey
import SecureMemory

extension AWSKMSClient {
    static let notAnAnswer = "the answer is not a KMS's; does another service listen there?"

    func failure(_ operation: Operation, _ key: String? = nil) -> KMSFailure { caller.failure(operation, key) }

    func body(_ operation: Operation, _ key: String?, _ members: some Encodable) throws(MasterKeyError) -> RequestBody {
        do { return try RequestBody(members) } catch { throw failure(operation, key).error(.kmsRefused, "the request can't be encoded") }
    }

    func body(
        _ operation: Operation, _ key: KMSKeyID, _ members: some Encodable, _ plaintext: LockedBytes
    ) throws(MasterKeyError) -> RequestBody {
        do {
            return try RequestBody(members, plaintext: plaintext)
        } catch {
            throw failure(operation, key.rawValue).error(.kmsRefused, "the request can't be encoded")
        }
    }

    /// Makes a call and says what state the key is in if that is why it was refused.
    func call(_ operation: Operation, _ key: String?, _ body: RequestBody) async throws(MasterKeyError) -> SecretBytes {
        let deadline = caller.deadline
        do throws(Refusal) {
            return try await caller.call(operation, key: key, body, until: deadline)
        } catch {
            guard error.meaning == .invalidState, let key else { throw error.error }
            var isPending = error.said.localizedCaseInsensitiveContains("pending deletion") || error.said.contains("PendingDeletion")
            if !isPending, let found = try? await describe(key, until: deadline) { isPending = found.state == .pendingDeletion }
            guard isPending else { throw error.error }
            throw failure(operation, key).error(.kmsKeyPendingDeletion, "the key is pending deletion", cause: error.error)
        }
    }

    static func decode<Answer: Decodable>(_ type: Answer.Type, _ answer: SecretBytes) -> Answer? {
        let bytes = answer.exposed()
        defer { bytes.zeroize() }
        return try? JSONDecoder().decode(type, from: Data(bytes))
    }

    /// An ARN says its region. In another one the KMS would say that the key is gone.
    func checkRegion(_ operation: Operation, _ name: String) throws(MasterKeyError) {
        guard let region = Self.regionOfARN(name), region != caller.region else { return }
        throw failure(operation, name).error(
            .kmsConfiguration, "the key is in region \(region) and the client is set to \(caller.region)",
            advice: "set AWS_REGION to \(region)")
    }

    /// An alias or a bare id is answered with another name; an ARN of a key must be answered with itself.
    func checkKey(_ operation: Operation, asked: KMSKeyID, answered: String) throws(MasterKeyError) {
        let isKeyARN = Self.regionOfARN(asked.rawValue) != nil && asked.rawValue.contains(":key/")
        guard isKeyARN, asked.rawValue != answered else { return }
        throw failure(operation, asked.rawValue).error(
            .kmsRefused, "the KMS used another key, \(answered)", advice: "check what listens at the endpoint; the answer was thrown away")
    }

    /// Whether it is `arn:...:key/ID`: what a key is known by for ever, as an alias is not.
    static func isKeyARN(_ name: String) -> Bool {
        guard name.hasPrefix("arn:"), let kind = name.range(of: ":key/") else { return false }
        return kind.upperBound < name.endIndex
    }

    private static func regionOfARN(_ name: String) -> String? {
        // arn:PARTITION:kms:REGION:ACCOUNT:key/ID
        let parts = name.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == "arn", parts[2] == "kms" else { return nil }
        return String(parts[3])
    }

    // MARK: Search

    /// How many keys are described at once: enough to hide the network, too few to use up an account's request quota.
    private static let width = 8

    /// Passes over keys that may not be described, such as AWS's own and other users'.
    ///
    /// - Throws: `kmsDenied` if none of the account's keys may be described.
    public func keys(describedAs description: String) async throws(MasterKeyError) -> [KMSKeyID] {
        let all = try await list()
        var found: [KMSKeyID] = []
        var denial: MasterKeyError?
        var denied = 0
        for start in stride(from: 0, to: all.count, by: Self.width) {
            let results = await withTaskGroup(of: Result<KMSKeyDescription, Refusal>.self) { group in
                for name in all[start..<min(start + Self.width, all.count)] {
                    group.addTask {
                        do throws(Refusal) {
                            return .success(try await describe(name, until: caller.deadline))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            for result in results {
                switch result {
                case .success(let key): if key.description == description { found.append(key.id) }
                // Deleted since it was listed.
                case .failure(let refusal) where refusal.meaning == .keyNotFound: break
                case .failure(let refusal) where refusal.meaning == .denied:
                    denied += 1
                    denial = refusal.error
                case .failure(let refusal): throw refusal.error
                }
            }
        }
        if let denial, denied == all.count {
            throw failure(.describeKey).error(
                .kmsDenied, "none of the account's \(denied) keys may be described, so the one that is looked for can't be found",
                cause: denial)
        }
        return found.sorted { $0.rawValue < $1.rawValue }
    }

    /// More than an account has: AWS allows 100,000 keys unless asked for more.
    private static let mostKeys = 200_000
    private static let mostPages = 1_000

    private func list() async throws(MasterKeyError) -> [String] {
        var names: [String] = []
        var marker: String?
        var seen: Set<String> = []
        repeat {
            let body = try body(.listKeys, nil, Message.ListKeys(limit: pageSize, marker: marker))
            guard let page = Self.decode(Message.Listed.self, try await call(.listKeys, nil, body)) else {
                throw failure(.listKeys).error(.kmsRefused, Self.notAnAnswer)
            }
            names += page.keys.map(\.arn)
            guard seen.count < Self.mostPages, names.count <= Self.mostKeys else {
                throw failure(.listKeys).error(
                    .kmsRefused, "the list of keys has no end: there are more than \(Self.mostKeys) keys or \(Self.mostPages) pages",
                    advice: "check what listens at the endpoint; if the account has so many keys, look for the key's description in the KMS itself")
            }
            marker = page.isTruncated == true ? page.nextMarker : nil
            if let marker, !seen.insert(marker).inserted {
                throw failure(.listKeys).error(.kmsRefused, "the list of keys has no end: page '\(marker)' comes again")
            }
        } while marker != nil
        return names
    }
}

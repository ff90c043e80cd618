import CustodyClient
import CustodyProtocol
import SecureMemory

/// One operation, and what its answer has to be.
struct Trial: Sendable {
    enum Expectation: Sendable {
        case wraps([UInt8], context: [String: String])
        case makesDataKey(length: Int, context: [String: String])
        case encrypts([UInt8], aad: [UInt8])
        case opens(Kept)
        case rewraps(Kept)
        /// Never opens; one of these says why.
        case fails(Set<ErrorCode>)
        case tells
    }

    let name: String
    let operation: CustodyClient.Operation
    let expectation: Expectation
    /// The key that it uses.
    var key = "root"
    var isOfBannedTenant = false
}

// MARK: Making them

extension Trial {
    /// One of all kinds.
    static func any(_ random: inout RandomSource, _ treasury: Treasury) -> Trial {
        let kind = Int.random(in: 0..<100, using: &random)
        if kind < 28 { return wrap(&random) }
        if kind < 34 { return dataKey(&random) }
        if kind < 39 { return encrypt(&random) }
        if kind < 40 { return Trial(name: "status", operation: .status, expectation: .tells) }
        if kind < 42 { return forbidden(&random) }
        guard let kept = treasury.sample(&random) else { return wrap(&random) }
        if kind < 80 { return open(kept) }
        if kind < 87 { return rewrap(kept) }
        if kind < 92 { return wrongContext(kept, &random) }
        return altered(kept, &random)
    }

    static func key(_ random: inout RandomSource) -> String { random.oneIn(6) ? "second" : "root" }

    static func context(_ random: inout RandomSource) -> [String: String] {
        var context = ["tenant": random.oneIn(12) ? Site.bannedTenant : "tenant-\(Int.random(in: 0..<10, using: &random))"]
        if random.oneIn(3) { context["purpose"] = "soak" }
        return context
    }

    static func payload(_ random: inout RandomSource) -> [UInt8] {
        if random.oneIn(3_000) { return random.bytes(65_536) }
        return random.bytes(random.oneIn(20) ? Int.random(in: 1...4_096, using: &random) : Int.random(in: 1...300, using: &random))
    }

    static func wrap(_ random: inout RandomSource) -> Trial { wrap(&random, key: key(&random), context: context(&random)) }

    static func wrap(_ random: inout RandomSource, key: String, context: [String: String]) -> Trial {
        let payload = payload(&random)
        return Trial(
            name: "wrap", operation: .wrap(SecretBytes(payload), key: key, context: context),
            expectation: .wraps(payload, context: context), key: key, isOfBannedTenant: isBanned(context))
    }

    static func dataKey(_ random: inout RandomSource) -> Trial {
        let (key, context, length) = (key(&random), context(&random), Int.random(in: 16...64, using: &random))
        return Trial(
            name: "generate-data-key", operation: .generateDataKey(key: key, length: length, withPlaintext: true, context: context),
            expectation: .makesDataKey(length: length, context: context), key: key, isOfBannedTenant: isBanned(context))
    }

    static func encrypt(_ random: inout RandomSource) -> Trial {
        let (payload, key, aad) = (payload(&random), key(&random), random.bytes(Int.random(in: 0...64, using: &random)))
        return Trial(
            name: "encrypt", operation: .encrypt(SecretBytes(payload), key: key, aad: aad),
            expectation: .encrypts(payload, aad: aad), key: key)
    }

    /// A key that no grant names.
    static func forbidden(_ random: inout RandomSource) -> Trial {
        let payload = SecretBytes(payload(&random))
        return Trial(
            name: "wrap without a grant", operation: .wrap(payload, key: Site.forbiddenKey, context: [:]),
            expectation: .fails([.denied]), key: Site.forbiddenKey)
    }

    static func open(_ kept: Kept) -> Trial {
        let isRaw = if case .raw = kept.form { true } else { false }
        return Trial(
            name: isRaw ? "decrypt" : "unwrap", operation: kept.opening, expectation: .opens(kept), key: kept.key,
            isOfBannedTenant: isBanned(kept))
    }

    static func rewrap(_ kept: Kept) -> Trial {
        guard case .blob(let blob, let context) = kept.form else { return open(kept) }
        return Trial(
            name: "rewrap", operation: .rewrap(blob, context: context), expectation: .rewraps(kept), key: kept.key,
            isOfBannedTenant: isBanned(kept))
    }

    static func wrongContext(_ kept: Kept, _ random: inout RandomSource) -> Trial {
        switch kept.form {
        case .blob(let blob, var context):
            if random.oneIn(2) { context["tenant", default: ""] += "x" } else { context["more"] = "" }
            return Trial(
                name: "unwrap with a wrong context", operation: .unwrap(blob, context: context),
                expectation: .fails([.decryptionFailed]), key: kept.key, isOfBannedTenant: isBanned(context))
        case .raw(let raw, let aad):
            return Trial(
                name: "decrypt with a wrong AAD", operation: .decrypt(raw, aad: aad + [0]), expectation: .fails([.decryptionFailed]),
                key: kept.key)
        }
    }

    /// Bytes flipped, cut off and put on.
    static func altered(_ kept: Kept, _ random: inout RandomSource) -> Trial {
        switch kept.form {
        case .blob(var blob, let context):
            alter(&blob, &random)
            // A changed key id names another key version, which is not there.
            return Trial(
                name: "unwrap an altered blob", operation: .unwrap(blob, context: context),
                expectation: .fails([.decryptionFailed, .malformedBlob, .unsupportedFormat, .keyNotFound, .payloadTooLarge]), key: kept.key,
                isOfBannedTenant: isBanned(kept))
        case .raw(let raw, let aad):
            var (ciphertext, tag) = (raw.ciphertext, raw.tag)
            if random.oneIn(2) || ciphertext.isEmpty {
                tag[Int.random(in: 0..<tag.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            } else {
                ciphertext[Int.random(in: 0..<ciphertext.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            let changed = RawCiphertext(keyID: raw.keyID, nonce: raw.nonce, ciphertext: ciphertext, tag: tag)
            return Trial(
                name: "decrypt an altered ciphertext", operation: .decrypt(changed, aad: aad),
                expectation: .fails([.decryptionFailed]), key: kept.key)
        }
    }

    private static func alter(_ blob: inout [UInt8], _ random: inout RandomSource) {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: blob.removeLast(Int.random(in: 1...blob.count, using: &random))
        case 1: blob += random.bytes(Int.random(in: 1...20, using: &random))
        default: blob[Int.random(in: 0..<blob.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
    }

    private static func isBanned(_ context: [String: String]) -> Bool { context["tenant"] == Site.bannedTenant }

    private static func isBanned(_ kept: Kept) -> Bool {
        if case .blob(_, let context) = kept.form { isBanned(context) } else { false }
    }
}

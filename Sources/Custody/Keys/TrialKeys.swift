import PKCS11

/// The throw-away session keys of trials, each made when it is needed for the first time. They serve for all keys of one look at
/// the token.
///
/// Whoever is done with them calls ``destroy(_:)``; what can't be destroyed goes with the session.
struct TrialKeys {
    /// nil: the token makes none, and why.
    private var wrapping: [WrappingMechanism.KeyKind: Result<ObjectHandle, PKCS11Error>] = [:]
    private var extractableKey: Result<ObjectHandle, PKCS11Error>?
    private var list: [Mechanism: Bool]??
    private var relayed: Bool?
    private var made: [ObjectHandle] = []
    /// Whether the token wraps an extractable key with a mechanism, or what it says instead.
    private var counterTests: [CounterTest: Result<Int, PKCS11Error>] = [:]

    private struct CounterTest: Hashable {
        let mechanism: Mechanism
        let parameters: Session.WrapParameters
    }

    init() {}

    /// The mechanisms that the token lists, each with whether it says that it wraps keys; nil if it gives no list.
    mutating func listed(_ session: borrowing Session) throws(PKCS11Error) -> [Mechanism: Bool]? {
        if let list { return list }
        let found: [Mechanism: Bool]?
        do throws(PKCS11Error) {
            found = try session.listedMechanisms()
        } catch {
            if ProofOfCustody.saysNothing(error) { throw error }
            found = nil
        }
        list = .some(found)
        return found
    }

    mutating func isRelayed(_ session: borrowing Session) throws(PKCS11Error) -> Bool {
        if let relayed { return relayed }
        let answer: Bool
        do throws(PKCS11Error) {
            answer = try session.isRelayed()
        } catch {
            if ProofOfCustody.saysNothing(error) { throw error }
            answer = false
        }
        relayed = answer
        return answer
    }

    /// A key that wraps.
    ///
    /// - Throws: ``PKCS11Error`` that says nothing of the key that is tried: the token, the session or the login is gone.
    mutating func wrappingKey(
        _ kind: WrappingMechanism.KeyKind, _ session: borrowing Session
    ) throws(PKCS11Error) -> Result<ObjectHandle, PKCS11Error> {
        if let known = wrapping[kind] { return known }
        let result: Result<ObjectHandle, PKCS11Error>
        do throws(PKCS11Error) {
            result = .success(try kind == .rsa ? makePublicKey(session) : makeKey(kind, session))
        } catch {
            if ProofOfCustody.saysNothing(error) { throw error }
            result = .failure(error)
        }
        wrapping[kind] = result
        return result
    }

    /// Whether the token wraps a key that may leave it, in the same way: if not, it does not refuse for the key's sake.
    mutating func counterTest(
        _ wrappingKey: ObjectHandle, _ mechanism: Mechanism, _ parameters: Session.WrapParameters, _ session: borrowing Session
    ) throws(PKCS11Error) -> Result<Int, PKCS11Error> {
        let test = CounterTest(mechanism: mechanism, parameters: parameters)
        if let known = counterTests[test] { return known }
        let result: Result<Int, PKCS11Error>
        do throws(PKCS11Error) {
            let key: ObjectHandle
            switch extractableKey {
            case .success(let made)?: key = made
            case .failure(let error)?: throw error
            case nil:
                key = try makeExtractable(session)
                extractableKey = .success(key)
            }
            result = .success(try session.wrapKey(key, under: wrappingKey, mechanism, parameters))
        } catch {
            if ProofOfCustody.saysNothing(error) { throw error }
            result = .failure(error)
        }
        counterTests[test] = result
        return result
    }

    mutating func destroy(_ session: borrowing Session) {
        for key in made { try? session.destroyObject(key) }
        self = TrialKeys()
    }

    // MARK: Making them

    private mutating func makeKey(_ kind: WrappingMechanism.KeyKind, _ session: borrowing Session) throws(PKCS11Error) -> ObjectHandle {
        let key = try session.generateKey(kind.generation, [
            .objectClass(.secretKey), .keyType(kind.type), .bool(.token, false), .bool(.isPrivate, true), .bool(.sensitive, true),
            .bool(.extractable, false), .bool(.wrap, true), .bool(.encrypt, true), .bool(.decrypt, false), .bool(.unwrap, false),
        ] + (kind.length.map { [.valueLength($0)] } ?? []))
        made.append(key)
        return key
    }

    /// A thief brings the public key of a pair that he has outside: that takes no time, while some tokens generate a pair for
    /// many seconds. Only where the token takes none from outside does it have to make one.
    private mutating func makePublicKey(_ session: borrowing Session) throws(PKCS11Error) -> ObjectHandle {
        do throws(PKCS11Error) {
            let key = try session.createObject([
                .objectClass(.publicKey), .keyType(.rsa), .bool(.token, false), .bool(.isPrivate, false), .bool(.wrap, true),
                .bool(.encrypt, true), .bool(.verify, false), .modulus(Self.modulus), .publicExponent([1, 0, 1]),
            ])
            made.append(key)
            return key
        } catch {
            if ProofOfCustody.saysNothing(error) { throw error }
            return try makePair(session)
        }
    }

    /// The product of two primes that were not kept: what might be wrapped under it nobody opens.
    private static let modulus = bytes(
        "a52549f38b39bc8aeccec38919aa84a5863c5139236936c155b9d0bb8c4496307c31f3aff47d6f5b6d54bafdc90c3343"
        + "f613a25936408df6788b2ad2b9fc479b3ca8f3a9d05f02fe4637f43c0d7b1f25014cc8e67a92d6d65c1024d3c5541165"
        + "a8cba1dbdc7ed644ef03fc8fcc58437e2c6e0562b7b72955b358cd4bca47f247324495d4e60f794ae60f8e7d1a5b41c1"
        + "5e460dd06e68cd8354a69b99f0ec89a890063c9ee60cf9e9e753adeab9098e51fd4ccde1fd8cd78d97084247e76f9272"
        + "ad24c3f3ef3e9a1a3c3fa4aeea3b927bdb5551696e0d8e3a80cd009e9652cf50541c2653f814c3e2879a3c83af32d1d3"
        + "4fdee70739ac8f13c8bdeddd339a48a9")

    private static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = hexadecimal.utf8.map { $0 <= UInt8(ascii: "9") ? $0 - UInt8(ascii: "0") : $0 - UInt8(ascii: "a") + 10 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private mutating func makePair(_ session: borrowing Session) throws(PKCS11Error) -> ObjectHandle {
        let pair = try session.generateKeyPair(
            .rsaKeyPairGeneration,
            public: [
                .objectClass(.publicKey), .keyType(.rsa), .bool(.token, false), .bool(.isPrivate, true), .bool(.wrap, true),
                .bool(.encrypt, true), .bool(.verify, false), .modulusBits(2_048), .publicExponent([1, 0, 1]),
            ],
            private: [
                .objectClass(.privateKey), .keyType(.rsa), .bool(.token, false), .bool(.isPrivate, true), .bool(.sensitive, true),
                .bool(.extractable, false), .bool(.unwrap, false), .bool(.decrypt, false), .bool(.sign, false),
            ])
        made += [pair.publicKey, pair.privateKey]
        return pair.publicKey
    }

    private mutating func makeExtractable(_ session: borrowing Session) throws(PKCS11Error) -> ObjectHandle {
        let key = try session.generateKey(.aesKeyGeneration, [
            .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.isPrivate, true),
            .bool(.sensitive, true), .bool(.extractable, true), .bool(.wrap, false), .bool(.unwrap, false), .bool(.encrypt, true),
            .bool(.decrypt, true),
        ])
        made.append(key)
        return key
    }
}

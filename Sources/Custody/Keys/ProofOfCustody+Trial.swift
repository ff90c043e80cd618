import PKCS11

extension ProofOfCustody {
    /// What a trial to take a key out of the token showed.
    public struct Trial: Sendable, Hashable {
        /// A way to a key's value.
        public enum Way: Sendable, Hashable, CustomStringConvertible {
            /// C_GetAttributeValue of CKA_VALUE.
            case value
            /// C_CopyObject to a session object that is weaker by this attribute.
            case copy(Weakness)
            /// C_WrapKey under a throw-away key.
            case wrap(Mechanism)

            public var description: String {
                switch self {
                case .value: "C_GetAttributeValue of CKA_VALUE"
                case .copy(let weakness): "C_CopyObject with \(weakness.type) \(weakness.value)"
                case .wrap(let mechanism): "C_WrapKey with \(mechanism)"
                }
            }
        }

        /// What makes a copy easier to take than the key.
        public enum Weakness: Sendable, Hashable, CaseIterable {
            case extractable, readable, withoutLogin

            var type: AttributeType {
                switch self {
                case .extractable: .extractable
                case .readable: .sensitive
                case .withoutLogin: .isPrivate
                }
            }

            var value: Bool { self == .extractable }
        }

        /// How the token answered.
        public enum Answer: Sendable, Hashable {
            /// It refused, for the key's sake.
            case refused(String)
            /// It can't do that at all, or not as far as Custody knows how: that is no evidence.
            case notPossible(String)
            /// Neither is certain.
            case unclear(String)
            /// The key came out.
            case handedOut
        }

        /// One way that was tried.
        public struct Attempt: Sendable, Hashable {
            public let way: Way
            public let answer: Answer
        }

        /// What follows from all attempts.
        public enum Verdict: Sendable, Hashable {
            /// The token refused to wrap the key out and all else that was possible. The only proof.
            case refused
            /// The token has no mechanism that wraps keys, and refused or can't do the rest.
            case cannotWrap
            /// Nothing came out, and why that proves nothing.
            case notProved(String)
            /// The token handed the key out.
            case handedOut(Way)
            /// It has to be made again, and this is why.
            case inconclusive(String)
        }

        /// In the order in which they were made.
        public let attempts: [Attempt]
        public let verdict: Verdict

        /// The ways that the token refused.
        public var refused: [Way] { attempts.compactMap { if case .refused = $0.answer { $0.way } else { nil } } }

        /// The mechanisms with which it refused to wrap the key out.
        public var refusedMechanisms: [Mechanism] { refused.compactMap { if case .wrap(let mechanism) = $0 { mechanism } else { nil } } }

        /// The ways that were not possible, each with the reason.
        public var notPossible: [(way: Way, reason: String)] {
            attempts.compactMap { if case .notPossible(let reason) = $0.answer { ($0.way, reason) } else { nil } }
        }

        /// Whether the trial proves that the token keeps the key, as far as PKCS#11 reaches.
        public var isProof: Bool { verdict == .refused || verdict == .cannotWrap }

        /// What the trial says against the key, if anything.
        ///
        /// - Parameter isExtractable: What CKA_EXTRACTABLE says.
        func objections(isExtractable: Bool?) -> [String] {
            switch verdict {
            case .refused, .cannotWrap, .notProved: []
            case .handedOut(let way):
                ["the token handed it out by \(way)" + (isExtractable == false ? ", whatever its attributes say" : "")]
            case .inconclusive(let why): ["it could not be proved that the token keeps it: \(why)"]
            }
        }

        /// What has to be said of a key that is used all the same; nil for one that the token refused to hand out.
        public var warning: String? {
            switch verdict {
            case .refused, .handedOut, .inconclusive: nil
            case .cannotWrap: "the token has no mechanism that wraps keys, so that it could not be asked to hand the key out that way"
            case .notProved(let why): "not proved: \(why)"
            }
        }
    }
}

import MasterKey

/// The texts of errors: which call on which key failed, what the KMS said, and what a person does next.
struct KMSFailure: Sendable {
    let operation: Operation
    /// The key that was asked for; nil if the call is on none.
    let key: String?
    let endpoint: Endpoint

    func error(
        _ code: MasterKeyError.Code, _ what: String, advice: String? = nil, attempts: Int = 1, cause: (any Error)? = nil
    ) -> MasterKeyError {
        let on = key.map { " with KMS key \($0)" } ?? ""
        let tries = attempts > 1 ? " (tried \(attempts) times)" : ""
        return MasterKeyError(
            code, "\(operation.rawValue)\(on) at \(endpoint): \(what)\(tries)", advice: advice ?? self.advice(code), cause: cause)
    }

    static func code(_ meaning: ErrorAnswer.Meaning) -> MasterKeyError.Code {
        switch meaning {
        case .keyNotFound: .kmsKeyNotFound
        case .keyDisabled: .kmsKeyDisabled
        case .denied: .kmsDenied
        case .credentials: .kmsCredentials
        case .ciphertextRefused: .kmsCiphertextRefused
        case .throttled: .kmsThrottled
        case .unavailable: .kmsUnavailable
        case .refused, .invalidState: .kmsRefused
        }
    }

    private func advice(_ code: MasterKeyError.Code) -> String? {
        switch code {
        case .kmsKeyNotFound: "check the key's ARN, the region, and that the credentials are of the key's account"
        case .kmsKeyDisabled: "enable the key in the KMS (EnableKey), then try again"
        case .kmsKeyPendingDeletion:
            "cancel the deletion (CancelKeyDeletion) and enable the key (EnableKey) before its deletion date; afterwards what it encrypted is lost"
        case .kmsDenied: "have the key's policy or an IAM policy allow kms:\(operation.rawValue) for these credentials"
        case .kmsCredentials: "renew or correct the credentials, and check this machine's clock"
        case .kmsCiphertextRefused: "check that the ciphertext is whole, and that it was made under this key for this tenant"
        case .kmsThrottled: "try again later, or have the account's request quota raised"
        case .kmsUnavailable: "check that the endpoint can be reached from here and try again"
        case .kmsAnswerLost: "look for a key with this description before another is made"
        case .kmsRefused: "see what the KMS says; check the endpoint and the key's properties"
        default: nil
        }
    }
}

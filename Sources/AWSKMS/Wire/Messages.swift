import Foundation
import MasterKey

/// The calls that are made.
enum Operation: String, Sendable {
    case createKey = "CreateKey"
    case describeKey = "DescribeKey"
    case listKeys = "ListKeys"
    case encrypt = "Encrypt"
    case decrypt = "Decrypt"
    case scheduleKeyDeletion = "ScheduleKeyDeletion"

    /// Whether it does no harm if it is done twice.
    var isRepeatable: Bool { self != .createKey }
}

/// What is asked and answered, as far as it is used. Plaintexts are not part of it.
enum Message {
    struct CreateKey: Encodable {
        let keySpec = "SYMMETRIC_DEFAULT"
        let keyUsage = "ENCRYPT_DECRYPT"
        let description: String

        enum CodingKeys: String, CodingKey { case keySpec = "KeySpec", keyUsage = "KeyUsage", description = "Description" }
    }

    struct DescribeKey: Encodable {
        let keyID: String

        enum CodingKeys: String, CodingKey { case keyID = "KeyId" }
    }

    struct ListKeys: Encodable {
        let limit: Int
        let marker: String?

        enum CodingKeys: String, CodingKey { case limit = "Limit", marker = "Marker" }
    }

    struct Encrypt: Encodable {
        let keyID: String
        let context: [String: String]

        enum CodingKeys: String, CodingKey { case keyID = "KeyId", context = "EncryptionContext" }
    }

    struct Decrypt: Encodable {
        let keyID: String
        let ciphertext: Data
        let context: [String: String]

        enum CodingKeys: String, CodingKey { case keyID = "KeyId", ciphertext = "CiphertextBlob", context = "EncryptionContext" }
    }

    struct ScheduleKeyDeletion: Encodable {
        let keyID: String
        let days: Int

        enum CodingKeys: String, CodingKey { case keyID = "KeyId", days = "PendingWindowInDays" }
    }

    /// The answer of CreateKey and of DescribeKey.
    struct Described: Decodable {
        let metadata: Metadata

        enum CodingKeys: String, CodingKey { case metadata = "KeyMetadata" }
    }

    struct Metadata: Decodable {
        let arn: String
        let state: String?
        let description: String?
        /// Seconds since 1970.
        let deletionDate: Double?

        enum CodingKeys: String, CodingKey {
            case arn = "Arn", state = "KeyState", description = "Description", deletionDate = "DeletionDate"
        }

        var keyDescription: KMSKeyDescription {
            let state: KMSKeyDescription.State =
                switch self.state {
                case "Enabled": .enabled
                case "Disabled": .disabled
                case "PendingDeletion", "PendingReplicaDeletion": .pendingDeletion
                default: .unavailable
                }
            return KMSKeyDescription(
                id: KMSKeyID(rawValue: arn), state: state, description: description ?? "",
                deletionDate: deletionDate.map { Date(timeIntervalSince1970: $0) })
        }
    }

    struct Listed: Decodable {
        struct Entry: Decodable {
            let arn: String

            enum CodingKeys: String, CodingKey { case arn = "KeyArn" }
        }
        let keys: [Entry]
        let isTruncated: Bool?
        let nextMarker: String?

        enum CodingKeys: String, CodingKey { case keys = "Keys", isTruncated = "Truncated", nextMarker = "NextMarker" }
    }

    struct Encrypted: Decodable {
        let keyID: String
        let ciphertext: Data

        enum CodingKeys: String, CodingKey { case keyID = "KeyId", ciphertext = "CiphertextBlob" }
    }

    struct Decrypted: Decodable {
        let keyID: String

        enum CodingKeys: String, CodingKey { case keyID = "KeyId" }
    }
}

import ByteEncoding
import Foundation
import SecureMemory

/// What is known of attempts at the PINs of tokens: which were refused, and how many ended nobody knows how.
struct PINRecord: Codable, Equatable {
    struct Refusal: Codable, Equatable {
        /// ``PINCheck``'s value.
        var check: String
        /// When, in milliseconds since 1970.
        var time: UInt64
    }

    /// One PIN of one token.
    struct Holder: Codable, Equatable {
        var serial: String
        var label: String
        /// `user` or `so`.
        var role: String
        /// Attempts in a row whose answer nobody learnt, the one that is being made included.
        var unanswered: Int
        var refused: [Refusal]
    }

    var format = 1
    var salt: String
    private(set) var holders: [Holder] = []

    /// Two leave a token that locks after three wrong ones its last try.
    static let mostUnanswered = 2
    /// Of one holder. People mistype; what a program is told to use is refused once.
    private static let mostRefusals = 64

    init() { salt = hexadecimal(KernelRandom.bytes(count: 16)) }

    init?(_ bytes: [UInt8]) {
        guard let record = try? JSONDecoder().decode(PINRecord.self, from: Data(bytes)), record.format == 1,
            AuditChain.bytes(lowercaseHexadecimal: Array(record.salt.utf8))?.count == 16,
            record.holders.allSatisfy({ $0.unanswered >= 0 && ["user", "so"].contains($0.role) })
        else { return nil }
        self = record
    }

    var bytes: [UInt8]? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return (try? encoder.encode(self)).map { Array($0) + [0x0A] }
    }

    var isEmpty: Bool { holders.isEmpty }

    func holder(_ identity: PINHolder) -> Holder? { holders.first { identity.names($0) } }

    /// Changes what is known of a holder; one of whom nothing is known is left out.
    mutating func change(_ identity: PINHolder, _ body: (inout Holder) -> Void) {
        let index = holders.firstIndex { identity.names($0) }
        var holder = index.map { holders[$0] }
            ?? Holder(serial: identity.serial, label: identity.label, role: identity.role, unanswered: 0, refused: [])
        body(&holder)
        holder.refused = Array(holder.refused.suffix(Self.mostRefusals))
        if let index { holders.remove(at: index) }
        if holder.unanswered > 0 || !holder.refused.isEmpty { holders.append(holder) }
    }

    /// The check value of a PIN in this record.
    func check(_ pin: SecretBytes, _ identity: PINHolder) -> String {
        PINCheck.value(
            of: pin, salt: AuditChain.bytes(lowercaseHexadecimal: Array(salt.utf8)) ?? [],
            holder: "\(identity.role)\n\(identity.serial)\n\(identity.label)")
    }
}

import ByteEncoding
import Custody
import PKCS11
import ToolSupport

/// One key object as the commands show it, with the proof that it can't leave the token.
struct KeyVersionView: Encodable {
    struct Trial: Encodable {
        struct Attempt: Encodable {
            let way: String
            /// `refused`, `not_possible`, `unclear` or `handed_out`.
            let answer: String
            let detail: String?
        }

        /// `refused`, `cannot_wrap`, `not_proved`, `exported` or `inconclusive`.
        let result: String
        /// Those with which the token refused to wrap the key out, or the one with which it handed the key out.
        let mechanisms: [String]
        let detail: String?
        let attempts: [Attempt]

        init(_ trial: ProofOfCustody.Trial) {
            var refused = trial.refusedMechanisms.map(\.description)
            switch trial.verdict {
            case .refused: (result, detail) = ("refused", nil)
            case .cannotWrap: (result, detail) = ("cannot_wrap", trial.warning)
            case .notProved(let why): (result, detail) = ("not_proved", why)
            case .handedOut(let way):
                (result, detail) = ("exported", way.description)
                refused = if case .wrap(let mechanism) = way { [mechanism.description] } else { [] }
            case .inconclusive(let why): (result, detail) = ("inconclusive", why)
            }
            mechanisms = refused
            attempts = trial.attempts.map { attempt in
                switch attempt.answer {
                case .refused(let code): Attempt(way: attempt.way.description, answer: "refused", detail: code)
                case .notPossible(let why): Attempt(way: attempt.way.description, answer: "not_possible", detail: why)
                case .unclear(let why): Attempt(way: attempt.way.description, answer: "unclear", detail: why)
                case .handedOut: Attempt(way: attempt.way.description, answer: "handed_out", detail: nil)
                }
            }
        }

        var text: String {
            switch result {
            case "refused": "refused by the token: \(list("refused"))"
            case "cannot_wrap": detail ?? ""
            case "not_proved": "NOT PROVED: \(detail ?? "")"
            case "exported": "THE TOKEN HANDED THE KEY OUT by \(detail ?? "")"
            default: "could not be made: \(detail ?? "no reason given")"
            }
        }

        /// The ways that were answered so, in a line.
        func list(_ answer: String) -> String { attempts.filter { $0.answer == answer }.map(\.way).joined(separator: ", ") }
    }

    /// Absent for a key that is not Custody's.
    let version: UInt32?
    /// The CKA_ID in hexadecimal.
    let id: String
    let state: String
    /// Days in UTC: when it was made, if the token tells, and the last one on which it can't be destroyed yet.
    let created: String?
    let destroyAfter: String?
    /// Why it is refused; absent if it is not.
    let reason: String?
    /// Why it is used in spite of the findings: an exception in the configuration.
    let exception: String?
    let proven: Bool
    let findings: [String]
    /// By the standard's name in lower case; what the token withholds is absent.
    let attributes: [String: String]
    let exportTrial: Trial

    /// - Parameter known: The version as the daemon would see it, with doubles and exceptions taken into account.
    init(_ key: KeyInspection, known: KeyVersion?) {
        let isDouble = known == nil && key.key.isPublic
        version = isDouble ? nil : key.id?.version
        id = hexadecimal(key.idBytes)
        switch (key.id, known?.state) {
        case (nil, _): (state, reason) = ("foreign", "its CKA_ID is not Custody's, so it was not made by `custodyctl key generate`")
        case _ where isDouble:
            (state, reason) = ("foreign", "it is a public object, which anybody can make without the PIN: no version, whatever its CKA_ID says; `custodyctl key destroy \(key.key.name) --id \(id) --public` removes it")
        case (_, .refused(let why)?): (state, reason) = ("refused", why)
        case (_, let other): (state, reason) = ((other ?? key.state).word, nil)
        }
        created = key.attributes.date(.startDate)
        destroyAfter = if case .scheduledForDestruction(let day) = key.state { day } else { nil }
        exception = known?.exception
        proven = key.isProven
        findings = key.findings
        attributes = Dictionary(uniqueKeysWithValues: KeyInspection.attributeTypes.compactMap { type in
            Self.text(type, key.attributes).map { (type.description.lowercased(), $0) }
        })
        exportTrial = Trial(key.trial)
    }

    /// The proof in a line.
    var proof: String {
        guard findings.isEmpty else { return findings.joined(separator: "; ") }
        return (proven ? "proven; taking it out was tried, " : "") + exportTrial.text
    }

    func show(_ name: String) {
        Output.say("\(name) \(version.map { "version \($0)" } ?? "(not a version)"): \(state)")
        var table = Table(indent: 2)
        table.add("CKA_ID", id.isEmpty ? "empty" : id)
        table.add("Created", created ?? "not told")
        if let destroyAfter { table.add("Destruction", "scheduled: it may be destroyed after \(destroyAfter)") }
        // The proof's findings are a reason of their own, below.
        if let reason, findings.isEmpty || version == nil { table.add("Reason", reason) }
        if let exception { table.add("Exception", exception) }
        table.add("Proof", findings.isEmpty ? proven ? "every attribute fits" : "every attribute fits, but it is not proved" : "FAILS")
        for finding in findings { table.add("", finding) }
        table.add("Trial to take it", exportTrial.text)
        for attempt in exportTrial.attempts where attempt.answer == "not_possible" {
            table.add("not possible", attempt.way + (attempt.detail.map { " (\($0))" } ?? ""))
        }
        for type in KeyInspection.attributeTypes where type != .id && type != .label {
            table.add(type.description, attributes[type.description.lowercased()] ?? "not told")
        }
        table.show()
    }

    private static func text(_ type: AttributeType, _ attributes: AttributeSet) -> String? {
        switch type {
        case .label: attributes.string(type)
        case .id: attributes.bytes(type).map { hexadecimal($0) }
        case .keyType: attributes.isKeyType(.aes) ? "AES" : attributes.number(type).map { "\($0)" }
        case .keyGenerationMechanism: attributes.number(type).map { $0 == .max ? "none" : Mechanism(rawValue: $0).description }
        case .valueLength: attributes.number(type).map { "\($0)" }
        case .startDate, .endDate: attributes.date(type) ?? attributes.bytes(type).map { $0.isEmpty ? "none" : "not a date" }
        default: attributes.bool(type).map { $0 ? "true" : "false" }
        }
    }
}

import ByteEncoding
import Custody
import PKCS11
import ToolSupport

/// One key object as the commands show it, with the proof that it can't leave the token.
struct KeyVersionView: Encodable {
    struct Trial: Encodable {
        /// `refused`, `cannot_wrap`, `exported` or `inconclusive`.
        let result: String
        let mechanisms: [String]
        let detail: String?

        init(_ trial: ProofOfCustody.Trial) {
            switch trial {
            case .refusedByToken(let tried): (result, mechanisms, detail) = ("refused", tried.map(\.description), nil)
            case .cannotWrap: (result, mechanisms, detail) = ("cannot_wrap", [], nil)
            case .exported(let mechanism): (result, mechanisms, detail) = ("exported", [mechanism.description], nil)
            case .inconclusive(let why): (result, mechanisms, detail) = ("inconclusive", [], why)
            }
        }

        var text: String {
            switch result {
            case "refused": "refused by the token with \(mechanisms.joined(separator: ", "))"
            case "cannot_wrap": "the token can't wrap keys at all"
            case "exported": "THE TOKEN HANDED THE KEY OUT with \(mechanisms.joined(separator: ", "))"
            default: "could not be made: \(detail ?? "no reason given")"
            }
        }
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
            (state, reason) = ("foreign", "it is a public object, which anybody can make without the PIN, with the CKA_ID of a version")
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
    var proof: String { findings.isEmpty ? "proven; wrapping it out was tried, \(exportTrial.text)" : findings.joined(separator: "; ") }

    func show(_ name: String) {
        Output.say("\(name) \(version.map { "version \($0)" } ?? "(not a version)"): \(state)")
        var table = Table(indent: 2)
        table.add("CKA_ID", id.isEmpty ? "empty" : id)
        table.add("Created", created ?? "not told")
        if let destroyAfter { table.add("Destruction", "scheduled: it may be destroyed after \(destroyAfter)") }
        // The proof's findings are a reason of their own, below.
        if let reason, findings.isEmpty || version == nil { table.add("Reason", reason) }
        if let exception { table.add("Exception", exception) }
        table.add("Proof", findings.isEmpty ? "every attribute fits" : "FAILS")
        for finding in findings { table.add("", finding) }
        table.add("Wrap-out trial", exportTrial.text)
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
        case .valueLength: attributes.number(type).map { "\($0)" }
        case .startDate, .endDate: attributes.date(type) ?? attributes.bytes(type).map { $0.isEmpty ? "none" : "not a date" }
        default: attributes.bool(type).map { $0 ? "true" : "false" }
        }
    }
}

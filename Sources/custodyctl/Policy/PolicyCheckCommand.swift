import ArgumentParser
import Custody
import ToolSupport

/// `policy check`: whether one request would be allowed, and why.
struct PolicyCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Say whether a request would be allowed, and by which rule.",
        discussion: """
            Ends with 0 if it would be allowed and with 77 if not. Says as well which limits count it.

            Example: custodyctl policy check --user billing --key payments --operation unwrap --context tenant=acme
            """)

    private struct Document: Encodable {
        /// The configuration that was asked.
        let file: String
        let decision: String
        /// The rule that allows or denies; none if nothing is said about it.
        let rule: String?
        let reason: String?
        let limits: [RuleView]
    }

    @Option(help: ArgumentHelp("Who asks: a user's name or number.", valueName: "user"))
    var user: String

    @Option(help: ArgumentHelp(
        "A group of the user, by name or number; may be repeated. Without it, those that this machine has for the user.",
        valueName: "group"))
    var group: [String] = []

    @Option(help: ArgumentHelp("What is asked for, such as unwrap.", valueName: "operation"))
    var operation: String

    @Option(help: ArgumentHelp("The root key's name; needed for all but status and reload.", valueName: "name"))
    var key: String?

    @Option(help: ArgumentHelp("An entry of the encryption context, such as tenant=acme; may be repeated.", valueName: "key=value"))
    var context: [String] = []

    @OptionGroup var common: CommonOptions

    func validate() throws {
        let kind = try kind()
        if kind.usesKey {
            guard let key else { throw ValidationError("\(kind.rawValue) uses a key; name it with --key") }
            _ = try NewKey.name(key)
        } else if key != nil {
            throw ValidationError("\(kind.rawValue) uses no key; leave --key out")
        }
        if !context.isEmpty, !kind.hasContext {
            throw ValidationError("\(kind.rawValue) has no context; leave --context out")
        }
        _ = try entries()
    }

    func run() throws {
        let kind = try kind()
        let principal = try Principal(account: user, groups: group)
        let (rules, file) = try common.rules()
        let key = try key.map(NewKey.name)
        let entries = kind.hasContext ? try entries() : nil
        let decision = rules.policy.decide(principal, kind, key: key, context: entries)
        let limits = rules.limits.filter { $0.concerns(principal, kind, key: key) }.map(RuleView.init)

        let document: Document
        switch decision {
        case .allowed(let rule): document = Document(file: file, decision: "allowed", rule: rule, reason: nil, limits: limits)
        case .denied(let reason):
            let denial = rules.policy.denial(principal, kind, key: key, context: entries)
            document = Document(file: file, decision: "denied", rule: denial?.rule, reason: reason, limits: limits)
        }
        if common.json {
            try Output.json(document)
        } else {
            print(document.rule.map { "\(document.decision) by \($0)" } ?? "\(document.decision): \(document.reason ?? "")")
            for limit in limits { print("\(limit.effectText), by \(limit.rule)") }
            print("according to \(Table.printable(file))")
        }
        if document.decision == "denied" { throw ExitCode(ToolExit.denied) }
    }

    private func kind() throws -> Custody.Operation.Kind {
        guard let kind = Custody.Operation.Kind(rawValue: operation) else {
            let known = Custody.Operation.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("there is no operation '\(operation)'; there are \(known)")
        }
        return kind
    }

    private func entries() throws -> EncryptionContext {
        let entries = try KeyValue.dictionary(context, flag: "--context").map { EncryptionContext.Entry(key: $0, value: $1) }
        do { return try EncryptionContext(entries) } catch { throw ValidationError(error.message) }
    }
}

import ArgumentParser
import Custody
import ToolSupport

/// `policy show`: every rule, or those that concern a user.
struct PolicyShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show who may do what: all grants, denials and limits.",
        discussion: """
            What no line allows is denied, and a line that denies wins over those that allow.

            Example: custodyctl policy show --user billing
            """)

    private struct Document: Encodable {
        let file: String
        let rules: [RuleView]
    }

    @Option(help: ArgumentHelp("Only what concerns this user, by name or number, also through its groups.", valueName: "user"))
    var user: String?

    @OptionGroup var common: CommonOptions

    func run() throws {
        let principal = try user.map { try Principal(account: $0, groups: []) }
        let (rules, file) = try common.rules()
        func concerns(_ subject: Subject?) -> Bool { principal.map(subject.mayInclude) ?? true }
        let views =
            rules.policy.grants.filter { grant in principal.map(grant.isAbout) ?? true }.map(RuleView.init)
            + rules.policy.denials.filter { concerns($0.subject) }.map(RuleView.init)
            + rules.limits.filter { concerns($0.subject) }.map(RuleView.init)
        if common.json { return try Output.json(Document(file: file, rules: views)) }

        Output.say("Rules of \(file)")
        if !views.contains(where: { $0.effect == .allow }) {
            let whose = user.map { "concerns '\($0)'" } ?? "stands in the configuration"
            Output.say("No grant \(whose): everything is denied.")
        }
        guard !views.isEmpty else { return }
        var table = Table(["WHO", "KEYS", "OPERATIONS", "CONTEXT", "EFFECT", "RULE"])
        for view in views {
            table.add(view.who, view.keysText, view.operationsText, view.contextText, view.effectText, view.rule)
        }
        table.show()
    }
}

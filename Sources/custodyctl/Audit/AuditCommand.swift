import ArgumentParser

/// `audit`: the log of every decision.
struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Prove that the audit log is whole, and look things up in it.",
        discussion: """
            Each line of the log holds the hash of the line before. The token vouches for the chain by checkpoints, and the \
            newest of these is kept outside of the log as an anchor, so that neither an edit nor a cut goes unseen.

            Example: custodyctl audit verify
            """,
        subcommands: [AuditInitCommand.self, AuditVerifyCommand.self, AuditShowCommand.self])
}

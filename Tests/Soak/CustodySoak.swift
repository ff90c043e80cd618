import ArgumentParser

@main
struct CustodySoak: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custody-soak",
        abstract: "Drives a custodyd through mixed load, faults, crashes and whatever operators do, and checks every answer.",
        discussion: """
            Example: custody-soak --minutes 10 --seed 7

            It starts a daemon on a SoftHSM token of its own, behind the fault module. Callers ask for all kinds of things and \
            hold every answer against a model; meanwhile calls of the token fail, hang and are late, sessions and logins are \
            lost, the token is taken out and put back, the daemon crashes, is killed and started again, keys are rotated, \
            disabled and enabled, rules and the audit log change, and other clients misbehave.

            Lost: a blob that was handed out and can't be opened at the end, or no service for a minute after the end of a \
            disturbance. Wrong: an answer that the model forbids, a daemon that ends by itself, a log that is not whole. Leaks: \
            memory, descriptors, threads or sessions that grow from one calm moment to the next in one life of the daemon.

            Left out are faults that nobody could notice: a token that changes bytes of what it decrypts or encrypts, or says \
            of good data that it is bad in words that leave no doubt; and sessions that a token opens but does not tell of.

            The seed decides what happens in which order; how it falls together in time does not repeat.

            Exit codes: 0 if lost, wrong and leaks are 0; 1 otherwise, also if no life of the daemon was long enough to see leaks.
            """,
        subcommands: [Soak.self, Stranger.self, BareModule.self], defaultSubcommand: Soak.self)
}

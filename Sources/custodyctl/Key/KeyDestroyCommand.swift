import ArgumentParser
import Custody
import PKCS11
import ToolSupport

/// `key destroy`: schedules the end of versions, takes the schedule back, and ends them.
struct KeyDestroyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "destroy", abstract: "Schedule versions of a root key for destruction, or destroy them for ever.",
        discussion: """
            What was wrapped under a destroyed version never opens again; there is no way back and no copy. So a version is \
            first disabled and gets a day, 30 days ahead; until that is over, --cancel leaves it disabled and `custodyctl \
            key enable` has it back. Nothing destroys it by itself: a timer runs `custodyctl key destroy --due --every-key`, on a \
            host with custodyd. --now destroys at once.

            --due believes no clock alone: the token's has to agree if it has one, and custodyd to have seen the version wait for as \
            many days. Time in which custodyd did not run does not count.

            The key's name has to be typed, or given by --yes-i-understand, to schedule, for --now and for --public.

            --public removes, at once, a public object that somebody without the PIN has planted under a key's name: never a private key.

            Example: custodyctl key destroy payments --version 1 --days 14
            """)

    /// What is to be done.
    private enum Mode {
        case schedule(String, days: Int)
        case cancel(String)
        case now(String)
        /// Only what is public.
        case publicObjects(String)
        /// nil for every key.
        case due(String?)
    }

    @OptionGroup var selection: KeySelection
    @OptionGroup var common: CommonOptions

    @Argument(help: "The key's name; left out with --due --every-key.")
    var name: String?

    @Option(help: ArgumentHelp("Days from today (UTC) on which it can't be destroyed yet: 7 to 30 (default: 30).", valueName: "n"))
    var days: Int?

    @Flag(help: "Destroy at once, without a waiting period.")
    var now = false

    @Flag(name: .customLong("public"), help: "With --id: remove the public objects of this CKA_ID at once, and no private key.")
    var onlyPublic = false

    @Flag(help: "Take a schedule back; the version is disabled then.")
    var cancel = false

    @Flag(help: "Destroy the scheduled versions whose day is over and that have waited. Asks nobody: that was confirmed when they were scheduled.")
    var due = false

    @Flag(help: "With --due: of every key on the token.")
    var everyKey = false

    @Option(name: .customLong("yes-i-understand"), help: ArgumentHelp("The key's name again, instead of typing it.", valueName: "name"))
    var confirmation: String?

    func validate() throws { _ = try mode() }

    private func mode() throws(ValidationError) -> Mode {
        guard [now, cancel, due, onlyPublic].filter({ $0 }).count <= 1 else {
            throw ValidationError("give one of --now, --cancel, --due and --public; nothing was destroyed")
        }
        guard days == nil || !(now || cancel || due || onlyPublic) else { throw ValidationError("--days is for scheduling; nothing was destroyed") }
        if due {
            guard selection.isEmpty, confirmation == nil else {
                throw ValidationError("--due finds the versions itself and asks nobody; give a key's name or --every-key; nothing was destroyed")
            }
            guard (name == nil) == everyKey else { throw ValidationError("--due needs either a key's name or --every-key; nothing was destroyed") }
            return .due(name)
        }
        guard !everyKey else { throw ValidationError("--every-key goes with --due only; nothing was destroyed") }
        guard let name else { throw ValidationError("name the key; nothing was destroyed") }
        try selection.requireOne()
        if let confirmation, confirmation != name {
            throw ValidationError("--yes-i-understand names '\(confirmation)', the key is '\(name)'; nothing was destroyed")
        }
        if onlyPublic {
            guard selection.id != nil else { throw ValidationError("--public goes with --id; nothing was destroyed") }
            return .publicObjects(name)
        }
        if now { return .now(name) }
        if cancel { return .cancel(name) }
        let days = days ?? 30
        guard (WaitingRecord.shortestDays...30).contains(days) else { throw ValidationError("--days is from 7 to 30, not \(days); nothing was destroyed") }
        return .schedule(name, days: days)
    }

    func run() async throws {
        switch try mode() {
        case .schedule(let name, let days):
            let usage = await usageForQuestion()
            let day = UTCDay.today.adding(days: days)
            try KeyStateChange(
                name: name, transition: .scheduleDestruction(after: day), selection: selection, common: common,
                confirm: { keys, token in
                    try confirm(name, keys, usage, "This disables now, to be destroyed for ever after \(day), on token '\(token.label)':")
                }
            ).run()
        case .cancel(let name):
            try KeyStateChange(name: name, transition: .cancelDestruction, selection: selection, common: common).run()
        case .now(let name):
            let usage = await usageForQuestion()
            try KeyDestruction.now(name, selection, common) { keys, token in
                try confirm(name, keys, usage, "This destroys for ever, on token '\(token.label)':")
            }
        case .publicObjects(let name):
            try KeyDestruction.publicObjects(name, selection, common) { keys, token in
                try confirm(name, keys, nil, "This removes for ever, on token '\(token.label)', what is public and may be planted, and no private key:")
            }
        case .due(let name):
            try KeyDestruction.due(name, common)
        }
    }

    private func usageForQuestion() async -> DaemonUsage? {
        confirmation == nil && Terminal.isInteractive ? await DaemonUsage.ask(common) : nil
    }

    private func confirm(_ name: String, _ keys: [KeyObject], _ usage: DaemonUsage?, _ what: String) throws {
        if confirmation != nil { return }
        let lines = keys.map { key -> DisplayText in
            let used = usage?(key.id).map { ", used \($0.usage.uses) times, last use \($0.lastUse), needed: \($0.need.text)" } ?? ""
            return "  \(key.title), \(key.state.phrase)\(used)\n"
        }
        let question: DisplayText = "\(what)\n\(layout: lines.joined())"
            + "What was wrapped under a destroyed version never opens again. Type the key's name to go on: "
        guard Terminal.isInteractive, let typed = try Terminal.answer(question) else {
            throw ToolError.usage("nobody is at the terminal to type the key's name; --yes-i-understand \(name) stands for it. Nothing was destroyed")
        }
        guard typed == name else { throw ToolError("not-confirmed", "'\(typed)' is not '\(name)'; nothing was destroyed") }
    }
}

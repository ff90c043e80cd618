import ByteEncoding
import Custody
import PKCS11
import ToolSupport

/// What the commands that change the state of versions have in common.
struct KeyStateChange {
    private struct Document: Encodable {
        struct Version: Encodable {
            let version: UInt32?
            let id: String
            /// The state now, as the token shows it.
            let state: String
            /// False if it was there already.
            let changed: Bool
            /// The last day (UTC) on which it can't be destroyed yet.
            let destroyAfter: String?
        }
        let token: String
        let name: String
        let versions: [Version]
    }

    let name: String
    let transition: KeyTransition
    let selection: KeySelection
    let common: CommonOptions
    /// Asked before anything is changed.
    var confirm: ([KeyObject], TokenInfo) throws -> Void = { _, _ in }

    func run() throws {
        let access = try common.tokenAccess()
        let (token, results, remaining) = try KeyWork.synced {
            try access.withUserSession(readWrite: true) { _, token, session, _ in try perform(access, token, session) }
        }
        if common.json {
            return try Output.json(Document(token: TokenURI(token).string, name: name, versions: results.map { before, after in
                let key = after ?? before
                let day: String? = if case .scheduledForDestruction(let day) = key.state { day } else { nil }
                return .init(
                    version: key.id?.version, id: hexadecimal(key.idBytes), state: key.state.word, changed: after != nil,
                    destroyAfter: day)
            }))
        }
        for (before, after) in results { Output.say("\(line(before, after))") }
        if !remaining.contains(where: { $0.state == .active }) {
            Output.say("No version of key '\(name)' is active: nothing can be wrapped under it.")
        }
    }

    private typealias Outcome = (before: KeyObject, after: KeyObject?)

    private func perform(
        _ access: TokenAccess, _ token: TokenInfo, _ session: borrowing Session
    ) throws -> (TokenInfo, [Outcome], [KeyObject]) {
        let isDestruction = if case .scheduleDestruction = transition { true } else { false }
        var keys = try selection.pick(name, from: try KeyObject.all(named: name, session), toDestroy: isDestruction)
        // All or nothing of what can be known before.
        try checkProof(keys, access, session)
        for key in keys { try KeyProvisioner.check(key, transition) }
        try confirm(keys, token)
        // Between a question and its answer anything may have happened.
        if case .scheduleDestruction = transition { try KeyProvisioner.checkUnchanged(keys, session) }
        var results: [Outcome] = []
        var failure: (any Error)?
        for _ in 1...3 where !keys.isEmpty {
            results.removeAll { done in keys.contains { $0.idBytes == done.before.idBytes } }
            do {
                results += try KeyWork.each(keys, done: "changed") { key throws(CustodyError) in
                    (before: key, after: try KeyProvisioner.change(key, transition, session))
                }
            } catch {
                failure = failure ?? error
            }
            keys = try leftInUse(session)
        }
        if let failure { throw failure }
        guard keys.isEmpty else {
            throw ToolError("key-busy", "other processes go on activating versions of key '\(name)'; stop them and try again", exit: ToolExit.busy)
        }
        return (token, results, try KeyObject.all(named: name, session).filter { !$0.isPublic })
    }

    /// What `--all` of a key has to take out of use still: a rotation may have added or activated a version meanwhile.
    private func leftInUse(_ session: borrowing Session) throws -> [KeyObject] {
        guard selection.all, transition == .disable || transition == .deactivate else { return [] }
        return try KeyObject.all(named: name, session).filter {
            $0.id != nil && !$0.isPublic && ($0.state == .active || transition == .disable && $0.state == .deactivated)
        }
    }

    private func line(_ before: KeyObject, _ after: KeyObject?) -> String {
        guard let after else {
            if transition == .cancelDestruction, before.state != .disabled {
                return "\(before.titleAtStart) is \(before.state.phrase) and was not scheduled for destruction."
            }
            return "\(before.titleAtStart) is \(before.state.phrase) already."
        }
        let meaning =
            switch after.state {
            case .active: "it wraps and opens"
            case .deactivated: "it opens, and wraps no more"
            case .disabled: "it neither wraps nor opens"
            case .scheduledForDestruction:
                "it neither wraps nor opens; `custodyctl key destroy \(name) --version \(after.id?.version ?? 0) --cancel` takes the schedule back"
            case .refused: ""
            }
        return "\(after.titleAtStart) is \(after.state.phrase): \(meaning)."
    }

    /// What no daemon uses is not made usable, and only what is a root key beyond doubt is left to a timer.
    private func checkProof(_ keys: [KeyObject], _ access: TokenAccess, _ session: borrowing Session) throws {
        switch transition {
        case .disable, .cancelDestruction: return
        case .scheduleDestruction:
            for key in keys where key.id == nil || !key.isRootKey {
                throw CustodyError(
                    .keyRefused, "\(key.title) is no proven root key, and only those can be scheduled; `custodyctl key disable` disables it, `custodyctl key destroy --now` destroys it. Nothing was changed")
            }
        case .enable, .deactivate:
            let catalog = KeyCatalog(exceptions: access.keyExceptions)
            try catalog.refresh(session)
            let known = (try? KeyName(name)).flatMap { name in catalog.ring.keys.first { $0.name == name }?.versions } ?? []
            for key in keys {
                guard let version = known.first(where: { $0.id == key.id }) else {
                    throw CustodyError(.keyRefused, "\(key.title) was not made by Custody, so no daemon uses it. Nothing was changed")
                }
                if case .refused(let reason) = version.state { throw CustodyError(.keyRefused, "\(reason). Nothing was changed") }
            }
        }
    }
}

extension KeyObject {
    /// The title as sentences begin with it.
    var titleAtStart: String { "K" + title.dropFirst() }
}

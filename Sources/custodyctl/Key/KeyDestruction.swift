import ByteEncoding
import Custody
import CustodyServer
import PKCS11
import ToolSupport

/// The end of versions.
enum KeyDestruction {
    private struct Document: Encodable {
        struct Version: Encodable {
            let name: String
            let version: UInt32?
            let id: String
        }
        let token: String
        /// Absent for every key.
        let name: String?
        let destroyed: [Version]
        /// Only of --due.
        let heldBack: [HeldBack]?
    }

    /// A version whose day is over by this host's clock, and that is not destroyed.
    private struct HeldBack: Encodable {
        let name: String
        let version: UInt32?
        let id: String
        let reason: String

        init(_ key: KeyObject, _ reason: String) {
            name = key.name
            version = key.id?.version
            id = hexadecimal(key.idBytes)
            self.reason = reason
        }
    }

    /// Destroys what was picked and confirmed.
    static func now(
        _ name: String, _ selection: KeySelection, _ common: CommonOptions, confirm: ([KeyObject], TokenInfo) throws -> Void
    ) throws {
        let (token, destroyed) = try destroy(common) { token, session in
            let keys = try selection.pick(name, from: try KeyObject.all(named: name, session), toDestroy: true)
            try confirm(keys, token)
            try KeyProvisioner.checkUnchanged(keys, session)
            return try KeyWork.each(keys, done: "destroyed") { key throws(CustodyError) in
                try KeyProvisioner.destroy(key, session)
                return key
            }
        }
        try show(token, name, destroyed, common)
    }

    /// Removes the public objects of a name and CKA_ID, which somebody without the PIN may have planted.
    static func publicObjects(
        _ name: String, _ selection: KeySelection, _ common: CommonOptions, confirm: ([KeyObject], TokenInfo) throws -> Void
    ) throws {
        let (token, removed) = try destroy(common) { token, session in
            let keys = try selection.pickPublic(name, from: try KeyObject.all(named: name, session))
            try confirm(keys, token)
            return try KeyWork.each(keys, done: "removed") { key throws(CustodyError) in
                try KeyProvisioner.removePublic(key, session)
                return key
            }
        }
        if common.json { return try show(token, name, removed, common) }
        for key in removed { Output.say("The public object '\(key.name)' (CKA_ID \(hexadecimal(key.idBytes))) is removed; no private key was touched.") }
    }

    /// Destroys the scheduled versions of a key, or of every key, whose day is over and that have waited.
    ///
    /// What this host takes for the day may be wrong. So the token has to agree if it has a clock, and the daemon to have seen the time
    /// pass: ``WaitingRecord``.
    static func due(_ name: String?, _ common: CommonOptions) throws {
        let (configuration, place) = try common.configuration(judging: ["state.directory"])
        guard let configuration else {
            throw ToolError.configuration("no state directory is named, so there is no telling how long a version has waited: give a configuration file by --config (\(place)). Nothing was destroyed")
        }
        let waited = try WaitingRecord(stateDirectory: configuration.stateDirectory)
        var isThere = true
        var heldBack: [HeldBack] = []
        let (token, destroyed) = try destroy(common) { token, session in
            let today = UTCDay.today
            let present = try KeyObject.all(session)
            isThere = name == nil || present.contains { $0.name == name }
            // Two objects of one CKA_ID: one of them does not belong there, and which one no timer decides. A public one never does.
            let ids = Dictionary(grouping: present.filter { !$0.isPublic }, by: \.idBytes).mapValues(\.count)
            var keys = present.filter { ($0.name == name || name == nil) && $0.isDue(today) && ids[$0.idBytes] == 1 }
            keys.removeAll { key in
                let clock = token.clockDay.flatMap { key.isDue($0) ? nil : "its day is over by this host's clock, but the token's says that today is \($0)" }
                guard let reason = clock ?? waited.objection(to: key) else { return false }
                heldBack.append(HeldBack(key, reason))
                if !common.json { Output.say("\(key.titleAtStart) is not destroyed: \(reason).") }
                return true
            }
            return try KeyWork.each(keys, done: "destroyed") { key throws(CustodyError) in
                try KeyProvisioner.destroyIfDue(key, today: today, waited, session) ? key : nil
            }.compactMap { $0 }
        }
        if let name, !isThere, !common.json {
            return Output.say("Nothing is due: there is no key '\(name)' on the token.")
        }
        if !heldBack.isEmpty, !common.json {
            Output.say("If a clock was set wrong, set it right: nothing is lost. `custodyctl key destroy --now` does not wait.")
        }
        if destroyed.isEmpty, heldBack.isEmpty, !common.json {
            return Output.say("Nothing is due: no version is scheduled for destruction with its day over.")
        }
        try show(token, name, destroyed, heldBack: heldBack, common)
    }

    private static func destroy(
        _ common: CommonOptions, _ body: (TokenInfo, borrowing Session) throws -> [KeyObject]
    ) throws -> (TokenInfo, [KeyObject]) {
        let access = try common.tokenAccess()
        return try KeyWork.synced {
            try access.withUserSession(readWrite: true) { _, token, session, _ in (token, try body(token, session)) }
        }
    }

    private static func show(
        _ token: TokenInfo, _ name: String?, _ destroyed: [KeyObject], heldBack: [HeldBack]? = nil, _ common: CommonOptions
    ) throws {
        if common.json {
            return try Output.json(Document(
                token: TokenURI(token).string, name: name,
                destroyed: destroyed.map { .init(name: $0.name, version: $0.id?.version, id: hexadecimal($0.idBytes)) },
                heldBack: heldBack))
        }
        for key in destroyed { Output.say("\(key.titleAtStart) is destroyed.") }
    }
}

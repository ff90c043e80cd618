import ByteEncoding
import Custody
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
    }

    /// Destroys what was picked and confirmed.
    static func now(
        _ name: String, _ selection: KeySelection, _ common: CommonOptions, confirm: ([KeyObject], TokenInfo) throws -> Void
    ) throws {
        let (token, destroyed) = try destroy(common) { token, session in
            let keys = try selection.pick(name, from: try KeyObject.all(named: name, session))
            try confirm(keys, token)
            try KeyProvisioner.checkUnchanged(keys, session)
            return try KeyWork.each(keys, done: "destroyed") { key throws(CustodyError) in
                try KeyProvisioner.destroy(key, session)
                return key
            }
        }
        try show(token, name, destroyed, common)
    }

    /// Destroys the scheduled versions of a key, or of every key, whose day is over.
    static func due(_ name: String?, _ common: CommonOptions) throws {
        var isThere = true
        let (token, destroyed) = try destroy(common) { token, session in
            let today = UTCDay.today
            let present = try KeyObject.all(session)
            isThere = name == nil || present.contains { $0.name == name }
            // Two objects of one CKA_ID: one of them does not belong there, and which one no timer decides. A public one never does.
            let ids = Dictionary(grouping: present.filter { !$0.isPublic }, by: \.idBytes).mapValues(\.count)
            let keys = present.filter { ($0.name == name || name == nil) && $0.isDue(today) && ids[$0.idBytes] == 1 }
            return try KeyWork.each(keys, done: "destroyed") { key throws(CustodyError) in
                try KeyProvisioner.destroyIfDue(key, today: today, session) ? key : nil
            }.compactMap { $0 }
        }
        if let name, !isThere, !common.json {
            return Output.say("Nothing is due: there is no key '\(name)' on the token.")
        }
        if destroyed.isEmpty, !common.json {
            return Output.say("Nothing is due: no version is scheduled for destruction with its day over.")
        }
        try show(token, name, destroyed, common)
    }

    private static func destroy(
        _ common: CommonOptions, _ body: (TokenInfo, borrowing Session) throws -> [KeyObject]
    ) throws -> (TokenInfo, [KeyObject]) {
        let access = try common.tokenAccess()
        return try KeyWork.synced {
            try access.withUserSession(readWrite: true) { _, token, session, _ in (token, try body(token, session)) }
        }
    }

    private static func show(_ token: TokenInfo, _ name: String?, _ destroyed: [KeyObject], _ common: CommonOptions) throws {
        if common.json {
            return try Output.json(Document(
                token: TokenURI(token).string, name: name,
                destroyed: destroyed.map { .init(name: $0.name, version: $0.id?.version, id: hexadecimal($0.idBytes)) }))
        }
        for key in destroyed { Output.say("\(key.titleAtStart) is destroyed.") }
    }
}

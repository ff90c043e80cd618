import ArgumentParser
import Custody
import PKCS11
import ToolSupport

/// `key list`: every key as the daemon would see it.
struct KeyListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the root keys and their versions, and which of them is refused and why.",
        discussion: "Example: custodyctl key list --json")

    private struct Document: Encodable {
        struct Key: Encodable {
            let name: String
            let versions: [Version]
        }
        struct Version: Encodable {
            let version: UInt32
            let id: String
            let state: String
            /// This is the version that wraps.
            let wraps: Bool
            let reason: String?
            let exception: String?
        }
        struct Foreign: Encodable {
            let name: String
            let reason: String
        }
        let token: String
        let keys: [Key]
        let foreignKeys: [Foreign]
    }

    @OptionGroup var common: CommonOptions

    func run() throws {
        let access = try common.tokenAccess()
        let document = try access.withUserSession(readWrite: false) { _, token, session, _ in
            let catalog = KeyCatalog(exceptions: access.keyExceptions)
            try catalog.refresh(session)
            return Self.document(token, catalog.ring)
        }
        if common.json { return try Output.json(document) }
        guard !document.keys.isEmpty || !document.foreignKeys.isEmpty else {
            return print("The token holds no keys; `custodyctl key generate NAME` makes one.")
        }
        // Reasons are too long for a column.
        var remarks: [String] = []
        var table = Table(["KEY", "VERSION", "STATE", "CKA_ID", "NOTE"])
        for key in document.keys {
            for version in key.versions {
                let remark = version.exception.map { "\(key.name) version \(version.version) is \($0)" } ?? version.reason
                if let remark, !remarks.contains(remark) { remarks.append(remark) }
                let note = remark != nil ? "see below" : version.wraps ? "wraps" : ""
                table.add(key.name, "\(version.version)", version.state, version.id, note)
            }
        }
        for key in document.foreignKeys { table.add(key.name.isEmpty ? "(no label)" : key.name, "-", "foreign", "-", "see below") }
        table.show()
        for remark in remarks + document.foreignKeys.map(\.reason) { print("\n\(Table.printable(remark))") }
    }

    private static func document(_ token: TokenInfo, _ ring: KeyRing) -> Document {
        let keys = ring.keys.map { name, versions in
            let wrapping = versions.last { $0.state == .active }?.id
            return Document.Key(name: name, versions: versions.map { version in
                var reason: String?
                if case .refused(let why) = version.state { reason = why }
                return Document.Version(
                    version: version.version, id: version.id.description, state: version.state.word,
                    wraps: version.id == wrapping, reason: reason, exception: version.exception)
            })
        }
        return Document(
            token: TokenURI(token).string, keys: keys,
            foreignKeys: ring.strangersByName.map { Document.Foreign(name: $0.name, reason: $0.reason) })
    }
}

import ArgumentParser
import ByteEncoding
import Custody
import ToolSupport

/// Which versions of a key a command is about.
struct KeySelection: ParsableArguments {
    @Option(help: ArgumentHelp("The version.", valueName: "n"))
    var version: UInt32?

    @Option(help: ArgumentHelp("The object of this CKA_ID, 2 hexadecimal digits a byte.", valueName: "hex"))
    var id: String?

    @Flag(help: "All versions of the key.")
    var all = false

    private var count: Int { [version != nil, id != nil, all].filter { $0 }.count }

    var isEmpty: Bool { count == 0 }

    func requireOne() throws(ValidationError) {
        guard count == 1 else { throw ValidationError("give one of --version N, --id HEX and --all; nothing was changed") }
    }

    /// Picks from what the token holds under the name. Keys that Custody did not make are meant only by their CKA_ID.
    func pick(_ name: String, from keys: [KeyObject]) throws -> [KeyObject] {
        guard !keys.isEmpty else {
            throw CustodyError(.keyNotFound, "there is no key '\(name)' on the token; `custodyctl key list` shows the keys")
        }
        // Anybody can make a public object without the PIN: it is meant only where there is no other.
        func chosen(_ isMeant: (KeyObject) -> Bool) -> [KeyObject] {
            let meant = keys.filter(isMeant)
            let own = meant.filter { !$0.isPublic }
            return own.isEmpty ? meant : own
        }
        let wanted: [KeyObject]
        let what: String
        if let version {
            wanted = chosen { $0.id?.version == version }
            what = "version \(version)"
            if Set(wanted.map(\.idBytes)).count > 1 {
                let list = wanted.map { hexadecimal($0.idBytes) }.joined(separator: ", ")
                throw ToolError("key-ambiguous", "key '\(name)' has several versions \(version); select one by --id: \(list)")
            }
        } else if let id {
            wanted = chosen { hexadecimal($0.idBytes) == id.lowercased() }
            what = "object with the CKA_ID \(id)"
        } else {
            wanted = chosen { $0.id != nil }
            what = "version made by Custody; --id means a foreign key"
        }
        guard !wanted.isEmpty else {
            throw CustodyError(.keyNotFound, "key '\(name)' has no \(what); `custodyctl key show \(name)` shows what there is")
        }
        // Two objects of one CKA_ID and label can't be told apart, and one of them may be the real one.
        guard wanted.count == 1 || all else {
            throw ToolError("key-ambiguous", "\(wanted.count) objects '\(name)' have the CKA_ID \(hexadecimal(wanted[0].idBytes)); --all means all versions, the vendor's tool changes a single object")
        }
        return wanted
    }
}

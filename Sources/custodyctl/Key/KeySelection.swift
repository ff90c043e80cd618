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
    ///
    /// Anybody can make a public object without the PIN: it is no version, and never picked.
    ///
    /// - Parameter toDestroy: Refuses a CKA_ID that a public object has as well: who names it may mean that one.
    func pick(_ name: String, from objects: [KeyObject], toDestroy: Bool = false) throws -> [KeyObject] {
        guard !objects.isEmpty else {
            throw CustodyError(.keyNotFound, "there is no key '\(name)' on the token; `custodyctl key list` shows the keys")
        }
        let keys = objects.filter { !$0.isPublic }
        let planted = objects.filter { $0.isPublic && has($0, version: version, id: id) }
        func chosen(_ isMeant: (KeyObject) -> Bool) -> [KeyObject] { keys.filter(isMeant) }
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
        if let first = planted.first, wanted.isEmpty || toDestroy && id != nil {
            let removal = "`custodyctl key destroy \(name) --id \(hexadecimal(first.idBytes)) --public` removes it"
            guard wanted.isEmpty else {
                throw ToolError(
                    "key-ambiguous", "a private key and a public object '\(name)' have the CKA_ID \(hexadecimal(first.idBytes)), and anybody can have made the public one; \(removal), and not the private key. Nothing was done")
            }
            throw CustodyError(
                .keyNotFound, "of key '\(name)' the token has only a public object here (CKA_ID \(hexadecimal(first.idBytes))), which anybody can make without the PIN and which is no version; \(removal). Nothing was done")
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

    /// Picks the public objects of the name and the CKA_ID, and nothing else.
    func pickPublic(_ name: String, from keys: [KeyObject]) throws(CustodyError) -> [KeyObject] {
        let wanted = keys.filter { key in key.isPublic && id.map { has(key, version: nil, id: $0) } == true }
        guard !wanted.isEmpty else {
            throw CustodyError(
                .keyNotFound, "there is no public object '\(name)' with the CKA_ID \(id ?? "") on the token; `custodyctl key list` shows what there is. Nothing was done")
        }
        return wanted
    }

    private func has(_ key: KeyObject, version: UInt32?, id: String?) -> Bool {
        if let version { return key.id?.version == version }
        if let id { return hexadecimal(key.idBytes) == id.lowercased() }
        return true
    }
}

/// A parameter of a statement, or a field of a row.
public enum Value: Sendable, Hashable {
    case null
    /// TEXT and its kin.
    case text(String)
    /// BIGINT and all narrower integers; of a BOOLEAN 0 or 1.
    case integer(Int64)
    /// BYTEA, and every type that is not known here as the server sends it.
    case bytes([UInt8])
}

extension Value {
    /// The types' numbers in PostgreSQL's catalog, the same on every server (pg_type.dat).
    private enum TypeID {
        static let boolean: UInt32 = 16
        static let bytea: UInt32 = 17
        static let name: UInt32 = 19
        static let bigint: UInt32 = 20
        static let smallint: UInt32 = 21
        static let integer: UInt32 = 23
        static let text: UInt32 = 25
        static let oid: UInt32 = 26
        static let varchar: UInt32 = 1043
    }

    /// The type that a parameter is sent as; 0 leaves it to the server.
    var typeID: UInt32 {
        switch self {
        case .null: 0
        case .text: TypeID.text
        case .integer: TypeID.bigint
        case .bytes: TypeID.bytea
        }
    }

    /// The binary form of a parameter; nil for NULL. Text goes by its length too, so that a NUL in it is refused by the
    /// server and does not cut it short.
    var binary: [UInt8]? {
        switch self {
        case .null: nil
        case .text(let text): Array(text.utf8)
        case .integer(let number): (0..<8).reversed().map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
        case .bytes(let bytes): bytes
        }
    }

    /// A field that the server sent in binary form.
    init(typeID: UInt32, binary: [UInt8]) {
        switch typeID {
        // A server may keep text in no encoding at all (SQL_ASCII): what is none is not taken for another text.
        case TypeID.text, TypeID.name, TypeID.varchar: self = String(validating: binary, as: UTF8.self).map(Value.text) ?? .bytes(binary)
        case TypeID.bigint, TypeID.integer, TypeID.smallint:
            // The sign comes with the first byte, whatever the width.
            let start: Int64 = (binary.first ?? 0) & 0x80 == 0 ? 0 : -1
            self = .integer(binary.reduce(start) { $0 << 8 | Int64($1) })
        case TypeID.oid, TypeID.boolean: self = .integer(binary.reduce(0) { $0 << 8 | Int64($1) })
        default: self = .bytes(binary)
        }
    }
}

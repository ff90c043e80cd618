import Foundation
import MasterKey
import PostgreSQL

/// Takes a row of the database apart. Whatever can't be read is `row-damaged`, naming the tenant and the column.
struct RowReader {
    let row: [SQLValue]
    let columns: [String]
    /// What the row is of, for messages.
    let subject: String

    /// - Parameter columns: What was selected, in the order of the fields.
    init(_ row: [SQLValue], columns: [String]) {
        self.row = row
        self.columns = columns
        // The name may be what is damaged. A terminal prints it: no more than what a name may have.
        let name = columns.firstIndex(of: "tenant").flatMap { row.indices.contains($0) ? row[$0] : nil }
        if case .text(let text)? = name, (try? TenantName(text)) != nil {
            subject = "tenant \(text)"
        } else {
            subject = "a tenant without a valid name"
        }
    }

    func damaged(_ column: String, _ what: String) -> MasterKeyError {
        MasterKeyError(
            .rowDamaged, "the database's row of \(subject) is damaged: column \(column) \(what)",
            advice: "restore the row from a backup of the database")
    }

    private func value(_ column: String) throws(MasterKeyError) -> SQLValue {
        guard let index = columns.firstIndex(of: column), row.indices.contains(index) else {
            throw damaged(column, "is not there")
        }
        return row[index]
    }

    func text(_ column: String) throws(MasterKeyError) -> String {
        guard case .text(let text) = try value(column) else { throw damaged(column, "is not a text") }
        return text
    }

    func bytes(_ column: String) throws(MasterKeyError) -> [UInt8] {
        guard case .bytes(let bytes) = try value(column) else { throw damaged(column, "does not hold bytes") }
        return bytes
    }

    func integer(_ column: String) throws(MasterKeyError) -> Int64 {
        guard case .integer(let number) = try value(column) else { throw damaged(column, "is not a number") }
        return number
    }

    func optional<R>(_ column: String, _ read: (String) throws(MasterKeyError) -> R) throws(MasterKeyError) -> R? {
        if case .null = try value(column) { return nil }
        return try read(column)
    }

    // MARK: What the columns stand for

    func tenant(_ column: String) throws(MasterKeyError) -> TenantName {
        let text = try text(column)
        do { return try TenantName(text) } catch { throw damaged(column, "is not a tenant's name") }
    }

    func identifier(_ column: String) throws(MasterKeyError) -> Identifier {
        let bytes = try bytes(column)
        guard let id = Identifier(bytes) else {
            throw damaged(column, "has \(bytes.count) bytes instead of \(Identifier.length)")
        }
        return id
    }

    func key(_ column: String) throws(MasterKeyError) -> KMSKeyID {
        KMSKeyID(rawValue: try text(column))
    }

    func date(_ column: String) throws(MasterKeyError) -> Date { Date(milliseconds: try integer(column)) }

    func flag(_ column: String) throws(MasterKeyError) -> Bool {
        switch try integer(column) {
        case 0: false
        case 1: true
        default: throw damaged(column, "is neither 0 nor 1")
        }
    }

    func step(_ column: String) throws(MasterKeyError) -> Step {
        let number = try integer(column)
        guard let step = Int(exactly: number).flatMap(Step.init(rawValue:)) else {
            throw damaged(column, "is no step that is known")
        }
        return step
    }

    func known<R: RawRepresentable>(_ column: String) throws(MasterKeyError) -> R where R.RawValue == String {
        guard let value = R(rawValue: try text(column)) else { throw damaged(column, "has a value that is not known") }
        return value
    }

    func context(_ column: String) throws(MasterKeyError) -> [String: String] {
        let text = try text(column)
        do { return try JSONDecoder().decode([String: String].self, from: Data(text.utf8)) } catch {
            throw damaged(column, "is not an object of texts in JSON")
        }
    }
}

extension Date {
    /// Since 1970.
    init(milliseconds: Int64) { self.init(timeIntervalSince1970: Double(milliseconds) / 1_000) }

    /// Since 1970, to the nearest one.
    var milliseconds: Int64 {
        let exact = (timeIntervalSince1970 * 1_000).rounded()
        return Int64(exactly: exact) ?? (exact < 0 ? .min : .max)
    }
}

extension SQLValue {
    init(_ text: String?) { self = text.map { .text($0) } ?? .null }
    init(_ bytes: [UInt8]?) { self = bytes.map { .bytes($0) } ?? .null }
    init(_ date: Date?) { self = date.map { .integer($0.milliseconds) } ?? .null }
    init(_ id: Identifier) { self = .bytes(id.bytes) }
    init(_ tenant: TenantName) { self = .text(tenant.description) }
    init(_ key: KMSKeyID?) { self.init(key?.rawValue) }
    init(_ flag: Bool?) { self = flag.map { .integer($0 ? 1 : 0) } ?? .null }
    init(_ step: Step?) { self = step.map { .integer(Int64($0.rawValue)) } ?? .null }
}

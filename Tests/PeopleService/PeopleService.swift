import AWSKMS
import CustodyClient
import Foundation
import GRDB
import MasterKey
import SecureMemory
import TenantStorage

/// The smallest service that has something to protect: a table of people whose names and card numbers are encrypted under
/// the tenant's master key. Each run is a start of the service, which opens the key once.
///
/// people-service DATABASE TENANT add < "name;card" lines      people-service DATABASE TENANT list
@main
struct PeopleService {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        guard arguments.count == 3, let path = arguments.first, let command = arguments.last else {
            fatalError("people-service DATABASE TENANT add|list")
        }
        let tenants = try TenantDatabases.open("sqlite:\(path)")
        let kms = try AWSKMSClient(.init())
        let custody = CustodyClient(.init(socket: ProcessInfo.processInfo.environment["CUSTODY_SOCKET"] ?? ""))
        let keys = MasterKeys(database: tenants, kms: kms, custody: custody)
        do {
            let tenant = try TenantName(arguments[arguments.startIndex + 1])
            let people = try People(path, try await keys.open(tenant))
            switch command {
            case "add":
                while let line = readLine() {
                    let fields = line.split(separator: ";", maxSplits: 1).map(String.init)
                    try await people.add(name: fields[0], card: fields[1])
                }
            default:
                for person in try await people.all() { print("\(person.id);\(person.name);\(person.card)") }
            }
        } catch {
            FileHandle.standardError.write(Data("people-service: \(error)\n".utf8))
            exit(1)
        }
        keys.dropAll()
        await custody.shutdown()
        await kms.shutdown()
        await tenants.close()
    }
}

/// The table.
struct People: Sendable {
    struct Person: Sendable {
        let id: String
        let name: String
        let card: String
    }

    private let database: DatabaseQueue
    private let key: OpenedMasterKey

    init(_ path: String, _ key: OpenedMasterKey) throws {
        self.key = key
        database = try DatabaseQueue(path: path)
        try database.write { try $0.execute(sql: "CREATE TABLE IF NOT EXISTS people (id TEXT PRIMARY KEY, name BLOB NOT NULL, card BLOB NOT NULL)") }
    }

    /// The id comes first, since each value is bound to its place: row and column.
    func add(name: String, card: String) async throws {
        let id = UUID().uuidString
        let sealedName = try key.seal(Array(name.utf8), associatedData: "people/\(id)/name".utf8).bytes
        let sealedCard = try key.seal(Array(card.utf8), associatedData: "people/\(id)/card".utf8).bytes
        try await database.write {
            try $0.execute(sql: "INSERT INTO people VALUES (?, ?, ?)", arguments: [id, Data(sealedName), Data(sealedCard)])
        }
    }

    func all() async throws -> [Person] {
        let rows = try await database.read { try Row.fetchAll($0, sql: "SELECT id, name, card FROM people ORDER BY rowid").map { ($0[0] as String, $0[1] as Data, $0[2] as Data) } }
        return try rows.map { id, name, card in
            Person(id: id, name: try text(name, "people/\(id)/name"), card: try text(card, "people/\(id)/card"))
        }
    }

    private func text(_ sealed: Data, _ place: String) throws -> String {
        String(decoding: try key.open(try SealedData(Array(sealed)), associatedData: place.utf8).exposed(), as: UTF8.self)
    }
}

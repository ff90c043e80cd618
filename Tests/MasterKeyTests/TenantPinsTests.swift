import Foundation
import TestSupport
import Testing

@testable import MasterKey

/// What was seen of tenants, in memory and in files.
@Suite struct TenantPinsTests {
    /// A database of which nothing but its identity is looked at.
    private struct Named: TenantDatabase {
        let identity: String
        var name: String { identity }
        private var none: MasterKeyError { MasterKeyError(.databaseUnavailable, "there is none") }

        func migrate() async throws(MasterKeyError) -> (from: Int, to: Int) { throw none }
        func record(of tenant: TenantName) async throws(MasterKeyError) -> TenantRecord? { throw none }
        func tenants(after tenant: TenantName?, limit: Int) async throws(MasterKeyError) -> [TenantName] { throw none }
        func rowsWithoutName() async throws(MasterKeyError) -> [MasterKeyError] { throw none }
        func tenants(under key: KMSKeyID) async throws(MasterKeyError) -> [TenantName] { throw none }
        func insert(_ record: TenantRecord) async throws(MasterKeyError) { throw none }
        func replace(_ record: TenantRecord, recording operation: OperationRecord?) async throws(MasterKeyError) { throw none }
        func noteOpening(of tenant: TenantName, at date: Date) async throws(MasterKeyError) { throw none }
        func unfinishedOperation(of tenant: TenantName) async throws(MasterKeyError) -> OperationRecord? { throw none }
        func operations(of tenant: TenantName) async throws(MasterKeyError) -> [(operation: OperationRecord, steps: [StepRecord])] { throw none }
        func begin(_ operation: OperationRecord) async throws(MasterKeyError) { throw none }
        func update(_ operation: OperationRecord, done step: Step?) async throws(MasterKeyError) { throw none }
        func lock(_ tenant: TenantName) async throws(MasterKeyError) -> (any TenantLock)? { throw none }
        func scrub() async throws(MasterKeyError) { throw none }
        func close() async {}
    }

    private let id = Identifier()

    private func record(
        _ tenant: String = "acme", id: Identifier? = nil, rootKey version: UInt32? = nil, named name: String = "root", generation: Int64 = 1, tag: [UInt8]? = [1]
    ) throws -> TenantRecord {
        TenantRecord(
            tenant: try TenantName(tenant), masterKeyID: id ?? self.id,
            layers: version.map { .rootKeyOverKMS(name: name, version: $0) } ?? .kms, blob: [], kmsKey: KMSKeyID(rawValue: "k"),
            kmsContext: [:], generation: generation, tag: tag, createdAt: .now, changedAt: .now)
    }

    private func refusal(_ pins: TenantPins, _ record: TenantRecord) -> MasterKeyError.Code? {
        do throws(MasterKeyError) {
            try pins.check(record)
            return nil
        } catch { return error.code }
    }

    private func expectNothingTakenBack(_ pins: TenantPins, _ location: SourceLocation = #_sourceLocation) throws {
        let cases: [(TenantRecord, MasterKeyError.Code?)] = [
            (try record(rootKey: 2, generation: 3), nil), (try record(rootKey: 3, generation: 3), nil),
            (try record(rootKey: 1, generation: 4, tag: [2]), nil), (try record(rootKey: 1, generation: 3), .rowOutdated),
            (try record(rootKey: 2, generation: 2), .rowOutdated), (try record(rootKey: 2, generation: 3, tag: [2]), .rowOutdated),
            (try record(rootKey: 2, generation: 3, tag: nil), .rowOutdated), (try record(generation: 3), .rootKeyRequired),
            (try record(generation: 99, tag: [2]), .rootKeyRequired), (try record(id: Identifier(), rootKey: 2, generation: 99), .masterKeyReplaced),
            (try record(rootKey: 2, named: "other", generation: 99), .rootKeyRequired), (try record("globex", id: Identifier()), nil),
        ]
        for (row, code) in cases { #expect(refusal(pins, row) == code, "\(row)", sourceLocation: location) }
    }

    @Test func nothingIsTakenBack() throws {
        let pins = TenantPins()
        #expect(refusal(pins, try record()) == nil)
        try pins.note(try record())
        try pins.note(try record(rootKey: 2, generation: 3))
        try expectNothingTakenBack(pins)
        // What is older, or has no tag, is not remembered in its place.
        try pins.note(try record(generation: 2))
        try pins.note(try record(tag: nil))
        try expectNothingTakenBack(pins)
        try pins.replace(try record())
        #expect(refusal(pins, try record()) == nil)
    }

    @Test func isKeptInFiles() throws {
        let directory = try TemporaryDirectory()
        let folder = directory.file("a/pins")
        try TenantPins(directory: folder, of: Named(identity: "x")).note(try record(rootKey: 2, generation: 3))
        try expectNothingTakenBack(TenantPins(directory: folder, of: Named(identity: "x")))
        // Another database's tenant of this name is another.
        #expect(refusal(try TenantPins(directory: folder, of: Named(identity: "y")), try record(id: Identifier())) == nil)
        // A process that has seen less does not write over one that has seen more.
        let late = try TenantPins(directory: folder, of: Named(identity: "x"))
        try late.note(try record(generation: 2))
        try expectNothingTakenBack(TenantPins(directory: folder, of: Named(identity: "x")))
        try late.replace(try record())
        #expect(refusal(try TenantPins(directory: folder, of: Named(identity: "x")), try record()) == nil)
        let files = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        #expect(!files.isEmpty)
        for file in files {
            var status = stat()
            #expect(stat(folder + "/" + file, &status) == 0 && status.st_mode & 0o077 == 0, "\(file)")
        }
    }

    @Test func everyNameHasAFileOfItsOwn() throws {
        let directory = try TemporaryDirectory()
        let names = [".", "..", "a", "A", "a/b", "a.b", "a/../b", "/", String(repeating: "/", count: 128), "-x"]
        let ids = names.map { _ in Identifier() }
        let pins = try TenantPins(directory: directory.path, of: Named(identity: "x"))
        for (name, id) in zip(names, ids) { try pins.note(try record(name, id: id)) }
        let again = try TenantPins(directory: directory.path, of: Named(identity: "x"))
        for (name, id) in zip(names, ids) {
            #expect(refusal(again, try record(name, id: id)) == nil)
            #expect(refusal(again, try record(name, id: Identifier())) == .masterKeyReplaced)
        }
    }

    @Test func theNewestOfManyStays() async throws {
        let directory = try TemporaryDirectory()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in (1...20).shuffled() {
                let row = try record(rootKey: 1, generation: Int64(number), tag: [UInt8(number)])
                group.addTask { try TenantPins(directory: directory.path, of: Named(identity: "x")).note(row) }
            }
            try await group.waitForAll()
        }
        let pins = try TenantPins(directory: directory.path, of: Named(identity: "x"))
        #expect(refusal(pins, try record(rootKey: 1, generation: 19, tag: [19])) == .rowOutdated)
        #expect(refusal(pins, try record(rootKey: 1, generation: 20, tag: [20])) == nil)
    }

    @Test func whatOthersMayChangeIsRefused() throws {
        let directory = try TemporaryDirectory()
        let open = directory.file("open"), link = directory.file("link")
        try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: false)
        #expect(chmod(open, 0o777) == 0)
        #expect(symlink(directory.path, link) == 0)
        let file = try directory.write("file", "x")
        for folder in [open, link, file, file + "/x"] {
            let error = #expect(throws: MasterKeyError.self) { try TenantPins(directory: folder, of: Named(identity: "x")) }
            #expect(error?.code == .pinsUnusable && error?.advice != nil, "\(folder)")
        }
    }

    /// Who may write to a folder above may put another folder in the place of the pins.
    @Test func theFoldersAboveAreLookedAt() throws {
        let directory = try TemporaryDirectory()
        let above = directory.file("above"), folder = directory.file("above/pins")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        #expect(chmod(above, 0o777) == 0)
        let error = #expect(throws: MasterKeyError.self) { try TenantPins(directory: folder, of: Named(identity: "x")) }
        #expect(error?.code == .pinsUnusable && error?.message.contains(above) == true)
        // As /tmp is.
        #expect(chmod(above, 0o1777) == 0)
        #expect(throws: Never.self) { try TenantPins(directory: folder, of: Named(identity: "x")) }
    }

    /// What others may have written is not believed, and a pipe, which would be waited for, is no file.
    @Test(arguments: ["mode", "owner", "pipe"]) func aFileOfOthersIsNoPin(_ way: String) throws {
        let directory = try TemporaryDirectory()
        let database = Named(identity: "x")
        try TenantPins(directory: directory.path, of: database).note(try record())
        let file = try PinFolder(directory.path, of: database).file(of: TenantName("acme"))
        switch way {
        case "mode": #expect(chmod(file, 0o666) == 0)
        case "owner":
            // Only root may give a file away.
            guard geteuid() == 0 else { return }
            #expect(chown(file, 4_711, 4_711) == 0)
        default:
            try FileManager.default.removeItem(atPath: file)
            #expect(mkfifo(file, 0o600) == 0)
        }
        #expect(refusal(try TenantPins(directory: directory.path, of: database), try record()) == .pinsUnusable)
    }

    /// A row that was opened once is believed for its KMS key; one that names another key is not.
    @Test func theKMSKeyIsRemembered() throws {
        let directory = try TemporaryDirectory()
        let database = Named(identity: "x")
        let row = try record(rootKey: 1)
        var moved = row
        moved.kmsKey = KMSKeyID(rawValue: "other")
        #expect(try !TenantPins(directory: directory.path, of: database).vouch(for: row))
        try TenantPins(directory: directory.path, of: database).note(row)
        let again = try TenantPins(directory: directory.path, of: database)
        #expect(try again.vouch(for: row))
        #expect(refusal(again, moved) == .rowAltered)
    }

    /// Nothing is believed because the file can't be read.
    @Test(arguments: ["", "{", "{}", #"{"tenant":"acme","masterKey":"AA","generation":1,"tag":""}"#, "other", "link"])
    func aDamagedFileIsNoFile(_ content: String) throws {
        let directory = try TemporaryDirectory()
        let database = Named(identity: "x")
        try TenantPins(directory: directory.path, of: database).note(try record())
        let file = try PinFolder(directory.path, of: database).file(of: TenantName("acme"))
        switch content {
        case "other":
            try TenantPins(directory: directory.path, of: database).note(try record("globex"))
            try FileManager.default.removeItem(atPath: file)
            try FileManager.default.copyItem(atPath: file.replacing("acme", with: "globex"), toPath: file)
        case "link":
            try FileManager.default.moveItem(atPath: file, toPath: file + ".moved")
            #expect(symlink(file + ".moved", file) == 0)
        default: try Data(content.utf8).write(to: URL(fileURLWithPath: file))
        }
        let pins = try TenantPins(directory: directory.path, of: database)
        #expect(refusal(pins, try record()) == .pinsUnusable)
        #expect(#expect(throws: MasterKeyError.self) { try pins.note(try record()) }?.code == .pinsUnusable)
    }
}

import Foundation
import MasterKey
import PostgreSQL
import TestSupport
import Testing

@testable import TenantStorage

@Suite struct PostgreSQLTests {
    @Test func valuesComeBackAsTheyWere() async throws {
        let cluster = try await PostgreSQLCluster.shared()
        let settings = try ConnectionSettings(parsing: cluster.address(of: "postgres"))
        var connection = try Connection(settings)
        let values: [Value] = [.null, .text(""), .text("ü'\\"), .integer(.min), .integer(-1), .integer(.max), .bytes([]), .bytes([0, 1, 255])]
        let list = values.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
        var row = try connection.query("SELECT \(list)", values).rows[0]
        #expect(row == values)
        row = try connection.query("SELECT -2::smallint, -3::int, true, 'n'::name, 'v'::varchar").rows[0]
        #expect(row == [.integer(-2), .integer(-3), .integer(1), .text("n"), .text("v")])
        // A NUL is refused and does not cut the text short.
        #expect(throws: PostgreSQLError.self) { try connection.query("SELECT $1", [.text("a\u{0}b")]) }
        do {
            _ = try connection.query("SELECT * FROM nowhere")
            Issue.record("there is such a table")
        } catch {
            #expect(error.sqlState == "42P01" && error.function == .execute && !error.isConnectionLost)
        }
        let isLost = connection.isLost
        #expect(!isLost)
    }

    @Test func aSessionIsSetUpToLoseNothing() async throws {
        let store = try await Store(.postgresql)
        func settings() async throws -> [SQLValue] {
            let database = try store.open(patience: .milliseconds(1_234))
            let row = try await database.driver.transaction(.reading) { session throws(MasterKeyError) in
                try session.run(
                    """
                    SELECT current_setting('synchronous_commit'), current_setting('lock_timeout'),
                    current_setting('client_connection_check_interval'), current_setting('application_name')
                    """).rows[0]
            }
            await database.close()
            return row
        }
        let name = try await store.sql("SELECT current_database()")
        for (set, expected) in [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")] {
            try await store.sql("ALTER DATABASE \(name) SET synchronous_commit = \(set)")
            #expect(try await settings() == [.text(expected), .text("1234ms"), .text("1s"), .text("custody-mek")])
        }
    }

    @Test func aRoleNeedsToOwnNothing() async throws {
        let store = try await Store(.postgresql)
        let cluster = try await PostgreSQLCluster.shared()
        let name = try await store.sql("SELECT current_database()")
        let role = "service_\(name)"
        try await store.sql("CREATE ROLE \(role) LOGIN")
        let database = try TenantDatabases.open(cluster.address(of: name, user: role))
        #expect(await code { try await database.record(of: TenantName("a")) } == .databaseDenied)
        for table in ["schema", "tenant", "operation", "operation_step"] {
            try await store.sql("GRANT SELECT, INSERT, UPDATE ON custody_\(table) TO \(role)")
        }
        let row = try record("a")
        try await database.insert(row)
        var operation = operation(row.tenant)
        try await database.begin(operation)
        operation.state = .finished
        operation.step = .replaced
        try await database.replace(row, recording: operation)
        try await database.noteOpening(of: row.tenant, at: moment())
        #expect(try await database.operations(of: row.tenant).count == 1)
        await (try #require(try await database.lock(row.tenant))).release()
        #expect(await code { try await database.scrub() } == .databaseDenied)
        await database.close()
    }

    /// Whether a file of the cluster's tables holds these bytes.
    private func tablesContain(_ bytes: [UInt8], _ cluster: PostgreSQLCluster) async throws -> Bool {
        try await cluster.psql("CHECKPOINT", database: "postgres")
        let base = cluster.dataFolder + "/base"
        return try FileManager.default.subpathsOfDirectory(atPath: base).contains {
            guard let data = try? Data(contentsOf: URL(fileURLWithPath: "\(base)/\($0)")) else { return false }
            return data.range(of: Data(bytes)) != nil
        }
    }

    @Test(arguments: [64, 5_000]) func nothingReplacedIsLeft(_ length: Int) async throws {
        // Of its own: a transaction in any database of a cluster keeps old rows from being removed.
        let cluster = try await PostgreSQLCluster()
        let store = try await Store(.postgresql, on: cluster)
        let database = try store.open()
        // Random, so that it is neither compressed nor another test's.
        let old = (0..<length).map { _ in UInt8.random(in: .min ... .max) }
        let row = try record("a", blob: old)
        try await database.insert(row)
        #expect(try await tablesContain(Array(old.prefix(48)), cluster))
        var new = row
        new.blob = [1]
        // Somebody who began before the replacement, and so may still look at the old row.
        let reader = try await store.session(in: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        try await database.replace(new, recording: nil)
        #expect(try await tablesContain(Array(old.prefix(48)), cluster))
        #expect(await code { try await database.scrub() } == .databaseBusy)
        reader.signal(SIGKILL)
        try await reader.end()
        try await eventually("nobody sees the old row") { await code { try await database.scrub() } == nil }
        #expect(try await !tablesContain(Array(old.prefix(48)), cluster))
        new.revision = 2
        #expect(try await database.record(of: row.tenant) == new)
        await database.close()
    }

    @Test func aServerThatWasStoppedIsFoundAgain() async throws {
        let cluster = try await PostgreSQLCluster()
        let store = try await Store(.postgresql, on: cluster)
        let database = try store.open()
        let row = try record("a")
        try await database.insert(row)
        let lock = try #require(try await database.lock(row.tenant))
        try await cluster.stop()
        #expect(await code { try await database.record(of: row.tenant) } == .databaseUnavailable)
        #expect(await code { try await database.noteOpening(of: row.tenant, at: moment()) } == .databaseUnavailable)
        try await cluster.start()
        #expect(try await database.record(of: row.tenant) == row)
        // Idle connections that are broken are not the caller's business.
        try await cluster.stop()
        try await cluster.start()
        try await database.replace(row, recording: nil)
        #expect(try await database.record(of: row.tenant)?.revision == 2)
        // The session of the lock is gone, and with it the lock.
        let again = try #require(try await database.lock(row.tenant))
        await lock.release()
        #expect(try await database.lock(row.tenant) == nil)
        await again.release()
        await database.close()
    }

    @Test func aStandbyIsRefused() async throws {
        let cluster = try await PostgreSQLCluster()
        let store = try await Store(.postgresql, on: cluster)
        let row = try record("a")
        try await cluster.stop()
        let signal = cluster.dataFolder + "/standby.signal"
        try Data().write(to: URL(fileURLWithPath: signal))
        try await cluster.start()
        let database = try store.open()
        let error = try #require(await #expect(throws: MasterKeyError.self) { try await database.record(of: row.tenant) })
        #expect(error.code == .databaseDenied && error.advice?.contains("target_session_attrs=read-write") == true)
        #expect(await code { try await database.insert(row) } == .databaseDenied)
        #expect(await code { try await database.lock(row.tenant) } == .databaseDenied)
        try await cluster.stop()
        try FileManager.default.removeItem(atPath: signal)
        try await cluster.start()
        try await database.insert(row)
        await database.close()
    }

    @Test func aServerThatStandsStillHasALimit() async throws {
        let cluster = try await PostgreSQLCluster()
        let store = try await Store(.postgresql, on: cluster)
        let settings = try ConnectionSettings(parsing: store.address)
        let driver = PostgreSQLDriver(settings, patience: .seconds(5), limit: .seconds(2))
        let database = SQLTenantDatabase(name: "test", driver: driver)
        let row = try record("a")
        try await database.insert(row)
        var connection = try Connection(settings)
        // Several times more than a socket takes, so that sending waits as well.
        let long = Value.bytes(Array(repeating: 1, count: 8 << 20))
        #expect(try connection.query("SELECT length($1)", [long], within: .seconds(60)).rows == [[.integer(8 << 20)]])

        let text = try String(contentsOfFile: cluster.dataFolder + "/postmaster.pid", encoding: .utf8)
        let server = try #require(text.split(separator: "\n").first.flatMap { pid_t($0) })
        let children = try String(contentsOfFile: "/proc/\(server)/task/\(server)/children", encoding: .utf8)
        let processes = [server] + children.split(separator: " ").compactMap { pid_t($0) }
        try #require(processes.count > 2)
        for process in processes { kill(process, SIGSTOP) }
        defer { for process in processes { kill(process, SIGCONT) } }
        let start = ContinuousClock.now
        let error = try #require(await #expect(throws: MasterKeyError.self) { try await database.record(of: row.tenant) })
        #expect(error.code == .databaseUnavailable && error.message.contains("did not answer in time"))
        #expect(ContinuousClock.now - start < .seconds(20))
        do {
            _ = try connection.query("SELECT length($1)", [long], within: .seconds(2))
            Issue.record("there was an answer")
        } catch {
            #expect(error.hasTimedOut && error.isConnectionLost)
        }
        let isLost = connection.isLost
        #expect(isLost)
        #expect(throws: PostgreSQLError.self) { try connection.query("SELECT 1") }

        for process in processes { kill(process, SIGCONT) }
        #expect(try await database.record(of: row.tenant) == row)
        await database.close()
    }

    /// Neither a migration nor the rewriting of a table has one.
    @Test func whatMayTakeLongHasNoLimit() async throws {
        let store = try await Store(.postgresql)
        let driver = PostgreSQLDriver(try ConnectionSettings(parsing: store.address), patience: .seconds(5), limit: .seconds(1))
        func sleep(_ first: String) async throws(MasterKeyError) {
            try await driver.transaction(.writing) { session throws(MasterKeyError) in
                if first == PostgreSQLSession.migrationGuard { try session.run(first, .integer(1)) } else { try session.run(first) }
                try session.run("SELECT 1 FROM pg_sleep(2)")
            }
        }
        try await sleep(PostgreSQLSession.migrationGuard)
        #expect(await code { try await sleep("SELECT 1") } == .databaseUnavailable)
        await driver.close()
    }

    @Test func aCommitWithoutAnswerInTimeIsSaidToBeSo() async throws {
        let store = try await Store(.postgresql)
        try await store.sql(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(4); RETURN NULL; END'")
        try await store.sql(
            "CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON custody_tenant DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()")
        let driver = PostgreSQLDriver(try ConnectionSettings(parsing: store.address), patience: .seconds(5), limit: .seconds(2))
        let database = SQLTenantDatabase(name: "test", driver: driver)
        let row = try record("a")
        try await database.insert(row)
        let error = try #require(await #expect(throws: MasterKeyError.self) { try await database.replace(row, recording: nil) })
        #expect(error.code == .databaseUnavailable && error.state?.contains("may have been made") == true)
        await database.close()
    }

    @Test func aCommitWithoutAnswerIsSaidToBeSo() async throws {
        let store = try await Store(.postgresql)
        // A constraint that is checked at COMMIT ends the session then.
        try await store.sql(
            """
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN NULL; END'
            """)
        try await store.sql(
            "CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON custody_tenant DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()")
        let database = try store.open()
        let row = try record("a")
        try await database.insert(row)
        let error = try #require(await #expect(throws: MasterKeyError.self) { try await database.replace(row, recording: nil) })
        #expect(error.code == .databaseUnavailable && error.state?.contains("may have been made") == true)
        #expect(try await database.record(of: row.tenant) == row)
        await database.close()
    }

    @Test func aConflictIsTriedAgain() async throws {
        let store = try await Store(.postgresql)
        // The first two times the server gives the transaction up.
        try await store.sql("CREATE SEQUENCE attempts")
        try await store.sql(
            """
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF nextval(''attempts'') < 3 THEN RAISE SQLSTATE ''40001''; END IF; RETURN NEW; END'
            """)
        try await store.sql("CREATE TRIGGER fail BEFORE UPDATE ON custody_tenant FOR EACH ROW EXECUTE FUNCTION fail()")
        let database = try store.open()
        let row = try record("a")
        try await database.insert(row)
        try await database.replace(row, recording: nil)
        #expect(try await store.sql("SELECT last_value FROM attempts") == "3")
        try await store.sql("ALTER SEQUENCE attempts RESTART MINVALUE -1000 START -1000")
        try await store.sql("ALTER SEQUENCE attempts RESTART")
        #expect(await code { try await database.noteOpening(of: row.tenant, at: moment()) } == .databaseBusy)
        await database.close()
    }

    @Test func passwordsComeFromFiles() async throws {
        let cluster = try await PostgreSQLCluster(access: "local all guarded scram-sha-256\nlocal all stranger reject")
        let store = try await Store(.postgresql, on: cluster)
        let name = try await store.sql("SELECT current_database()")
        try await store.sql("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'hunter2'")
        let files = try TemporaryDirectory()
        let address = "postgresql:///\(name)?host=\(cluster.socketFolder)"
        func failure(_ rest: String) async throws -> MasterKeyError.Code? {
            let database = try TenantDatabases.open(rest.hasPrefix("&") ? address + rest : rest, environment: [:])
            let failure = await code { try await database.record(of: TenantName("a")) }
            await database.close()
            return failure
        }
        let (right, wrong) = (try files.write("right", "*:*:*:*:hunter2\n"), try files.write("wrong", "*:*:*:*:hunter3\n"))
        #expect(try await failure("&user=guarded&passfile=\(files.path)/none") == .databaseDenied)
        #expect(try await failure("&user=guarded&passfile=\(wrong)") == .databaseDenied)
        #expect(try await failure("&user=guarded&passfile=\(right)") == nil)
        #expect(try await failure("&user=stranger") == .databaseDenied)
        #expect(try await failure("postgresql:///none?host=\(cluster.socketFolder)&user=admin") == .databaseUnavailable)

        // By the environment of another process: it is constant in this one.
        try files.write("service", "[tenants]\nhost=\(cluster.socketFolder)\ndbname=\(name)\nuser=guarded\npassword=hunter2\n")
        func holder(_ address: String, _ environment: [String: String]) async throws -> String {
            let program = Products.directory + "/custody-tenant-holder"
            return try await run(program, arguments: [address, "migrate"], environment: environment).output
        }
        #expect(try await holder(address + "&user=guarded", ["PGPASSFILE": right]) == "ok\n")
        #expect(try await holder(address + "&user=guarded", ["PGPASSFILE": wrong]) == "database-denied\n")
        #expect(try await holder("postgresql://?service=tenants", ["PGSERVICEFILE": files.file("service")]) == "ok\n")
        #expect(try await holder("postgresql://", ["PGSERVICEFILE": files.file("service"), "PGSERVICE": "tenants"]) == "ok\n")
        #expect(try await holder("postgresql://?service=other", ["PGSERVICEFILE": files.file("service")]) == "database-unavailable\n")
        #expect(try await holder(address + "&user=guarded", ["PGPASSWORD": "hunter2"]) == "database-address\n")
    }

    @Test func ourDefaultsGiveWay() async throws {
        let files = try TemporaryDirectory()
        var settings = try ConnectionSettings(parsing: "postgresql:///d?host=\(files.path)&connect_timeout=9")
        try settings.add(defaults: ["connect_timeout": "5", "keepalives_idle": "10"])
        #expect(settings.values["connect_timeout"] == "9" && settings.values["keepalives_idle"] == "10")
    }
}

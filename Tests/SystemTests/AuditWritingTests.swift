import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// The audit log of the real daemon: over restarts and rotations, on a full disk, and how hard it is on the disk.
@Suite struct AuditWritingTests {
    /// Sends one operation, without a second try, and returns its error; nil for success.
    private func code(_ connection: RawConnection, _ operation: WireOperation = .wrap([1])) throws -> ErrorCode? {
        try connection.send(WireRequest(operation))
        let result = try #require(try connection.receive()?.response.results.first)
        return if case .error(let error) = result.kind { ErrorCode(rawValue: error.code) } else { nil }
    }

    /// Calls the daemon from many sides until the body is done, and returns how many operations were answered.
    private func underLoad(_ daemon: RunningDaemon, _ body: () async throws -> Void) async throws -> Int {
        let load = (0..<8).map { _ in
            Task {
                let client = daemon.client()
                var done = 0
                // The call that the end of the load cuts short may have been done or not.
                while (try? await client.wrap(SecretBytes([1]), key: "root")) != nil, !Task.isCancelled { done += 1 }
                await client.shutdown()
                return done
            }
        }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        var done = 0
        for task in load { task.cancel() }
        for task in load { done += await task.value }
        try result.get()
        return done
    }

    // MARK: Restarts

    @Test func theChainGoesOnAfterAnEnd() async throws {
        let first = try await RunningDaemon.start()
        try await first.withClient { for _ in 0..<3 { _ = try await $0.wrap(SecretBytes([1]), key: "root") } }
        first.process.signal(SIGTERM)
        #expect(try await first.process.end().status == .exited(0))
        let second = try await first.again()
        try await second.withClient { _ = try await $0.wrap(SecretBytes([1]), key: "root") }
        let trail = try AuditTrail([second.auditFile])
        #expect(trail.breaks == [])
        #expect(trail.ownEvents == ["log-begins", "log-continues"])
        #expect(trail.decisions.count == 4)
    }

    @Test func theChainGoesOnAfterAKill() async throws {
        let first = try await RunningDaemon.start()
        _ = try await underLoad(first) {
            try await eventually("lines") { try AuditTrail([first.auditFile]).decisions.count > 100 }
            first.process.signal(SIGKILL)
            try await first.process.end()
        }
        // As if the machine had died within the last line.
        let whole = try Data(contentsOf: URL(fileURLWithPath: first.auditFile))
        let lines = AuditTrail(bytes: Array(whole)).lines.count
        try whole.dropLast(17).write(to: URL(fileURLWithPath: first.auditFile))
        let second = try await first.again()
        try await second.withClient { _ = try await $0.wrap(SecretBytes([1]), key: "root") }
        let trail = try AuditTrail([second.auditFile])
        #expect(trail.breaks == [])
        #expect(trail.lines.count == lines - 1 + 3)
        #expect(trail.events(named: "log-continues").first?["torn_bytes"] is Int)
    }

    // MARK: Rotation

    enum LogRotation: String, CaseIterable, CustomTestStringConvertible {
        case create = "create 0600 root root"
        case nocreate
        case copytruncate
        var testDescription: String { rawValue }
    }

    private static let hasLogrotate = FileManager.default.isExecutableFile(atPath: "/usr/sbin/logrotate")

    @Test(.enabled(if: hasLogrotate, "logrotate is not installed"), arguments: LogRotation.allCases)
    func logrotateUnderLoad(_ rotation: LogRotation) async throws {
        // As whom the file is made anew: whoever runs the tests.
        guard rotation != .create || getuid() == 0 else { return }
        let daemon = try await RunningDaemon.start()
        let folder = daemon.token.directory
        let configuration = try folder.write(
            "logrotate.conf",
            "\"\(daemon.auditFile)\" {\n  rotate 50\n  size 1\n  missingok\n  notifempty\n  \(rotation.rawValue)\n}\n",
            mode: 0o644)
        let rounds = 5
        let rotate = {
            let arguments = ["--state", folder.file("logrotate.state"), configuration]
            let result = try await run("/usr/sbin/logrotate", arguments: arguments)
            guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        }
        func grown() async throws {
            try await eventually("lines") {
                let bytes = (try? Data(contentsOf: URL(fileURLWithPath: daemon.auditFile))) ?? Data()
                return AuditTrail(bytes: Array(bytes)).decisions.count > 50
            }
        }
        if rotation == .copytruncate {
            // What is written between the copy and the cut is lost, as logrotate says itself: so nothing is.
            try await daemon.withClient { client in
                for _ in 0..<rounds {
                    for _ in 0..<10 { _ = try await client.wrap(SecretBytes([1]), key: "root") }
                    try await rotate()
                }
                _ = try await client.wrap(SecretBytes([1]), key: "root")
            }
            try expectWhole(daemon, rounds, decisions: 51...51)
        } else {
            let done = try await underLoad(daemon) {
                for _ in 0..<rounds {
                    try await grown()
                    try await rotate()
                }
                try await grown()
            }
            // Of each caller one call that was cut short may be there as well.
            try expectWhole(daemon, rounds, decisions: done...(done + 8))
        }
    }

    private func expectWhole(_ daemon: RunningDaemon, _ rounds: Int, decisions: ClosedRange<Int>) throws {
        let files = (1...rounds).reversed().map { "\(daemon.auditFile).\($0)" } + [daemon.auditFile]
        let trail = try AuditTrail(files)
        #expect(trail.breaks == [])
        #expect(trail.ownEvents == ["log-begins"] + Array(repeating: "log-continues", count: rounds))
        #expect(decisions.contains(trail.decisions.count), "\(trail.decisions.count) of \(decisions)")
    }

    // MARK: A full disk

    @Test(.enabled(if: getuid() == 0, "only root may mount a file system"))
    func aFullDiskStopsOperationsUntilThereIsRoom() async throws {
        let disk = try TemporaryDirectory()
        let mounted = try await run("mount", arguments: ["-t", "tmpfs", "-o", "size=64k", "custody-test", disk.path])
        guard mounted.status == .exited(0) else { throw UnexpectedResult(mounted) }
        defer { umount2(disk.path, Int32(MNT_DETACH)) }
        let daemon = try await RunningDaemon.start(auditFile: disk.file("audit.jsonl"))
        let connection = try RawConnection(daemon.socket)
        // The log itself fills it.
        var done = 0
        var failed: ErrorCode?
        while failed == nil, done < 10_000 {
            failed = try code(connection)
            if failed == nil { done += 1 }
        }
        #expect(failed == .auditUnavailable)
        for _ in 0..<100 where try code(connection) == nil { done += 1 }
        #expect(try code(connection) == .auditUnavailable)
        #expect(daemon.process.errors.contains("the audit log can't be written"))
        #expect(daemon.process.errors.contains("No space left on device"))
        // Status is answered all the same: it is what tells the operator.
        let status = try await daemon.withClient { try await $0.status() }
        #expect(!status.auditWritable)
        #expect(status.audit.detail.contains("No space left on device"))
        // Between a failed write and its cutting off half a line may be seen.
        try await eventually("no half line") { try AuditTrail([disk.file("audit.jsonl")]).breaks == [] }
        #expect(try AuditTrail([disk.file("audit.jsonl")]).decisions.count == done)

        let enlarged = try await run("mount", arguments: ["-o", "remount,size=4m", disk.path])
        guard enlarged.status == .exited(0) else { throw UnexpectedResult(enlarged) }
        // Nobody asks for anything: the daemon finds out by itself.
        try await daemon.process.line(containing: "the audit log can be written again")
        #expect(try code(connection) == nil)
        #expect(try await daemon.withClient { try await $0.status() }.auditWritable)
        let trail = try AuditTrail([disk.file("audit.jsonl")])
        #expect(trail.breaks == [])
        #expect(trail.decisions.count == done + 2)
        #expect(trail.events.contains("log-writable-again"))
    }

    @Test(.enabled(if: getuid() == 0, "only root may mount a file system"))
    func aDiskThatIsFullAtTheStartIsWaitedFor() async throws {
        let disk = try TemporaryDirectory()
        let mounted = try await run("mount", arguments: ["-t", "tmpfs", "-o", "size=64k", "custody-test", disk.path])
        guard mounted.status == .exited(0) else { throw UnexpectedResult(mounted) }
        defer { umount2(disk.path, Int32(MNT_DETACH)) }
        let filler = disk.file("filler")
        _ = try? [UInt8](repeating: 0, count: 1 << 20).withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: filler)) }
        let daemon = try await RunningDaemon.start(auditFile: disk.file("audit.jsonl"))
        try await daemon.withClient { client in
            #expect(!(try await client.status()).auditWritable)
            await expectError(.server(.auditUnavailable)) {
                _ = try await client.batch([.wrap(SecretBytes([1]), key: "root", context: [:])])[0].get()
            }
            try FileManager.default.removeItem(atPath: filler)
            try await eventually("a log that can be written") { try await client.status().auditWritable }
            _ = try await client.wrap(SecretBytes([1]), key: "root")
        }
        let trail = try AuditTrail([disk.file("audit.jsonl")])
        #expect(trail.breaks == [])
        #expect(trail.events.first == "log-begins")
        #expect(trail.events.contains("started"), "what could not be told in its time is told later")
    }

    /// An open file keeps its room, also when it is deleted.
    @Test func rotatedFilesAreLetGo() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        for number in 1...6 {
            #expect(try code(connection) == nil)
            try FileManager.default.moveItem(atPath: daemon.auditFile, toPath: "\(daemon.auditFile).\(number)")
        }
        #expect(try code(connection) == nil)
        let folder = "/proc/\(daemon.process.processID)/fd"
        let open = try FileManager.default.contentsOfDirectory(atPath: folder)
            .compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)") }
        #expect(open.count { $0.contains("audit.jsonl") } == 1)
    }

    // MARK: Durability

    /// A tracer on a daemon.
    private func trace(
        _ daemon: RunningDaemon, _ arguments: String...
    ) async throws -> (tracer: ChildProcess, calls: () throws -> Int) {
        let file = daemon.token.directory.file("strace-\(arguments.count)")
        let tracer = try ChildProcess(
            "strace", arguments: ["-f", "-o", file, "-p", "\(daemon.process.processID)"] + arguments)
        try await tracer.line(containing: "attached")
        return (tracer, {
            try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").count { $0.contains("fdatasync(") }
        })
    }

    private static let mayTrace: ConditionTrait = .enabled(
        if: getuid() == 0, "only root may trace a process that is not dumpable")

    @Test(mayTrace, arguments: ["fsync", "interval", "write"]) func howOftenItIsSynced(_ durability: String) async throws {
        let daemon = try await RunningDaemon.start(audit: "durability = \"\(durability)\"\nsync-interval-ms = 200")
        let connection = try RawConnection(daemon.socket)
        #expect(try code(connection) == nil)
        // What the first line and the start left to be done is done.
        let (tracer, calls) = try await trace(daemon, "-e", "trace=fdatasync")
        let before = try calls()
        for _ in 0..<20 { #expect(try code(connection) == nil) }
        switch durability {
        case "fsync": #expect(try calls() - before >= 20, "each answer waits for its own")
        case "interval":
            try await eventually("a sync in the background") { try calls() > before }
            #expect(try calls() - before < 20)
        default: #expect(try calls() == before)
        }
        tracer.signal(SIGINT)
        try await tracer.end()
    }

    @Test(mayTrace, arguments: ["fsync", "interval"])
    func aFailedSyncStopsOperationsUntilOneSucceeds(_ durability: String) async throws {
        let daemon = try await RunningDaemon.start(audit: "durability = \"\(durability)\"\nsync-interval-ms = 5")
        let connection = try RawConnection(daemon.socket)
        #expect(try code(connection) == nil)
        let (tracer, _) = try await trace(daemon, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO")
        if durability == "fsync" {
            #expect(try code(connection) == .auditUnavailable)
        } else {
            // Its answer does not wait for the sync; the one of the line before may have failed already.
            _ = try code(connection)
            try await daemon.process.line(containing: "the audit log can't be written")
        }
        for _ in 0..<10 { #expect(try code(connection) == .auditUnavailable) }
        #expect(daemon.process.errors.contains("fdatasync: Input/output error"))
        tracer.signal(SIGINT)
        try await tracer.end()
        try await daemon.process.line(containing: "the audit log can be written again")
        #expect(try code(connection) == nil)
        #expect(try AuditTrail([daemon.auditFile]).breaks == [])
    }
}

import CustodyClient
import CustodyProtocol
import Foundation
import PKCS11
import SecureMemory
import Synchronization
import TestSupport
import Testing

/// What every daemon on a token makes of a change that somebody made to its keys.
@Suite struct KeyLifeTests {
    @Test func everyDaemonSeesTheState() async throws {
        try await Pair.with { pair in
            let blob = try await pair.clients[0].wrap(SecretBytes([1, 2, 3]), key: "root").blob
            let steps: [([String], WireKeyVersionReport.State, opens: Bool, wraps: Bool)] = [
                (["deactivate", "root", "--all"], .deactivated, true, false),
                (["disable", "root", "--all"], .disabled, false, false),
                (["enable", "root", "--all"], .active, true, true),
                (["destroy", "root", "--all", "--yes-i-understand", "root"], .scheduledForDestruction, false, false),
                (["destroy", "root", "--all", "--cancel"], .disabled, false, false),
                (["enable", "root", "--version", "1"], .active, true, true),
            ]
            for (command, state, opens, wraps) in steps {
                try await pair.ctl(command)
                for client in pair.clients {
                    try await eventually("\(command) to be seen") { try await client.status().keys.first?.versions.first?.state == state }
                    let version = try #require(try await client.status().keys.first?.versions.first)
                    #expect(version.created.count == 10)
                    #expect(version.destroyAfter.isEmpty == (state != .scheduledForDestruction))
                    #expect(await code { _ = try await client.unwrap(blob) } == (opens ? nil : .server(.keyNotUsable)), "\(command)")
                    #expect(
                        await code { _ = try await client.wrap(SecretBytes([1]), key: "root") } == (wraps ? nil : .server(.keyNotUsable)),
                        "\(command)")
                }
            }
        }
    }

    private func code(_ body: () async throws -> Void) async -> CustodyClientError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? CustodyClientError)?.code
        }
    }

    // MARK: The kill switch

    /// From the end of `key disable` to the last blob that any daemon opens: less than a second.
    @Test func theKillSwitch() async throws {
        try await Pair.with { pair in
            let (started, returned, last) = try await lastSuccess(pair) { try await pair.ctl(["disable", "root", "--all"]) }
            #expect(last < returned + .seconds(1), "\(returned.duration(to: last)) after the return, \(started.duration(to: last)) after the start")
            try await pair.ctl(["enable", "root", "--all"])
            for client in pair.clients {
                try await eventually("the key to be back") { await code { _ = try await client.wrap(SecretBytes([1]), key: "root") } == nil }
            }
        }
    }

    /// The same for a key that another program removes from the token.
    @Test func theKeyIsRemoved() async throws {
        try await Pair.with { pair in
            let (_, returned, last) = try await lastSuccess(pair) { try await pair.daemon.destroyRootKey() }
            #expect(last < returned + .seconds(1), "\(returned.duration(to: last)) after the removal")
        }
    }

    /// When the last blob was opened by callers of both daemons who go on asking for a while after the change.
    private func lastSuccess(
        _ pair: Pair, _ change: () async throws -> Void
    ) async throws -> (started: ContinuousClock.Instant, returned: ContinuousClock.Instant, last: ContinuousClock.Instant) {
        let blob = try await pair.clients[0].wrap(SecretBytes([1, 2, 3]), key: "root").blob
        let seen = Shared(Seen())
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<8 {
                let daemon = index % 2
                group.addTask {
                    while !seen.withLock({ $0.isOver }) {
                        let opened = try? await pair.clients[daemon].unwrap(blob)
                        let now = ContinuousClock.now
                        seen.withLock { seen in
                            if opened == nil { seen.failures[daemon] += 1 } else { seen.count[daemon] += 1 }
                            if opened != nil { seen.last = max(seen.last, now) }
                        }
                    }
                }
            }
            defer { seen.withLock { $0.isOver = true } }
            try await eventually("both to be opening") { seen.withLock { $0.count.allSatisfy { $0 > 50 } } }
            #expect(seen.withLock { $0.failures } == [0, 0])
            let started = ContinuousClock.now
            try await change()
            let returned = ContinuousClock.now
            // What opens later than allowed has to have its chance.
            try await eventually("the callers to have gone on") {
                seen.withLock { $0.failures.allSatisfy { $0 > 50 } } && ContinuousClock.now > returned + .milliseconds(1_500)
            }
            return (started, returned, seen.withLock { $0.last })
        }
    }

    // MARK: Rotation

    /// 64 callers of two daemons: no call fails, the new version wraps within a second, and all blobs open afterwards.
    @Test func rotationUnderFullLoad() async throws {
        try await Pair.with { pair in
            let state = Shared<(wraps: [Wrap], isOver: Bool)>(([], false))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for caller in 0..<64 {
                    let client = pair.clients[caller % 2]
                    group.addTask {
                        var number = 0
                        while !state.withLock({ $0.isOver }) {
                            number += 1
                            let payload = Array("\(caller)/\(number)".utf8)
                            let began = ContinuousClock.now
                            let wrapped = try await client.wrap(SecretBytes(payload), key: "root", context: ["tenant": "acme"])
                            state.withLock { $0.wraps.append(Wrap(version: wrapped.keyVersion, began: began, payload: payload, blob: wrapped.blob)) }
                            let opened = try await client.unwrap(wrapped.blob, context: ["tenant": "acme"])
                            #expect(opened.plaintext.exposed() == payload)
                        }
                    }
                }
                defer { state.withLock { $0.isOver = true } }
                for version in UInt32(2)...3 {
                    let before = state.withLock { $0.wraps.count }
                    try await eventually("load") { state.withLock { $0.wraps.count > before + 200 } }
                    try await pair.ctl(["rotate", "root"])
                    let returned = ContinuousClock.now
                    let late = try await eventualValue("wraps after the rotation") {
                        let late = state.withLock { $0.wraps.filter { $0.began > returned + .seconds(1) } }
                        return late.count > 200 ? late : nil
                    }
                    #expect(late.allSatisfy { $0.version == version })
                }
                state.withLock { $0.isOver = true }
                try await group.waitForAll()
            }
            let wraps = state.withLock { $0.wraps }
            #expect(Set(wraps.map(\.version)) == [1, 2, 3])
            for (index, wrap) in wraps.enumerated() where index % 5 == 0 || wrap.version == 1 {
                let opened = try await pair.clients[index % 2].unwrap(wrap.blob, context: ["tenant": "acme"])
                #expect(opened.plaintext.exposed() == wrap.payload)
            }
        }
    }

    // MARK: The end

    @Test func whatIsDueGoesAndNothingElse() async throws {
        let daemon = try await RunningDaemon.start()
        for key in ["due", "later", "off"] { try await daemon.ctl(["generate", key]) }
        for key in ["due", "root"] { try await daemon.ctl(["rotate", key]) }
        for (key, version) in [("due", "1"), ("root", "1"), ("later", "1")] {
            try await daemon.ctl(["destroy", key, "--version", version, "--yes-i-understand", key, "--days", "7"])
        }
        try await daemon.ctl(["disable", "off", "--all"])
        // Days pass for some of them.
        func setEnd(_ names: [String], _ day: UTCDay, version: UInt8 = 1) async throws {
            try await SoftHSM.withSession(on: daemon.token) { session in
                for name in names {
                    for key in try session.objects(.secretKey, matching: [.label(name)]) {
                        let id = try #require(try session.attributes(of: key, [.id]).bytes(.id))
                        guard id[3] == version else { continue }
                        // Where SoftHSM's dates are.
                        let note = [Attribute.application("custody CKA_END_DATE"), .label(id.map { String(format: "%02x", $0) }.joined()), .bool(.token, true)]
                        for old in try session.objects(.data, matching: note) { try session.destroyObject(old) }
                        _ = try session.createObject([.objectClass(.data), .bool(.isPrivate, true), .date(.value, day)] + note)
                    }
                }
            }
        }
        func versions() async throws -> [String: Int] {
            let listed = try await daemon.ctl(["list", "--json"])
            let document = try #require(try JSONSerialization.jsonObject(with: Data(listed.utf8)) as? [String: Any])
            let keys = try #require(document["keys"] as? [[String: Any]])
            return Dictionary(uniqueKeysWithValues: keys.map { ($0["name"] as? String ?? "", ($0["versions"] as? [Any] ?? []).count) })
        }
        let before = ["due": 2, "later": 1, "off": 1, "root": 2]
        try await setEnd(["due", "root"], .today)
        #expect(try await daemon.ctl(["destroy", "--due", "--every-key"]).contains("Nothing is due"), "the day is not over yet")
        try await setEnd(["due", "root"], .today.adding(days: -1))
        try await setEnd(["due"], .today.adding(days: -1), version: 2)
        #expect(try await versions() == before)
        #expect(try await daemon.ctl(["destroy", "--due", "later"]).contains("Nothing is due"))
        #expect(try await daemon.ctl(["destroy", "--due", "absent"]).contains("Nothing is due"))
        // The days are over by the clock, and have not passed.
        try await eventually("two versions that are seen to wait") {
            let early = try await daemon.ctl(["destroy", "--due", "--every-key"])
            for part in ["Key 'due' version 1 ", "Key 'root' version 1 ", "is not destroyed", "--now"] {
                #expect(early.contains(part), "\(early)")
            }
            return early.components(separatedBy: "of 7 days").count == 3
        }
        #expect(try await versions() == before)
        try await daemon.letDaysPass()

        let one = try await daemon.ctl(["destroy", "--due", "due"])
        #expect(one.contains("Key 'due' version 1 ") && one.contains("is destroyed") && !one.contains("version 2"), "\(one)")
        #expect(try await versions() == before.merging(["due": 1]) { $1 }, "an active version with a date of the past stays")
        // Disabling it is no schedule either, whatever its date.
        try await daemon.ctl(["disable", "due", "--all"])
        let all = try await daemon.ctl(["destroy", "--due", "--every-key"])
        #expect(all.contains("Key 'root' version 1 ") && !all.contains("'due'"), "\(all)")
        #expect(try await versions() == ["due": 1, "later": 1, "off": 1, "root": 1])
        #expect(try await daemon.ctl(["destroy", "--due", "--every-key"]).contains("Nothing is due"))
    }

    /// A host whose clock jumps ahead by more than a year.
    @Test func aClockThatJumpsDestroysNothing() async throws {
        let daemon = try await RunningDaemon.start()
        try await daemon.ctl(["destroy", "root", "--all", "--yes-i-understand", "root", "--days", "30"])
        func due(_ options: String...) async throws -> String {
            let command = try ChildProcess.path(of: "custodyctl")
            let arguments = ["-f", "+400d", command, "key", "destroy", "--due", "--every-key", "--config", daemon.configurationFile]
            let result = try await run("faketime", arguments: arguments + options)
            guard result.status == .exited(0) else { throw UnexpectedResult(result) }
            return result.output
        }
        try await eventually("a record of the wait") { FileManager.default.fileExists(atPath: daemon.waitingRecord) }
        let text = try await due()
        #expect(text.contains("is over by this host's clock") && text.contains("of 30 days"), "\(text)")
        let json = try #require(try JSONSerialization.jsonObject(with: Data(try await due("--json").utf8)) as? [String: Any])
        #expect((json["destroyed"] as? [Any])?.isEmpty == true)
        #expect((json["held_back"] as? [[String: Any]])?.count == 1, "\(json)")

        // Where nobody has seen the time pass nothing is destroyed either.
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        try FileManager.default.removeItem(atPath: daemon.waitingRecord)
        let unseen = try await due()
        #expect(unseen.contains("no custodyd of this host has seen it wait"), "\(unseen)")
        #expect(try await daemon.ctl(["list", "--json"]).contains("scheduled-for-destruction"))
        // A person who types the name need not wait.
        let now = try await daemon.ctl(["destroy", "root", "--all", "--now", "--yes-i-understand", "root"])
        #expect(now.contains("is destroyed"), "\(now)")
    }

    /// One version that the token keeps as it is does not keep the others from being disabled.
    @Test func aPartialFailureTellsWhatWasDone() async throws {
        let daemon = try await RunningDaemon.start()
        try await SoftHSM.withSession(on: daemon.token) { session in
            _ = try session.generateKey(.aesKeyGeneration, [
                .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, true), .bool(.isPrivate, true), .label("root"),
                .id([0, 0, 0, 2] + (1...12)), .bool(.sensitive, true), .bool(.extractable, false), .bool(.encrypt, true),
                .bool(.decrypt, true), .bool(.wrap, false), .bool(.unwrap, false), .bool(.sign, false), .bool(.verify, false),
                .bool(.modifiable, false),
            ])
        }
        try await daemon.ctl(["rotate", "root"])
        let result = try await run("custodyctl", arguments: ["key", "disable", "root", "--all", "--config", daemon.configurationFile])
        #expect(result.status == .exited(1))
        for part in ["does not let", "; changed: version 1, version 3; not changed: version 2"] {
            #expect(result.errors.contains(part), "\(result.errors)")
        }
        try await daemon.withClient { client in
            try await eventually("the rest to be disabled") {
                try await client.status().keys.first?.versions.map(\.state) == [.disabled, .active, .disabled]
            }
        }
    }
}

/// What the callers of both daemons saw.
private struct Seen {
    var count = [0, 0]
    var failures = [0, 0]
    var last = ContinuousClock.now
    var isOver = false
}

private struct Wrap {
    let version: UInt32
    let began: ContinuousClock.Instant
    let payload: [UInt8]
    let blob: [UInt8]
}

/// What several tasks change.
private final class Shared<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<R: Sendable>(_ body: (inout Value) -> R) -> R { value.withLock { value in body(&value) } }
}

/// Two daemons on one token, with a client each.
private struct Pair {
    let daemon: RunningDaemon
    let second: ChildProcess
    let clients: [CustodyClient]

    static func with(_ body: (Pair) async throws -> Void) async throws {
        let daemon = try await RunningDaemon.start()
        var text = try String(contentsOfFile: daemon.configurationFile, encoding: .utf8)
        for (mine, other) in [("\"s\"", "\"s2\""), ("\"audit.jsonl\"", "\"audit2.jsonl\""), ("\"state\"", "\"state2\"")] {
            text = text.replacing(mine, with: other)
        }
        let second = try ChildProcess("custodyd", arguments: ["--config", try daemon.token.directory.write("second.toml", text)])
        try await second.line(containing: "token ready")
        let clients = [daemon.socket, daemon.token.directory.file("s2")].map {
            CustodyClient(.init(socket: $0, connections: 2, deadline: .seconds(30)))
        }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(Pair(daemon: daemon, second: second, clients: clients)))
        } catch {
            result = .failure(error)
        }
        for client in clients { await client.shutdown() }
        try result.get()
    }

    func ctl(_ arguments: [String]) async throws { try await daemon.ctl(arguments) }
}

extension RunningDaemon {
    fileprivate var waitingRecord: String { token.directory.file("state/waiting-periods.json") }

    /// Ends the daemon, has its record say that every version has waited long enough, as after so many days.
    fileprivate func letDaysPass() async throws {
        try await eventually("a record of the wait") { FileManager.default.fileExists(atPath: self.waitingRecord) }
        process.signal(SIGKILL)
        try await process.end()
        var document = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: waitingRecord))) as? [String: Any])
        let versions = try #require(document["versions"] as? [String: [String: Any]])
        document["versions"] = versions.mapValues { $0.merging(["passed": $0["required"] ?? 0]) { $1 } }
        try JSONSerialization.data(withJSONObject: document).write(to: URL(fileURLWithPath: waitingRecord))
    }

    /// Runs `custodyctl key` on the daemon's token and wants it to succeed.
    @discardableResult
    fileprivate func ctl(_ arguments: [String]) async throws -> String {
        let result = try await run("custodyctl", arguments: ["key"] + arguments + ["--config", configurationFile])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result.output
    }
}

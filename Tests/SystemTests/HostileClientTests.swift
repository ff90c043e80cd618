import CSystemShim
import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import SwiftProtobuf
import TestSupport
import Testing

/// Floods and limits: what one user does costs the others no call.
@Suite struct HostileClientTests {
    private func expectServed(_ daemon: RunningDaemon) async throws {
        try await daemon.withClient { client in
            let wrapped = try await client.wrap(SecretBytes([1, 2, 3]), key: "root")
            #expect(try await client.unwrap(wrapped.blob).plaintext.exposed() == [1, 2, 3])
        }
    }

    // MARK: Limits

    @Test func connectionsOfOneUser() async throws {
        let daemon = try await RunningDaemon.start(server: "connections-per-user = 3")
        var connections = try (0..<3).map { _ in try RawConnection(daemon.socket) }
        let refused = try RawConnection(daemon.socket)
        let answer = try #require(try refused.receive())
        #expect(answer.id == 0)
        #expect(answer.response.error.code == ErrorCode.overloaded.rawValue)
        #expect(answer.response.error.message.contains("connections-per-user"))
        #expect(try refused.receive() == nil)
        // A client that waits says why when its patience ends.
        let client = daemon.client(deadline: .milliseconds(200))
        do {
            _ = try await client.status()
            Issue.record("there was room")
        } catch {
            #expect("\(error)".contains("connections-per-user"))
        }
        await client.shutdown()
        connections.removeLast()
        try await eventually("room") {
            try await daemon.withClient { client in (try? await client.status().door.connections) == 3 }
        }
        withExtendedLifetime(connections) {}
    }

    @Test func requestsInFlightOfOneUser() async throws {
        let daemon = try await RunningDaemon.start(server: "requests-in-flight-per-user = 2", rules: RunningDaemon.everything + """

            [[limit]]
            operations = ["wrap"]
            per-day = 1
            """)
        let connection = try RawConnection(daemon.socket)
        // Refusals are held back for a moment: so long these are in flight.
        var bytes: [UInt8] = []
        for id in UInt32(1)...100 { bytes += try RawConnection.frame(WireRequest(.wrap([1])), id: id) }
        try connection.send(bytes)
        let answers = try (1...100).map { _ in try #require(try connection.receive()).response }
        let overloaded = answers.filter(\.hasError).map(\.error)
        #expect(overloaded.count > 50)
        #expect(overloaded.allSatisfy { $0.code == ErrorCode.overloaded.rawValue && $0.message.contains("requests-in-flight-per-user") })
        let status = try await daemon.withClient { client in try await client.status() }
        #expect(status.door.requestsRefused == UInt64(overloaded.count))
    }

    @Test func memoryOfOneUser() async throws {
        let daemon = try await RunningDaemon.start(server: "memory-mib-per-user = 3")
        let header = RawConnection.header(length: 2_000_000, id: 7)
        let first = try RawConnection(daemon.socket)
        try first.send(header + [UInt8](repeating: 0x0A, count: 100_000))
        try await daemon.withClient { client in
            try await eventually("a frame that has begun") { try await client.status().door.bytesInFlight > 2_000_000 }
        }
        let second = try RawConnection(daemon.socket)
        // The answer comes before the body; the body is passed over, and the connection is as good as before.
        try second.send(header)
        let refused = try #require(try second.receive())
        #expect(refused.id == 7)
        #expect(refused.response.error.code == ErrorCode.overloaded.rawValue)
        #expect(refused.response.error.message.contains("memory-mib-per-user"))
        try second.send([UInt8](repeating: 0x0A, count: 2_000_000))
        try second.send(WireRequest(.wrap([1])), id: 8)
        let served = try #require(try second.receive())
        #expect(served.id == 8)
        #expect(served.response.results.first?.wrapped.blob.isEmpty == false)
        withExtendedLifetime(first) {}
    }

    /// Bodies whose decoding would allocate a million messages.
    @Test func requestsOfAMillionParts() async throws {
        let daemon = try await RunningDaemon.start()
        let empty: [UInt8] = [0x0A, 0x00]
        let million = (0..<1_000_000).flatMap { _ in empty }
        func field(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
            var bytes = [tag]
            var length = content.count
            while length >= 0x80 {
                bytes.append(UInt8(length & 0x7F) | 0x80)
                length >>= 7
            }
            return bytes + [UInt8(length)] + content
        }
        let bodies = [
            million,
            // One operation of a million kinds; one with a million context entries; an entry with a million keys; a million labels.
            field(0x0A, million), field(0x0A, field(0x12, (0..<900_000).flatMap { _ in [0x12, 0x00] as [UInt8] })),
            field(0x0A, field(0x12, field(0x12, million))), (0..<1_000_000).flatMap { _ in [0x1A, 0x00] as [UInt8] },
            // Unknown fields, and groups in groups.
            (0..<1_000_000).flatMap { _ in [0x78, 0x00] as [UInt8] }, [UInt8](repeating: 0x0B, count: 2_000_000),
        ]
        let connection = try RawConnection(daemon.socket)
        for (index, body) in bodies.enumerated() {
            try connection.send(RawConnection.header(length: UInt32(body.count), id: UInt32(index)) + body)
            let answer = try #require(try connection.receive())
            #expect(answer.id == UInt32(index))
            #expect(answer.response.error.code == ErrorCode.invalidRequest.rawValue, "body \(index)")
        }
        // Longer than what asks for it: never many at once.
        try connection.send(.with { $0.operations = Array(repeating: .with { $0.status = .init() }, count: 3) }, id: 9)
        let results = try #require(try connection.receive()).response.results
        #expect(results.count == 3)
        #expect(results.allSatisfy { $0.error.code == ErrorCode.invalidRequest.rawValue })
        try await expectServed(daemon)
    }

    // MARK: Floods

    @Test func tenThousandConnects() async throws {
        let daemon = try await RunningDaemon.start()
        try await expectServed(daemon)
        let before = try daemon.openDescriptors()
        var held: [Int32] = []
        for number in 0..<10_000 {
            let connection = csystem_connect_unix(daemon.socket)
            guard connection >= 0 else { continue }
            // Some are kept for a while.
            if number % 10 == 0 { held.append(connection) } else { close(connection) }
        }
        for connection in held { close(connection) }
        try await eventually("a daemon that is left in peace") {
            try await daemon.withClient { client in (try? await client.status().door.connections) == 1 }
        }
        try await expectServed(daemon)
        try await eventually("descriptors that are closed") { try daemon.openDescriptors() <= before + 2 }
        let lines = daemon.logLines("a connection is refused")
        #expect(!lines.isEmpty)
        #expect(lines.count < 1_000, "one a second")
        #expect(lines.contains { $0.contains("connections-per-user") })
    }

    /// A stranger fills the door; the operator gets in, and says what is going on.
    @Test(.enabled(if: getuid() == 0, "only root can run a program as another user"))
    func theOperatorGetsIn() async throws {
        let daemon = try await RunningDaemon.start(server: "connections = 6", rules: RunningDaemon.everything + Hostile.grant)
        let hostile = try await Hostile(daemon, "hold", connections: 40)
        var door = WireDoorReport()
        do {
            // A new connection each time: one that came before the door was full would have its place among the six.
            try await eventually("a door that is full") {
                door = try await daemon.withClient { try await $0.status().door }
                return door.connections == 7 && door.connectionsLimit == 6 && door.connectionsRefused > 10
            }
        } catch {
            Issue.record("\(error): \(door) \(hostile.isRunning) \(daemon.process.errors.suffix(2_000))")
        }
        let status = try await run("custodyctl", arguments: ["status", "--config", daemon.configurationFile])
        #expect(status.status == .exited(0), "\(status.errors)")
        #expect(status.output.contains("of 6 connections"))
        try await hostile.end()
    }

    /// All whom no grant names have one user's share together.
    @Test(.enabled(if: getuid() == 0, "only root can run a program as another user"))
    func strangersShareOneAccount() async throws {
        let daemon = try await RunningDaemon.start(server: "connections-per-user = 5")
        var strangers: [Hostile] = []
        for number: UInt32 in 0..<4 { strangers.append(try await Hostile(daemon, "hold", connections: 4, uid: 64_300 + number)) }
        try await daemon.withClient { client in
            try await eventually("strangers that are turned away") { try await client.status().door.connectionsRefused > 20 }
            #expect(try await client.status().door.connections == 6)
        }
        for stranger in strangers { try await stranger.end() }
    }

    /// While one user floods the daemon, every call of another succeeds.
    @Test(
        .enabled(if: getuid() == 0, "only root can run a program as another user"),
        arguments: ["connect", "garbage", "half", "empty", "fat", "labels", "verbose", "status", "denied", "unwrap", "batch", "deaf"])
    func aFloodOfOneUserCostsTheOthersNoCall(_ kind: String) async throws {
        let daemon = try await RunningDaemon.start(
            server: "write-timeout-ms = 2000\nframe-timeout-ms = 1000\nrequests-in-flight-per-user = 16", rules: RunningDaemon.everything + Hostile.grant)
        let blob = Array(try await daemon.withClient { try await $0.wrap(SecretBytes([7]), key: "root", context: ["tenant": "acme"]).blob })
        let hostile = try await Hostile(daemon, kind, connections: 20, blob: blob)
        for round in 1...20 {
            // Without the client's own patience: nothing is tried again.
            let connection = try RawConnection(daemon.socket)
            for id in UInt32(1)...5 {
                // How long it takes is for `scripts/bench-hostile` to tell.
                try connection.send(.with { $0.operations = [.unwrap(blob)]; $0.deadlineMs = 60_000 }, id: id)
                let answer = try #require(try connection.receive(), "round \(round)")
                #expect(answer.id == id)
                #expect(answer.response.results.first?.unwrapped.plaintext == Data([7]), "round \(round): \(answer.response)")
            }
        }
        #expect(hostile.isRunning)
        try await hostile.end()
        try await expectServed(daemon)
        #expect(try daemon.residentMegabytes() < 500)
    }

    /// What a caller brings along and sends fills no log: not the groups of a user namespace, nor labels that stand with each of
    /// 256 operations and take six bytes for one. It needs no grant for any of that.
    @Test(.enabled(if: getuid() == 0, "only root can run a program as another user"), arguments: ["denied", "labels", "verbose"])
    func aStrangerWithAllGroupsDoesNotFillTheLog(_ kind: String) async throws {
        let daemon = try await RunningDaemon.start()
        let blob = Array(try await daemon.withClient { try await $0.wrap(SecretBytes([7]), key: "root", context: ["tenant": "acme"]).blob })
        let start = ContinuousClock.now
        let hostile = try await Hostile(daemon, kind, connections: 8, blob: blob, groups: 65_535)
        for id in UInt32(1)...100 {
            let connection = try RawConnection(daemon.socket)
            try connection.send(.with { $0.operations = [.unwrap(blob)]; $0.deadlineMs = 60_000 }, id: id)
            #expect(try #require(try connection.receive()).response.results.first?.unwrapped.plaintext == Data([7]))
        }
        if kind == "labels" {
            let connection = try RawConnection(daemon.socket)
            let labels = (0..<28).map { index in
                WirePair.with { $0.key = "\(index)"; $0.value = String(repeating: "\u{1}", count: 1_024) }
            }
            try connection.send(.with { $0.operations = Array(repeating: .unwrap(blob), count: 256); $0.onBehalfOf = labels }, id: 1)
            let refusal = try #require(try connection.receive()).response.error
            #expect(refusal.code == ErrorCode.payloadTooLarge.rawValue)
            #expect(refusal.message.contains("audit log"))
        } else {
            try await eventually("its lines") {
                try daemon.audit().contains { ($0["uid"] as? NSNumber)?.uint32Value == Hostile.uid }
            }
        }
        // The daemon ends in its time under that, too: so long it drains, and no longer.
        daemon.process.signal(SIGTERM)
        try await daemon.process.end()
        let seconds = start.duration(to: .now) / .seconds(1)
        try await hostile.end()
        let lines = try Data(contentsOf: URL(fileURLWithPath: daemon.auditFile)).split(separator: 0x0A)
        let theirs = lines.filter { String(decoding: $0, as: UTF8.self).contains("\"uid\":\(Hostile.uid),") }
        // A burst of units, those of the time, and the last line, which may be paid for later: 512 bytes of what it sent each, and
        // as much again for what every line says.
        let units = 200 + 100 * Int(seconds + 2)
        #expect(theirs.reduce(0) { $0 + $1.count } <= units * 1_024 + 2 * 1_048_576, "in \(seconds) s")
        #expect(theirs.allSatisfy { $0.count < 262_144 })
        let verified = try await run("custodyctl", arguments: ["audit", "verify", "--config", daemon.configurationFile, "--chain-only"])
        #expect(verified.status == .exited(0), "\(verified.output) \(verified.errors)")
    }

    /// Whoever is refused again and again has few lines written, and none of its decisions is left out.
    @Test(.enabled(if: getuid() == 0, "only root can run a program as another user"))
    func aFloodOfDenialsDoesNotFillTheLog() async throws {
        let daemon = try await RunningDaemon.start(rules: RunningDaemon.everything + Hostile.grant)
        let start = ContinuousClock.now
        let hostile = try await Hostile(daemon, "denied", connections: 20)
        try await daemon.withClient { client in
            try await eventually("many denials") { try await client.status().denied > 350 }
        }
        try await hostile.end()
        let seconds = Int(start.duration(to: .now) / .seconds(1)) + 1
        let records = try daemon.audit().filter { ($0["uid"] as? NSNumber)?.uint32Value == Hostile.uid }
        // What is held back at the end of it is written a moment later.
        #expect(records.count <= 200 + 100 * (seconds + 2))
        #expect(records.allSatisfy { $0["decision"] as? String == "denied" })
    }

    /// A byte out of band is one like others: it ended the daemon where the event loop found nothing to read.
    @Test func aByteOutOfBandIsRead() async throws {
        let daemon = try await RunningDaemon.start()
        let alone = try RawConnection(daemon.socket)
        let failure = alone.sendUrgent([0x43])
        guard failure == 0 else { return print("this kernel has no byte out of band for Unix sockets: \(String(cString: strerror(failure)))") }
        let whole = try RawConnection(daemon.socket)
        #expect(whole.sendUrgent(try RawConnection.frame(WireRequest(.wrap([7])), id: 5)) == 0)
        let answer = try #require(try whole.receive())
        #expect(answer.id == 5)
        #expect(answer.response.results.first?.wrapped.blob.isEmpty == false)
        let noFrame = try RawConnection(daemon.socket)
        #expect(noFrame.sendUrgent([0x00, 0x00]) == 0)
        #expect(try noFrame.receive() == nil)
        try await expectServed(daemon)
        withExtendedLifetime(alone) {}
    }

    /// A descriptor that takes long to close would be closed on the daemon's event loop.
    @Test func descriptorsAreNotTaken() async throws {
        let daemon = try await RunningDaemon.start()
        let connection = try RawConnection(daemon.socket)
        let failure = connection.sendDescriptor()
        if failure == 0 {
            print("this kernel is older than 6.16: a socket can't refuse descriptors")
        } else {
            #expect(failure == EPERM)
        }
        try await expectServed(daemon)
    }

    // MARK: Descriptors

    @Test func descriptorsRunOut() async throws {
        let daemon = try await RunningDaemon.start(server: "connections = 600\nconnections-per-user = 600")
        let connected = daemon.client()
        let blob = try await connected.wrap(SecretBytes([7]), key: "root").blob
        let open = try daemon.openDescriptors()
        func limit(_ descriptors: Int) async throws {
            let result = try await run("prlimit", arguments: ["--pid", "\(daemon.process.processID)", "--nofile=\(descriptors):4096"])
            #expect(result.status == .exited(0), "\(result.errors)")
        }
        try await limit(2 * open)
        var others: [RawConnection] = []
        var refusal: String?
        for _ in 0..<60 {
            let other = try RawConnection(daemon.socket)
            others.append(other)
        }
        refusal = try others.last?.receive()?.response.error.message
        #expect(refusal?.contains("LimitNOFILE") == true)
        // Who is connected is served, and told.
        for _ in 0..<20 { #expect(try await connected.unwrap(blob).plaintext.exposed() == [7]) }
        #expect(try await connected.status().door.detail.contains("new connections are refused"))
        // It heals when descriptors are free, without anybody's help.
        others = []
        try await eventually("an end of the trouble") { try await connected.status().door.detail.isEmpty }
        try await expectServed(daemon)
        #expect(daemon.logLines("connected clients are served on").count == 1)
        #expect(daemon.logLines("there are descriptors again").count == 1)
        // Even if there is not one left to accept and refuse with.
        try await limit(10)
        _ = try? RawConnection(daemon.socket)
        try await eventually("the trouble") { try await connected.status().door.detail.contains("new connections are refused") }
        try await limit(2_000)
        try await eventually("an end of the trouble") { try await connected.status().door.detail.isEmpty }
        try await expectServed(daemon)
        await connected.shutdown()
    }

    @Test func moreConnectionsThanDescriptors() async throws {
        let token = try await SoftHSMToken()
        try RunningDaemon.configure(token, uri: "\(token.uri)", server: "connections = 5000")
        let daemon = try ChildProcess(
            "prlimit", arguments: ["--nofile=400:400", Products.directory + "/custodyd", "--config", token.directory.file("custody.toml")])
        let line = try await daemon.line(containing: "limit of open files is too low")
        #expect(line.contains("connections=292"))
        #expect(line.contains("configured=5000"))
    }
}

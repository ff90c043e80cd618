import Custody
import Testing

@testable import CustodyServer

/// What the door admits, and to whom.
@Suite struct DoorBudgetTests {
    private func limits(_ server: String = "") throws -> DoorLimits {
        DoorLimits(try Configuration(
            """
            [server]
            socket = "s"
            \(server)
            [token]
            module = "/m"
            uri = "pkcs11:token=t"
            pin-file = "pin"
            """, file: "/etc/custody.toml").server)
    }

    private func message(_ body: () throws(DoorBudget.Refusal) -> Void) -> String? {
        do throws(DoorBudget.Refusal) {
            try body()
            return nil
        } catch {
            return error.message
        }
    }

    @Test func connectionsOfOneAndOfAll() throws {
        let budget = DoorBudget(try limits("connections = 5\nconnections-per-user = 3"))
        func connect(_ account: UInt32, isOperator: Bool = false) -> String? {
            message { () throws(DoorBudget.Refusal) in try budget.admitConnection(of: account, isOperator: isOperator) }
        }
        for _ in 0..<3 { #expect(connect(1) == nil) }
        #expect(connect(1)?.contains("connections-per-user") == true)
        for _ in 0..<2 { #expect(connect(2) == nil) }
        #expect(connect(2)?.contains("(connections under") == true)
        // The operator's reserve.
        for _ in 0..<3 { #expect(connect(0, isOperator: true) == nil) }
        #expect(connect(0, isOperator: true)?.contains("connections-per-user") == true)
        budget.releaseConnection(of: 1)
        #expect(connect(3)?.contains("(connections under") == true, "the operator's are counted too")
        #expect(budget.report().connections == 7)
        #expect(budget.report().connectionsLimit == 5)
        #expect(budget.report().connectionsRefused == 4)
    }

    @Test func connectsPerSecond() throws {
        let budget = DoorBudget(try limits("connects-per-second-per-user = 10"))
        let start = ContinuousClock.now
        func connects(_ account: UInt32, at now: ContinuousClock.Instant, of tries: Int) -> Int {
            (0..<tries).count { _ in
                guard message({ () throws(DoorBudget.Refusal) in
                    try budget.admitConnection(of: account, isOperator: false, now: now)
                }) == nil else { return false }
                budget.releaseConnection(of: account)
                return true
            }
        }
        #expect((10...11).contains(connects(1, at: start, of: 50)))
        #expect((10...11).contains(connects(2, at: start, of: 50)), "another user's connects are its own")
        #expect((4...6).contains(connects(1, at: start + .milliseconds(500), of: 50)))
        #expect(message { () throws(DoorBudget.Refusal) in
            try budget.admitConnection(of: 1, isOperator: false, now: start + .milliseconds(500))
        }?.contains("connects-per-second-per-user") == true)
        budget.sweep(now: start + .seconds(60))
        #expect(budget.accounts == 0)
    }

    @Test func requestsAndBytes() throws {
        let mebibyte = 1_048_576
        let budget = DoorBudget(
            try limits("requests-in-flight-per-user = 3\nmemory-mib = 4\nmemory-mib-per-user = 3\nmemory-mib-per-connection = 2"))
        func ask(_ account: UInt32, _ bytes: Int) -> String? {
            message { () throws(DoorBudget.Refusal) in try budget.admitRequest(bytes: bytes, of: account) }
        }
        #expect(ask(1, 2 * mebibyte) == nil)
        #expect(ask(1, 2 * mebibyte)?.contains("memory-mib-per-user") == true)
        #expect(ask(1, mebibyte) == nil)
        #expect(ask(2, mebibyte) == nil)
        #expect(ask(3, mebibyte)?.contains("(memory-mib under") == true)
        // Whoever holds little is served also when others hold everything.
        #expect(ask(3, 65_000) == nil)
        #expect(ask(3, 1_000)?.contains("(memory-mib under") == true)
        #expect(ask(4, 10) == nil)
        #expect(ask(4, 10) == nil)
        #expect(ask(4, 10) == nil)
        #expect(ask(4, 10)?.contains("requests-in-flight-per-user") == true)
        #expect(message { () throws(DoorBudget.Refusal) in try budget.grow(by: 10, of: 4) } == nil)
        #expect(budget.report().requestsRefused == 4)
        for account: UInt32 in [1, 2, 3, 4] {
            let (requests, bytes): (Int, Int) = switch account {
            case 1: (2, 3 * mebibyte)
            case 2: (1, mebibyte)
            case 3: (1, 65_000)
            default: (3, 40)
            }
            budget.release(requests: requests, bytes: bytes, of: account)
        }
        #expect(budget.report().bytesInFlight == 0)
        #expect(budget.accounts == 0)
    }

    @Test func connectionsFitIntoTheDescriptors() throws {
        var limits = try limits("connections = 1000")
        #expect(limits.fit(intoDescriptors: 524_288) == nil)
        #expect(limits.connections == 1_000)
        #expect(limits.fit(intoDescriptors: 1_024) == 1_024)
        #expect(limits.connections == 1_024 - 128 - 8)
        #expect(limits.fit(intoDescriptors: 100) == 100)
        #expect(limits.connections == 67)
        #expect(limits.connectionsPerUser == 67)
        #expect(limits.fit(intoDescriptors: 8) == 8)
        #expect(limits.connections == 1)
    }

    @Test func settingsThatContradictEachOther() throws {
        for (setting, whole) in [
            ("connections = 10\nconnections-per-user = 11", "'connections', 10"),
            ("memory-mib = 10\nmemory-mib-per-user = 11", "'memory-mib', 10"),
            ("memory-mib-per-user = 4\nmemory-mib-per-connection = 5", "'memory-mib-per-user', 4"),
        ] {
            do {
                _ = try limits(setting)
                Issue.record("\(setting) was accepted")
            } catch let error as ConfigurationError {
                #expect("\(error)".contains(whole))
            }
        }
        // Those that are not written down give way.
        #expect(try limits("connections = 10").connectionsPerUser == 10)
        #expect(try limits("memory-mib = 2").memoryPerConnection == 2 * 1_048_576)
        #expect(try limits("queue = 10").requestsInFlightPerUser == 5)
    }
}

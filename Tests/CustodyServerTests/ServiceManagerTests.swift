import Custody
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import CustodyServer

@Suite struct ServiceManagerTests {
    private let directory: TemporaryDirectory
    /// A service manager's.
    private let socket: DatagramSocket

    init() throws {
        directory = try TemporaryDirectory()
        socket = try DatagramSocket(directory.file("notify"))
    }

    @Test func readinessTellsOfTheToken() throws {
        let manager = ServiceManager(path: socket.path, watchdog: nil)
        manager.extendStart(by: .seconds(30))
        #expect(try socket.receive() == "EXTEND_TIMEOUT_USEC=30000000")
        manager.sayReady(ServiceStatus(token: .recovering))
        #expect(try socket.receive() == "READY=1\nSTATUS=connecting to the token")
        manager.say(ServiceStatus(token: .unavailable(CustodyError(.tokenUnavailable, "the HSM\ncan't be reached"))))
        #expect(try socket.receive() == "STATUS=token unavailable, tried again: the HSM\\ncan't be reached")
        let locked = ServiceStatus(token: .locked(CustodyError(.tokenLocked, "the token refused the PIN")))
        manager.say(locked)
        // No news.
        manager.say(locked)
        #expect(try socket.receive() == "STATUS=token locked, an operator must act: the token refused the PIN")
        manager.sayStopping(within: .seconds(35))
        #expect(try socket.receive() == "STOPPING=1\nSTATUS=shutting down\nEXTEND_TIMEOUT_USEC=35000000")
    }

    @Test func ratesAreOfTheTimeBetweenTwoReports() {
        var pace = OperationPace()
        let start = ContinuousClock.now
        #expect(pace.rate(1_000, now: start) == nil)
        #expect(pace.rate(1_000, now: start) == nil)
        #expect(pace.rate(1_500, now: start + .seconds(5)) == 100)
        #expect(pace.rate(1_500, now: start + .seconds(6)) == 0)
        #expect(pace.rate(1_499, now: start + .seconds(7)) == nil)
    }

    @Test func theWatchdogIsFedWhileTheDaemonLives() async throws {
        let manager = ServiceManager(path: socket.path, watchdog: nil)
        let isAlive = Atomic(true)
        let looks = Atomic(0)
        let feeding = Task {
            await manager.feed(.milliseconds(20)) {
                looks.add(1, ordering: .relaxed)
                return isAlive.load(ordering: .relaxed)
            }
        }
        for _ in 0..<3 { #expect(try socket.receive() == "WATCHDOG=1") }
        isAlive.store(false, ordering: .relaxed)
        let then = looks.load(ordering: .relaxed)
        try await eventually("more looks") { looks.load(ordering: .relaxed) > then + 3 }
        // What comes next is no food but for what was on its way.
        manager.say(ServiceStatus(token: .recovering))
        var messages: [String] = []
        repeat { messages.append(try socket.receive()) } while messages.last == "WATCHDOG=1"
        #expect(messages.last == "STATUS=connecting to the token")
        #expect(messages.count <= 6)
        feeding.cancel()
        await feeding.value
    }

    @Test func theEnvironmentNamesIt() {
        #expect(ServiceManager.ofEnvironment([:]) == nil)
        #expect(ServiceManager.ofEnvironment(["NOTIFY_SOCKET": ""]) == nil)
        let own = String(ProcessInfo.processInfo.processIdentifier)
        let environment = ["NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "3000000"]
        #expect(ServiceManager.ofEnvironment(environment)?.watchdog == .seconds(3))
        #expect(ServiceManager.ofEnvironment(environment.merging(["WATCHDOG_PID": own]) { $1 })?.watchdog == .seconds(3))
        // Meant for another process.
        #expect(ServiceManager.ofEnvironment(environment.merging(["WATCHDOG_PID": "1"]) { $1 })?.watchdog == nil)
        #expect(ServiceManager.ofEnvironment(["NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "soon"])?.watchdog == nil)
    }

    /// A manager that is gone, or a path that is none, must not hold anything up.
    @Test func nobodyNeedListen() {
        ServiceManager(path: directory.file("nobody"), watchdog: nil).sayStopping(within: .zero)
        ServiceManager(path: String(repeating: "x", count: 500), watchdog: nil).sayStopping(within: .zero)
        ServiceManager(path: "@custody-nobody-\(getpid())", watchdog: nil).sayStopping(within: .zero)
    }
}

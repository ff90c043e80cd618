import CustodyClient
import Foundation
import Glibc
import Histogram
import SecureMemory
import Synchronization

/// One way to wrap, with a number of callers at once; sums up over the rounds.
final class Scenario: Sendable {
    struct Figures {
        var operations = 0
        var seconds = 0.0
        var daemonCPU = 0.0
        var perRound: [Double] = []
        var latencies = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
    }

    let name: String
    let callers: Int
    let batch: Int
    private let makeCaller: (@Sendable () throws -> any Caller)?
    private let clientSocket: String?
    /// The process that serves it, if that is not the daemon.
    private let server: Int32?
    private let figures = Mutex(Figures())

    init(_ name: String, callers: Int, batch: Int, server: Int32? = nil, makeCaller: @escaping @Sendable () throws -> any Caller) {
        self.name = name
        self.callers = callers
        self.batch = batch
        self.makeCaller = makeCaller
        clientSocket = nil
        self.server = server
    }

    /// Through the client library, callers being tasks.
    init(_ name: String, callers: Int, batch: Int, client socket: String) {
        self.name = name
        self.callers = callers
        self.batch = batch
        makeCaller = nil
        server = nil
        clientSocket = socket
    }

    var result: Figures { figures.withLock { $0 } }

    func run(milliseconds: Int, key: String, size: Int, daemon: Int32) throws {
        let process = server ?? daemon
        let cpuBefore = processCPU(process)
        let start = ContinuousClock.now
        let end = start + .milliseconds(milliseconds)
        let latencies: [[UInt64]]
        if let clientSocket {
            latencies = try runClient(clientSocket, key, size, until: end)
        } else {
            latencies = try runThreads(until: end)
        }
        let seconds = start.duration(to: .now) / .seconds(1)
        let cpu = processCPU(process) - cpuBefore
        figures.withLock { figures in
            let calls = latencies.reduce(0) { $0 + $1.count }
            figures.operations += calls * batch
            figures.seconds += seconds
            figures.daemonCPU += cpu
            figures.perRound.append(Double(calls * batch) / seconds)
            for own in latencies { for latency in own { figures.latencies.record(latency) } }
        }
    }

    private func runThreads(until end: ContinuousClock.Instant) throws -> [[UInt64]] {
        let outcomes = Mutex<[Result<[UInt64], any Error>]>([])
        let done = DispatchSemaphore(value: 0)
        guard let makeCaller else { return [] }
        for _ in 0..<callers {
            let thread = Thread {
                let outcome = Result {
                    let caller = try makeCaller()
                    var latencies: [UInt64] = []
                    var before = ContinuousClock.now
                    while before < end {
                        try caller.call()
                        let after = ContinuousClock.now
                        latencies.append(UInt64(before.duration(to: after) / .nanoseconds(1)))
                        before = after
                    }
                    return latencies
                }
                outcomes.withLock { $0.append(outcome) }
                done.signal()
            }
            thread.start()
        }
        for _ in 0..<callers { done.wait() }
        return try outcomes.withLock { try $0.map { try $0.get() } }
    }

    private func runClient(_ socket: String, _ key: String, _ size: Int, until end: ContinuousClock.Instant) throws -> [[UInt64]] {
        let client = CustodyClient(.init(socket: socket, connections: 2))
        let done = DispatchSemaphore(value: 0)
        let outcome = Mutex<Result<[[UInt64]], any Error>>(.success([]))
        let callers = callers
        let plaintext = SecretBytes([UInt8](repeating: 0x5A, count: size))
        // The bench's only bridge from threads to tasks; it is awaited right below.
        Task {
            do {
                let all = try await withThrowingTaskGroup(of: [UInt64].self) { group in
                    for _ in 0..<callers {
                        group.addTask {
                            var latencies: [UInt64] = []
                            var before = ContinuousClock.now
                            while before < end {
                                _ = try await client.wrap(plaintext, key: key, context: ["tenant": "acme"])
                                let after = ContinuousClock.now
                                latencies.append(UInt64(before.duration(to: after) / .nanoseconds(1)))
                                before = after
                            }
                            return latencies
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                outcome.withLock { $0 = .success(all) }
            } catch {
                outcome.withLock { $0 = .failure(error) }
            }
            await client.shutdown()
            done.signal()
        }
        done.wait()
        return try outcome.withLock { try $0.get() }
    }
}

/// The CPU time of a process so far, in seconds (proc(5): fields 14 and 15 of stat).
func processCPU(_ pid: Int32) -> Double {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
        let afterName = text.lastIndex(of: ")")
    else { return 0 }
    let fields = text[afterName...].split(separator: " ")
    guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return 0 }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
}

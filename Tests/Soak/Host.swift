import Foundation
import Synchronization
import TestSupport

/// What a service manager does: starts the daemon, and starts it again at once whenever it ends.
final class Host: Sendable {
    /// One process of the daemon.
    struct Life: Sendable {
        let number: Int
        let process: ChildProcess
        let began = ContinuousClock.now
    }

    private struct State {
        var life: Life?
        var number = 0
        /// How the daemon may end now.
        var allowed: Set<ExitStatus> = []
        var isStopping = false
    }

    private let site: Site
    private let book: Book
    private let state = Mutex(State())

    init(_ site: Site, _ book: Book) {
        self.site = site
        self.book = book
    }

    var life: Life? { state.withLock { $0.life } }

    /// Starts it and returns when it listens, or has ended already.
    func start() async throws {
        await site.configurationLock.acquire()
        let process: ChildProcess
        do {
            process = try ChildProcess("custodyd", arguments: ["--config", site.daemonConfiguration])
            _ = try? await process.line(containing: "custodyd is listening")
            await site.configurationLock.release()
        } catch {
            await site.configurationLock.release()
            throw error
        }
        let number = state.withLock { state in
            state.number += 1
            state.life = Life(number: state.number, process: process)
            return state.number
        }
        book.count("did starts")
        book.note("life \(number) is process \(process.processID)")
    }

    /// Starts it anew whenever it ends, until ``stopKeeping()``.
    func keep() async throws {
        while let life, !state.withLock({ $0.isStopping }) {
            guard let status = life.process.status else {
                try await Task.sleep(for: .milliseconds(5))
                continue
            }
            if !state.withLock({ $0.allowed.contains(status) || $0.isStopping }) {
                book.violation(.wrong, "custodyd ended by itself: \(status)\n\(life.process.errors.suffix(3_000))")
            }
            if state.withLock({ $0.isStopping }) { return }
            try await start()
        }
    }

    /// Has the daemon end in one of these ways by what `body` does, and waits until another one listens.
    func restart(_ ways: Set<ExitStatus>, within patience: Duration = .seconds(30), _ body: (Life) async throws -> Void) async throws {
        guard let life else { return }
        state.withLock { $0.allowed = ways }
        try await body(life)
        do {
            try await eventually("the end of life \(life.number)", within: patience) { life.process.status != nil }
        } catch {
            book.violation(.wrong, "custodyd does not end within \(patience): it is killed")
            state.withLock { $0.allowed = [.signalled(SIGKILL)] }
            life.process.signal(SIGKILL)
        }
        try await eventually("another life") { self.life?.number != life.number }
        state.withLock { $0.allowed = [] }
    }

    /// Ends it for good, as the service manager does, and says whether it went well.
    func stop() async throws {
        stopKeeping()
        guard let life else { return }
        life.process.signal(SIGTERM)
        let result = try await life.process.end()
        if result.status != .exited(0) { book.violation(.wrong, "custodyd ended with \(result.status) at SIGTERM") }
    }

    /// The next end is the last one.
    func stopKeeping() { state.withLock { $0.isStopping = true } }
}

import CustodyClient
import CustodyProtocol
import SecureMemory
import Synchronization
import TestSupport

/// A client that holds every answer against what it must be.
///
/// Each plaintext is random and used once, so an answer that belongs to another request is found out as a wrong one.
final class Traffic: Sendable {
    /// An operation that was answered with an error.
    struct Failure: Sendable, Hashable, CustomStringConvertible {
        let operation: String
        let code: CustodyClientError.Code
        let isRetryable: Bool

        /// Whether it opens a ciphertext.
        var isOpening: Bool { ["unwrap", "rewrap", "decrypt"].contains(operation) }
        var isDeadline: Bool { code == .deadlineExceeded || code == .server(.deadlineExceeded) }
        var description: String { "\(operation): \(name)\(isRetryable ? "" : ", not to be tried again")" }

        private var name: String {
            if case .server(let code) = code { "\(code)" } else { "\(code)" }
        }
    }

    struct Report: Sendable {
        var rounds = 0
        var operations = 0
        /// Counted from the latest ``Traffic/forget()`` on.
        var failures: [Failure: Int] = [:]
        var wrong: [String] = []
        var longest = Duration.zero
    }

    /// What was wrapped, and must open as long as the key lives.
    struct Wrapped: Sendable {
        let blob: [UInt8]
        let plaintext: [UInt8]
        let context: [String: String]
    }

    private struct State {
        var report = Report()
        var wrapped: [Wrapped] = []
        var isEnding = false
    }

    private let client: CustodyClient
    private let state = Mutex(State())
    /// How many blobs are kept to be opened again.
    private static let kept = 64

    init(socket: String, deadline: Duration) {
        client = CustodyClient(.init(socket: socket, deadline: deadline))
    }

    func shutdown() async { await client.shutdown() }

    var report: Report { state.withLock { $0.report } }
    var wrapped: [Wrapped] { state.withLock { $0.wrapped } }

    /// Forgets which errors were met; what was wrong is not forgotten.
    func forget() {
        state.withLock {
            $0.report.failures = [:]
            $0.report.longest = .zero
        }
    }

    func end() { state.withLock { $0.isEnding = true } }
    func begin() { state.withLock { $0.isEnding = false } }

    /// Sends rounds until it is told to end.
    func run() async {
        while !state.withLock({ $0.isEnding }) {
            await round()
            try? await Task.sleep(for: .milliseconds(8))
        }
    }

    /// One request with an operation of each kind.
    @discardableResult
    func round() async -> Bool {
        let context = ["tenant": "\(UInt64.random(in: 0 ... .max))"]
        let plaintext = Self.random(184)
        let aad = Self.random(20)
        let secret = SecretBytes(plaintext)
        let earlier = wrapped.randomElement()
        var operations: [(name: String, CustodyClient.Operation)] = [
            ("wrap", .wrap(secret, key: "root", context: context)),
            ("generate-data-key", .generateDataKey(key: "root", length: 32, withPlaintext: true, context: context)),
            ("encrypt", .encrypt(secret, key: "root", aad: aad)),
        ]
        if let earlier {
            operations += [
                ("unwrap", .unwrap(earlier.blob, context: earlier.context)), ("rewrap", .rewrap(earlier.blob, context: earlier.context)),
            ]
        }
        let answers = await send(operations)
        var followUp: [(name: String, CustodyClient.Operation)] = []
        var expected: [[UInt8]] = []
        var new: [Wrapped] = []
        for (operation, answer) in zip(operations, answers) {
            switch answer {
            case .wrapped(let answer) where operation.name == "wrap":
                new.append(Wrapped(blob: answer.blob, plaintext: plaintext, context: context))
            case .wrapped(let answer) where operation.name == "rewrap":
                if let earlier { new.append(Wrapped(blob: answer.blob, plaintext: earlier.plaintext, context: earlier.context)) }
            case .dataKey(let answer):
                guard let key = answer.plaintext?.exposed() else { return wrong("a data key without its plaintext") }
                new.append(Wrapped(blob: answer.blob, plaintext: key, context: context))
            case .encrypted(let answer):
                followUp.append(("decrypt", .decrypt(answer, aad: aad)))
                expected.append(plaintext)
            case .unwrapped(let answer):
                if let earlier, answer.plaintext.exposed() != earlier.plaintext { return wrong("unwrap gave another plaintext") }
            case nil: break
            default: return wrong("\(operation.name) was answered with something else")
            }
        }
        for (answer, plaintext) in zip(await send(followUp), expected) {
            if case .decrypted(let text) = answer, text.exposed() != plaintext { return wrong("decrypt gave another plaintext") }
        }
        let isWhole = answers.allSatisfy { $0 != nil }
        state.withLock { state in
            state.report.rounds += 1
            state.wrapped += new
            if state.wrapped.count > Self.kept { state.wrapped.removeFirst(state.wrapped.count - Self.kept) }
        }
        return isWhole
    }

    /// A wrap and its unwrap.
    func isServed() async -> Bool {
        let plaintext = Self.random(32)
        guard case .wrapped(let answer)?? = await send([("wrap", .wrap(SecretBytes(plaintext), key: "root", context: [:]))]).first,
            case .unwrapped(let opened)?? = await send([("unwrap", .unwrap(answer.blob, context: [:]))]).first
        else { return false }
        return opened.plaintext.exposed() == plaintext ? true : wrong("unwrap gave another plaintext")
    }

    /// Opens everything that was wrapped and is kept; what does not open is lost.
    func openAll() async -> [String] {
        var lost: [String] = []
        for piece in wrapped {
            var why = "no answer"
            let isOpen = (try? await eventualValue("the blob", within: .seconds(5)) { () -> Bool? in
                let before = self.report.failures
                let answer = await self.send([("unwrap", .unwrap(piece.blob, context: piece.context))]).first ?? nil
                if case .unwrapped(let opened) = answer { return opened.plaintext.exposed() == piece.plaintext }
                why = self.report.failures.first { before[$0.key] != $0.value }?.key.description ?? why
                return nil
            }) ?? false
            if !isOpen { lost.append("a blob that was wrapped does not open: \(why)") }
        }
        return lost
    }

    /// Takes over what another has wrapped.
    func take(_ wrapped: [Wrapped]) { state.withLock { $0.wrapped += wrapped } }
    /// Forgets what was wrapped.
    func drop() { state.withLock { $0.wrapped = [] } }

    // MARK: Requests

    private func send(_ operations: [(name: String, CustodyClient.Operation)]) async -> [CustodyClient.Answer?] {
        guard !operations.isEmpty else { return [] }
        let start = ContinuousClock.now
        let results: [Result<CustodyClient.Answer, CustodyClientError>]
        do throws(CustodyClientError) {
            results = try await client.batch(operations.map(\.1))
        } catch {
            results = operations.map { _ in .failure(error) }
        }
        let took = start.duration(to: .now)
        return state.withLock { state in
            state.report.operations += operations.count
            state.report.longest = max(state.report.longest, took)
            return zip(operations, results).map { operation, result in
                switch result {
                case .success(let answer): return answer
                case .failure(let error):
                    let failure = Failure(operation: operation.name, code: error.code, isRetryable: error.retryAfter != nil)
                    state.report.failures[failure, default: 0] += 1
                    return nil
                }
            }
        }
    }

    private func wrong(_ what: String) -> Bool {
        state.withLock { $0.report.wrong.append(what) }
        return false
    }

    private static func random(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: 0 ... .max) } }
}

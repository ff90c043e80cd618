import CTestSupport
import Foundation
import Synchronization

/// How a process ended.
public enum ExitStatus: Sendable, Hashable {
    case exited(Int32)
    case signalled(Int32)
}

/// What a process did.
public struct ProcessResult: Sendable {
    public let command: String
    public let status: ExitStatus
    public let output: String
    public let errors: String
}

/// A process did something else than the test needs.
public struct UnexpectedResult: Error, CustomStringConvertible {
    public let description: String

    public init(_ result: ProcessResult) {
        description = "\(result.command): \(result.status)\nstdout:\n\(result.output)\nstderr:\n\(result.errors)"
    }

    public init(_ why: String, _ process: ChildProcess) {
        description = "\(process.command): \(why)\nstdout:\n\(process.output)\nstderr:\n\(process.errors)"
    }
}

/// Runs a program to its end. A status other than 0 is a result like any other.
///
/// - Parameters:
///   - executable: A path; a product of this package, such as `custodyctl`; or a program on the PATH.
///   - input: What it reads from its standard input.
///   - environment: Added to this process' environment.
public func run(
    _ executable: String, arguments: [String] = [], input: String = "", environment: [String: String] = [:],
    within patience: Duration = .seconds(120)
) async throws -> ProcessResult {
    try await ChildProcess(executable, arguments: arguments, input: input, environment: environment).end(within: patience)
}

/// A program that was started. It is killed when the last reference goes.
///
/// Its output goes to files, not to pipes: it can't be held up by a test that does not read, and what it has said so far
/// can be looked at again and again.
public final class ChildProcess: Sendable {
    public let command: String
    private let directory: TemporaryDirectory
    public let processID: Int32
    private let ended: Mutex<ExitStatus?>

    public init(
        _ executable: String, arguments: [String] = [], input: String = "", environment: [String: String] = [:]
    ) throws {
        command = ([executable] + arguments).joined(separator: " ")
        directory = try TemporaryDirectory()
        let path = try Self.path(of: executable)
        let files = try [directory.write("stdin", input), directory.write("stdout", ""), directory.write("stderr", "")]
        let variables = ProcessInfo.processInfo.environment.merging(environment) { _, own in own }
        let words = ([path] + arguments).map { strdup($0) } + [nil]
        let settings = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for text in words + settings { free(text) } }
        var process: pid_t = 0
        let failure = ctest_spawn(path, words, settings, files[0], files[1], files[2], &process)
        guard failure == 0 else { throw POSIXFailure("can't run \(command)", failure) }
        processID = process
        ended = Mutex(nil)
        // Weakly: the process is killed when the last reference goes, and then reaped here all the same.
        Thread.detachNewThread { [weak self, process] in
            var status: Int32 = 0
            // Looked at first and reaped under the lock: until then its number is nobody else's.
            var information = siginfo_t()
            while waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
            guard let self else {
                waitpid(process, &status, 0)
                return
            }
            self.ended.withLock { ended in
                waitpid(process, &status, 0)
                ended = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .signalled(status & 0x7F)
            }
        }
    }

    deinit { if status == nil { signal(SIGKILL) } }

    /// nil while it runs.
    public var status: ExitStatus? { ended.withLock { $0 } }
    public var output: String { content("stdout") }
    public var errors: String { content("stderr") }
    public func signal(_ number: Int32) {
        // Under the lock of the status: once it is known the number may belong to another process.
        ended.withLock { ended in if ended == nil { _ = kill(processID, number) } }
    }

    /// Waits for its end.
    @discardableResult
    public func end(within patience: Duration = .seconds(120)) async throws -> ProcessResult {
        do {
            let status = try await eventualValue("the end of \(command)", within: patience) { self.status }
            return ProcessResult(command: command, status: status, output: output, errors: errors)
        } catch {
            signal(SIGKILL)
            throw UnexpectedResult("\(error)", self)
        }
    }

    /// Waits for a line on either output that contains the text, and returns it.
    @discardableResult
    public func line(containing text: String, within patience: Duration = .seconds(60)) async throws -> String {
        try await value("a line with '\(text)'", within: patience) {
            // The last piece has no line feed yet, so it may not be whole.
            [output, errors].lazy.flatMap { $0.split(separator: "\n", omittingEmptySubsequences: false).dropLast() }
                .first { $0.contains(text) }.map(String.init)
        }
    }

    /// Waits until there is a value, such as the answer of a daemon that is starting; fails at once if the process ends.
    public func value<Value>(
        _ what: String, within patience: Duration = .seconds(60), _ value: () async throws -> Value?
    ) async throws -> Value {
        do {
            return try await eventualValue(what, within: patience) {
                // Asked in this order, so that what it did just before its end still counts.
                let hasEnded = status != nil
                if let value = try await value() { return value }
                if hasEnded { throw UnexpectedResult("it ended before \(what)", self) }
                return nil
            }
        } catch let error as TimedOut {
            throw UnexpectedResult(error.description, self)
        }
    }

    private func content(_ name: String) -> String {
        String(decoding: (try? Data(contentsOf: URL(fileURLWithPath: directory.file(name)))) ?? Data(), as: UTF8.self)
    }

    /// Where a program is: as given, a product of this package, or on the PATH.
    public static func path(of executable: String) throws -> String {
        if executable.contains("/") { return executable }
        let folders = [Products.directory] + (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        guard let folder = folders.first(where: { FileManager.default.isExecutableFile(atPath: "\($0)/\(executable)") }) else {
            throw NotInstalled(description: "there is no program \(executable)")
        }
        return "\(folder)/\(executable)"
    }
}

/// What the build made.
public enum Products {
    /// The folder of the package's programs: the test bundle lies beside them.
    public static let directory: String = {
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().path
    }()
}

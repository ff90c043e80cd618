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
    private let process: Mutex<Process>
    private let ended = Mutex<ExitStatus?>(nil)

    public init(
        _ executable: String, arguments: [String] = [], input: String = "", environment: [String: String] = [:]
    ) throws {
        command = ([executable] + arguments).joined(separator: " ")
        directory = try TemporaryDirectory()
        let new = Process()
        new.executableURL = URL(fileURLWithPath: try Self.path(of: executable))
        new.arguments = arguments
        new.environment = ProcessInfo.processInfo.environment.merging(environment) { _, own in own }
        new.standardInput = try Self.handle(try directory.write("stdin", input), O_RDONLY)
        new.standardOutput = try Self.handle(try directory.write("stdout", ""), O_WRONLY | O_APPEND)
        new.standardError = try Self.handle(try directory.write("stderr", ""), O_WRONLY | O_APPEND)
        process = Mutex(new)
        let command = command
        try process.withLock { process in
            process.terminationHandler = { [weak self] process in
                let status = process.terminationStatus
                self?.ended.withLock { $0 = process.terminationReason == .exit ? .exited(status) : .signalled(status) }
            }
            do { try process.run() } catch { throw NotInstalled(description: "cannot run \(command): \(error)") }
        }
    }

    deinit { if status == nil { signal(SIGKILL) } }

    /// nil while it runs.
    public var status: ExitStatus? { ended.withLock { $0 } }
    public var output: String { content("stdout") }
    public var errors: String { content("stderr") }
    public var processID: Int32 { process.withLock { $0.processIdentifier } }

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

    private static func handle(_ path: String, _ flags: Int32) throws -> FileHandle {
        let descriptor = open(path, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw POSIXFailure("open \(path)") }
        return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    private static func path(of executable: String) throws -> String {
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

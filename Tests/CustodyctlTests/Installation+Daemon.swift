import CustodyClient
import CustodyProtocol
import TestSupport

extension Installation {
    /// A `custodyd` that answers; it is killed when the last reference goes.
    final class Daemon: Sendable {
        let process: ChildProcess

        fileprivate init(_ process: ChildProcess) { self.process = process }

        /// Ends it as the service manager does.
        func stop() async throws {
            process.signal(15)
            let result = try await process.end()
            guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        }

        /// Ends it as a crash does.
        func kill() async throws {
            process.signal(9)
            let result = try await process.end()
            guard result.status == .signalled(9) else { throw UnexpectedResult(result) }
        }
    }

    /// Starts the daemon and waits until it answers on its socket.
    ///
    /// - Parameter state: What Status has to say of the token; nil if this user may not ask for it.
    func startDaemon(until state: String? = "ready") async throws -> Daemon {
        let process = try ChildProcess("custodyd", arguments: ["--config", configurationFile])
        let client = client()
        do {
            try await process.value("custodyd's answer") {
                let report = try? await client.status()
                guard let state else { return true }
                return report.map { "\($0.token.state)" == state } == true ? true : nil
            }
            if state == nil { try await process.line(containing: "token ready") }
            await client.shutdown()
            return Daemon(process)
        } catch {
            await client.shutdown()
            throw error
        }
    }

    /// A client in this process, which sees the daemon's answers as they are on the wire.
    func client(deadline: Duration = .seconds(30)) -> CustodyClient {
        CustodyClient(.init(socket: socket, deadline: deadline))
    }
}

extension ChildProcess {
    /// As ``value(_:within:_:)`` for who needs no value.
    fileprivate func value(_ what: String, _ condition: () async throws -> Bool?) async throws {
        let _: Bool = try await value(what, within: .seconds(60), condition)
    }
}

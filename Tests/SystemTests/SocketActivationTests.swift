import CustodyClient
import CustodyProtocol
import Foundation
import SecureMemory
import TestSupport
import Testing

/// A socket that somebody else keeps, as systemd does: who connects waits in it while there is no daemon.
@Suite struct SocketActivationTests {
    /// Listens, starts the daemon when somebody connects, and again when it has ended.
    private static let manager = """
        import ctypes, os, select, signal, socket, subprocess, sys
        path, names, program = sys.argv[1], sys.argv[2], sys.argv[3:]
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.listen(100)
        print("listening", flush=True)
        def pass_on():
            # With the manager ends the daemon.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES=names)
        # Not the number that the child's is to have.
        while listener.fileno() == 3: listener = listener.dup()
        while True:
            select.select([listener], [], [])
            daemon = subprocess.Popen(program, close_fds=False, preexec_fn=pass_on)
            print("started", daemon.pid, flush=True)
            status = daemon.wait()
            print("ended", status, flush=True)
            if status == 1: sys.exit(1)
        """

    private func start(_ token: SoftHSMToken, names: String) async throws -> ChildProcess {
        try RunningDaemon.configure(token, uri: "\(token.uri)")
        let configuration = token.directory.file("custody.toml")
        let made = try await run("custodyctl", arguments: ["key", "generate", "root", "--config", configuration])
        guard made.status == .exited(0) else { throw UnexpectedResult(made) }
        let script = try token.directory.write("manager.py", Self.manager)
        let process = try ChildProcess(
            "python3", arguments: [script, token.directory.file("s"), names, ChildProcess.path(of: "custodyd"), "--config", configuration])
        try await process.line(containing: "listening")
        return process
    }

    @Test func whoConnectsStartsItAndNobodyIsRefused() async throws {
        let token = try await SoftHSMToken()
        let manager = try await start(token, names: "custody")
        let socket = token.directory.file("s")
        #expect(!manager.output.contains("started"))
        // It is asked at once, and the token is there when it answers: no second try.
        let first = try RawConnection(socket)
        try first.send(WireRequest(.wrap([1])), id: 1)
        let answer = try #require(try first.receive())
        #expect(answer.response.results.first?.error.code ?? answer.response.error.code == 0)

        for _ in 0..<3 {
            let line = try #require(manager.output.split(separator: "\n").last { $0.hasPrefix("started") })
            let daemon = try #require(Int32(line.split(separator: " ")[1]))
            #expect(kill(daemon, SIGKILL) == 0)
            // Nobody listens now, and the kernel takes connections all the same.
            let waiting = try RawConnection(socket)
            try waiting.send(WireRequest(.wrap([2])), id: 2)
            let answer = try #require(try waiting.receive())
            #expect(answer.response.results.first?.error.code ?? answer.response.error.code == 0)
        }
        #expect(manager.output.split(separator: "\n").count { $0.hasPrefix("started") } == 4)
        let trail = try AuditTrail([token.directory.file("audit.jsonl")])
        #expect(trail.breaks.isEmpty)
        // The daemon does not remove what is not its own.
        #expect(FileManager.default.fileExists(atPath: socket))
        manager.signal(SIGTERM)
        _ = try await manager.end()
    }

    @Test func aSocketOfAnotherNameIsNotTaken() async throws {
        let token = try await SoftHSMToken()
        let manager = try await start(token, names: "custodyd.socket")
        _ = try RawConnection(token.directory.file("s"))
        let end = try await manager.end()
        #expect(end.errors.contains("FileDescriptorName=custody"))
    }
}

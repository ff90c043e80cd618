import CSystemShim
import CustodyProtocol
import Foundation
import NIOCore
import SwiftProtobuf
import Synchronization

/// A client that means harm, for the system tests and `scripts/bench-hostile`: does one bad thing over several connections
/// until it is killed. Says `hostile` when it has begun.
///
/// Usage: custody-hostile SOCKET KIND CONNECTIONS [BLOB-IN-BASE64 [UID GROUPS]]
///
/// With UID, which takes root, it becomes that user with so many supplementary groups of ten digits, as many as a user
/// namespace gives to anybody.
@main
struct HostileClient {
    enum Kind: String, CaseIterable {
        /// Opens connections and keeps them; says how many.
        case hold
        /// Opens and closes them.
        case connect
        /// Sends random bytes.
        case garbage
        /// Announces long frames and sends half of each.
        case half
        /// Frames of a million empty operations.
        case empty
        /// The most that a frame may hold: 256 operations with 32 context entries each.
        case fat
        /// 256 operations, with each of which the log would repeat labels of which it writes six bytes for one.
        case labels
        /// As many of them as are let in.
        case verbose
        /// Asks for the status.
        case status
        /// Wraps under a key that there is no grant for.
        case denied
        /// Opens a blob.
        case unwrap
        /// Opens it 256 times in each frame.
        case batch
        /// The same, and reads no answers.
        case deaf
    }

    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 4, let kind = Kind(rawValue: arguments[2]), let connections = Int(arguments[3]) else {
            let kinds = Kind.allCases.map(\.rawValue).joined(separator: " ")
            FileHandle.standardError.write(Data("usage: custody-hostile SOCKET KIND CONNECTIONS [BLOB-IN-BASE64]; kinds: \(kinds)\n".utf8))
            exit(64)
        }
        signal(SIGPIPE, SIG_IGN)
        if arguments.count > 6, let uid = UInt32(arguments[5]), let groups = Int(arguments[6]) { become(uid, groups: groups) }
        let blob = arguments.count > 4 ? Data(base64Encoded: arguments[4]) ?? Data() : Data()
        let frame = try frame(kind, blob)
        for _ in 0..<connections {
            Thread.detachNewThread {
                while true { attack(arguments[1], kind, frame) }
            }
        }
        while true { sleep(3_600) }
    }

    private static func become(_ uid: UInt32, groups: Int) {
        let groups = (0..<groups).map { gid_t(4_000_000_000) + gid_t($0) }
        guard setgroups(groups.count, groups) == 0, setgid(uid) == 0, setuid(uid) == 0 else {
            FileHandle.standardError.write(Data("can't become \(uid): \(String(cString: strerror(errno)))\n".utf8))
            exit(77)
        }
    }

    private static let hasBegun = Mutex(false)

    private static func begin() {
        hasBegun.withLock { hasBegun in
            if !hasBegun { FileHandle.standardOutput.write(Data("hostile\n".utf8)) }
            hasBegun = true
        }
    }

    /// One connection from its beginning to its end.
    private static func attack(_ socket: String, _ kind: Kind, _ frame: [UInt8]) {
        let connection = csystem_connect_unix(socket)
        // The backlog is full, mostly.
        guard connection >= 0 else {
            usleep(1_000)
            return
        }
        defer { close(connection) }
        switch kind {
        case .connect: begin()
        case .hold, .half:
            send(frame, connection)
            begin()
            drain(connection)
            usleep(50_000)
        case .deaf:
            begin()
            while send(frame, connection) {}
        case .garbage, .empty, .fat, .labels, .verbose, .status, .denied, .unwrap, .batch:
            let reader = Thread { drain(connection) }
            reader.start()
            while send(frame, connection) { begin() }
            begin()
            shutdown(connection, Int32(SHUT_RDWR))
            while !reader.isFinished { usleep(1_000) }
        }
    }

    @discardableResult
    private static func send(_ bytes: [UInt8], _ connection: Int32) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    private static func drain(_ connection: Int32) {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while chunk.withUnsafeMutableBytes({ recv(connection, $0.baseAddress, $0.count, 0) }) > 0 {}
    }

    // MARK: What it sends

    private static func frame(_ kind: Kind, _ blob: Data) throws -> [UInt8] {
        let context: [WirePair] = [.with { $0.key = "tenant"; $0.value = "acme" }]
        let unwrap = WireOperation.with { $0.unwrap = .with { $0.blob = blob; $0.context = context } }
        let operations: [WireOperation]
        var labels: [WirePair] = []
        func controls(_ count: Int) -> [WirePair] {
            (0..<count).map { index in .with { $0.key = "\(index)"; $0.value = String(repeating: "\u{1}", count: 1_024) } }
        }
        switch kind {
        case .hold, .connect: return []
        case .garbage: return (0..<65_536).map { _ in UInt8.random(in: .min ... .max) }
        case .half: return Array(try bytes(of: [UInt8](repeating: 0x0A, count: 2_000_000)).prefix(1_000_000))
        case .empty: return try bytes(of: (0..<1_000_000).flatMap { _ in [0x0A, 0x00] as [UInt8] })
        case .fat:
            let pairs = (0..<32).map { index in WirePair.with { $0.key = "key-\(index)"; $0.value = String(repeating: "v", count: 100) } }
            operations = Array(
                repeating: .with { $0.wrap = .with { $0.keyName = "absent"; $0.plaintext = Data([1]); $0.context = pairs } }, count: 256)
        case .labels:
            operations = Array(repeating: unwrap, count: 256)
            labels = controls(28)
        case .verbose:
            operations = Array(repeating: unwrap, count: 5)
            labels = controls(32)
        case .status: operations = [.with { $0.status = .init() }]
        case .denied: operations = [.with { $0.wrap = .with { $0.keyName = "forbidden"; $0.plaintext = Data([1]); $0.context = context } }]
        case .unwrap: operations = [unwrap]
        case .batch, .deaf: operations = Array(repeating: unwrap, count: 256)
        }
        return try bytes(of: WireRequest.with { $0.operations = operations; $0.onBehalfOf = labels }.serializedBytes())
    }

    private static func bytes(of body: [UInt8]) throws -> [UInt8] {
        var buffer = ByteBuffer()
        Frame.write(requestID: 1, body: body, to: &buffer)
        return Array(buffer.readableBytesView)
    }
}

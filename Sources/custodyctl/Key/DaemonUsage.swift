import ByteEncoding
import Custody
import CustodyClient
import CustodyProtocol
import Glibc
import PKCS11
import ToolSupport

/// What the running daemon has counted of each version's uses. The rest is on the token and needs no daemon, so its
/// silence is a remark and never an error.
struct DaemonUsage: Sendable {
    struct Version: Sendable {
        let usage: KeyUsage
        let usesLimit: UInt64
        let need: KeyNeed

        /// - Parameter counting: Since when the daemon counts, in milliseconds since 1970.
        init(_ report: WireKeyVersionReport, counting: UInt64) {
            var usage = KeyUsage()
            usage.uses = report.uses
            usage.rewrapped = report.rewrapped
            usage.lastEncrypted = report.lastEncryptedMs == 0 ? nil : report.lastEncryptedMs
            usage.lastDecrypted = report.lastDecryptedMs == 0 ? nil : report.lastDecryptedMs
            self.usage = usage
            usesLimit = report.usesLimit
            need = KeyNeed(
                usage, created: report.created.isEmpty ? nil : report.created,
                counting: UTCDay(secondsSince1970: Int(clamping: counting / 1_000)), today: .today)
        }

        /// The day of the last use.
        var lastUse: String {
            guard let latest = [usage.lastEncrypted, usage.lastDecrypted].compactMap({ $0 }).max() else { return "never" }
            return UTCDay(secondsSince1970: Int(clamping: latest / 1_000)).description
        }
    }

    private let versions: [KeyID: Version]
    /// Why nothing is known; nil if the daemon answered.
    let remark: String?

    func callAsFunction(_ id: KeyID?) -> Version? { id.flatMap { versions[$0] } }

    /// Asks the daemon, for a second at most.
    static func ask(_ common: CommonOptions) async -> DaemonUsage {
        do {
            let socket = try common.socketPath()
            // The client would wait for a daemon that is being started.
            guard access(socket, F_OK) == 0 else { return DaemonUsage(versions: [:], remark: "no daemon listens on \(socket)") }
            let client = CustodyClient(.init(socket: socket, deadline: .seconds(1)))
            do {
                let report = try await client.status()
                await client.shutdown()
                let versions = report.keys.flatMap(\.versions).compactMap { version in
                    KeyID(version.keyID).map { ($0, Version(version, counting: report.usesCountedSinceMs)) }
                }
                return DaemonUsage(versions: Dictionary(versions) { first, _ in first }, remark: nil)
            } catch {
                await client.shutdown()
                return DaemonUsage(versions: [:], remark: ToolError(error).message)
            }
        } catch {
            return DaemonUsage(versions: [:], remark: ToolError(error).message)
        }
    }
}

import CSystemShim
import Glibc

/// Sends lines to the systemd journal by its native protocol: fields in a datagram, or in a sealed memory file that goes
/// with an empty one if they are too long.
final class JournalSocket: Sendable {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws(AuditFailure) {
        self.path = path
        descriptor = csystem_journal_open(Self.patienceMilliseconds)
        guard descriptor >= 0 else { throw AuditFailure(path, errno: -descriptor) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// For how long a journal that does not read holds the lines up before they count as refused.
    private static let patienceMilliseconds: Int32 = 2_000

    /// - Parameter line: Without its line feed.
    func send(_ line: ArraySlice<UInt8>, sequence: UInt64) throws(AuditFailure) {
        var fields = Array("SYSLOG_IDENTIFIER=custody-audit\nPRIORITY=6\nCUSTODY_SEQUENCE=\(sequence)\nMESSAGE=".utf8)
        fields.append(contentsOf: line)
        fields.append(0x0A)
        let failure = csystem_journal_send(descriptor, path, fields, fields.count)
        guard failure == 0 else { throw AuditFailure("the systemd journal, \(path)", errno: failure) }
    }
}

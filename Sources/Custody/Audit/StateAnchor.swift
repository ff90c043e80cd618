import Foundation

/// The newest checkpoint in the state directory: what the log must reach up to when the daemon starts again.
struct StateAnchor: Sendable {
    static let fileName = "audit-anchor"

    private let folder: TrustedFolder

    /// Makes the folder, for its owner alone, if it is not there.
    init(_ folder: String) throws(CustodyError) {
        do {
            self.folder = try TrustedFolder.openOrMake(folder)
        } catch {
            throw CustodyError(
                .auditUnavailable, "the state directory \(folder) can't be used: \(error); it must be a folder in which the daemon's user can write")
        }
    }

    /// nil if there is none.
    func read() throws(AuditFailure) -> AuditCheckpoint? {
        let content: [UInt8]?
        do throws(FileFailure) { content = try folder.read(Self.fileName) } catch { throw AuditFailure(error.description) }
        guard let content else { return nil }
        guard let text = String(validating: content, as: UTF8.self), text.hasSuffix("\n"), let anchor = AuditCheckpoint(text: String(text.dropLast()))
        else {
            throw AuditFailure("\(folder.file(Self.fileName)): this is no anchor of an audit log")
        }
        return anchor
    }

    /// Replaces it; whenever the machine dies, the old one or the new one is there.
    func write(_ checkpoint: AuditCheckpoint) throws(AuditFailure) {
        do {
            try folder.replace(Self.fileName, with: Array((checkpoint.text + "\n").utf8).span.bytes)
        } catch {
            throw AuditFailure(error.description)
        }
    }
}

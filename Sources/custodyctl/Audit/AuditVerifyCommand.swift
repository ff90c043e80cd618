import ArgumentParser
import Custody
import CustodyServer
import Glibc
import PKCS11
import ToolSupport

/// `audit verify`: whether the log is as the daemon wrote it.
struct AuditVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Prove that no line of the audit log was changed, added, moved, removed or cut off.",
        discussion: """
            Without files: the configuration's audit log and what rotation made of its predecessors beside it. The token \
            checks every checkpoint, and the anchors in the state directory and on the token say where the log must reach.

            What nothing vouches for yet are the lines after the newest checkpoint; their number is told as the window.

            Compressed files come by a pipe, oldest first; so does the journal:
              zcat audit.jsonl.2.gz audit.jsonl.1.gz | custodyctl audit verify - /var/log/custody/audit.jsonl
              journalctl _SYSTEMD_UNIT=custodyd.service _UID="$(id -u custody)" SYSLOG_IDENTIFIER=custody-audit --all -o cat \
                | custodyctl audit verify -
            The fields with an underscore are journald's own word on who sent a line: any program can send under a name.

            Exit codes: 0 whole; 1 not whole, the first bad line is named; 69 the token is not available; 77 a PIN or file \
            was refused; 78 the configuration is wrong.

            Example: custodyctl audit verify --from-start
            """)

    @Argument(help: ArgumentHelp("Files of the log in any order; pipes and - for standard input, whose lines come first.", valueName: "file"))
    var files: [String] = []

    @Flag(name: .customLong("chain-only"), help: "Check the hashes alone, without the token: that proves no more than that the lines fit each other.")
    var chainOnly = false

    @Option(name: .customLong("anchor"), help: ArgumentHelp("An anchor that is kept elsewhere, as well; may be repeated.", valueName: "file"))
    var anchorFiles: [String] = []

    @Flag(name: .customLong("from-start"), help: "The log must begin with its first line.")
    var fromStart = false

    @Flag(help: "The files are only a part of the log: where they end is not held against the anchors.")
    var part = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard files.filter({ $0 == "-" }).count < 2 else { throw ValidationError("standard input can be read only once") }
    }

    func run() throws {
        let document = try chainOnly ? verify([], nil, []) { _ in .notAsked } : verifyWithToken()
        if common.json { try Output.json(document) } else { document.show() }
        guard document.whole else { throw ExitCode(ToolExit.failed) }
    }

    private func verifyWithToken() throws -> AuditVerifyDocument {
        do {
            return try common.tokenAccess().withUserSession(readWrite: false) { _, token, session, _ in
                let present = try AuditKeys(session)
                let keys = Dictionary(present.believed.map { ($0.id.bytes, $0) }) { first, _ in first }
                let place = "token '\(token.label)'"
                let anchors = try TokenAnchor.read(session).map { AuditAnchor($0, place: place, mayBeOfAnotherLog: true) }
                let planted = try TokenAnchor.planted(session)
                let remarks = planted == 0 ? [] : [
                    "\(planted) public \(planted == 1 ? "object" : "objects") on \(place) with CKA_APPLICATION '\(TokenAnchor.application)' may look like anchors and are not believed: anybody can make one without the PIN",
                ]
                return try verify(anchors, present, remarks) { checkpoint in
                    guard let key = keys[checkpoint.keyID] else {
                        return present.objection(to: checkpoint.keyID).map { .unbelievedKey($0) } ?? .unknownKey
                    }
                    return try key.mac(of: checkpoint.message, session) == checkpoint.mac ? .genuine : .forged
                }
            }
        } catch {
            var failure = ToolError(error)
            if failure.exitCode == ToolExit.unavailable || failure.exitCode == ToolExit.configuration {
                failure.advice = "--chain-only checks the chain of hashes without the token"
            }
            throw failure
        }
    }

    /// Anchors first, then the log: one that grows in the meantime must not look cut back.
    private func verify(
        _ tokenAnchors: [AuditAnchor], _ keys: AuditKeys?, _ tokenRemarks: [String], ask: (AuditCheckpoint) throws -> AuditVerifier.Word
    ) throws -> AuditVerifyDocument {
        var remarks = tokenRemarks
        let anchors = part ? [] : try keptAnchors(&remarks) + tokenAnchors
        let opened = try OpenAuditFiles.opened(files, common)
        var expectations = AuditVerifier.Expectations()
        expectations.fromStart = fromStart
        expectations.isPart = part
        expectations.asksToken = !chainOnly
        expectations.beginsAnywhere = opened.files.first?.isStream == true
        var verifier = AuditVerifier(expectations, anchors: anchors)
        try opened.forEachLine(begin: { verifier.begin(file: $0.name) }) { _, line in
            try verifier.read(line, ask: ask)
            return !verifier.isStopped
        }
        return AuditVerifyDocument(
            try verifier.finish(ask: ask), keys: keys, remarks: remarks + opened.remarks, skipped: opened.skipped)
    }

    /// The anchor in the state directory, if this user can read it, and those that were named.
    private func keptAnchors(_ remarks: inout [String]) throws -> [AuditAnchor] {
        var anchors: [AuditAnchor] = []
        if let directory = try common.configuration(judging: ["audit.file", "state.directory"]).configuration?.stateDirectory {
            let path = directory + "/" + AuditAnchor.fileName
            switch AuditAnchor.read(path) {
            case .anchor(let anchor): anchors.append(anchor)
            case .unreadable(let code): remarks.append("the anchor \(path) was not compared: \(String(cString: strerror(code)).lowercased())")
            case .damaged: throw Self.damaged(path)
            }
        }
        for path in anchorFiles {
            switch AuditAnchor.read(path) {
            case .anchor(let anchor): anchors.append(anchor)
            case .unreadable(let code): throw ToolError("input-failed", "can't read the anchor \(path): \(String(cString: strerror(code)))")
            case .damaged: throw Self.damaged(path)
            }
        }
        return anchors
    }

    private static func damaged(_ path: String) -> ToolError {
        ToolError("anchor-damaged", "\(path) is no anchor of an audit log: it was damaged or replaced, so nothing can be said of the log's end")
    }
}

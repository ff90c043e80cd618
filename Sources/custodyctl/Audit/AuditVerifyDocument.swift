import ByteEncoding
import Custody
import ToolSupport

/// What `audit verify` found, as it is printed.
struct AuditVerifyDocument: Encodable {
    struct Checkpoints: Encodable {
        let inLog: Int
        let verified: Int
    }
    struct Window: Encodable {
        let lines: UInt64
        let since: String?
    }
    struct Stretch: Encodable {
        let lines: UInt64
        let seconds: Double
    }
    struct Anchor: Encodable {
        let place: String
        let sequence: UInt64
        let finding: String
    }
    /// A key whose word was believed, and why.
    struct Key: Encodable {
        let id: String
        let label: String
        let version: UInt32
        /// What CKA_LOCAL says; absent if the token does not tell.
        let createdHere: Bool?
        let proof: String
        /// False if no trial to take it out of the token was refused.
        let proven: Bool
    }
    /// An object that only bears an audit key's label.
    struct Unbelieved: Encodable {
        let id: String
        let label: String
        let reason: String

        init(_ stranger: AuditKeys.Stranger) { (id, label, reason) = (hexadecimal(stranger.id), AuditKey.label, stranger.reason) }
    }
    struct Problem: Encodable {
        let code: String
        let file: String?
        let line: Int?
        let sequence: UInt64?
        let message: String
    }

    let whole: Bool
    /// False for the chain alone: who computed it is not proven.
    let tokenAsked: Bool
    let files: Int
    let lines: UInt64
    let log: String?
    let firstSequence: UInt64?
    let lastSequence: UInt64?
    let firstTime: String?
    let lastTime: String?
    let beginsAtBeginning: Bool
    let checkpoints: Checkpoints
    /// Covered by a checkpoint; vouched for by the token only if it was asked.
    let coveredUpTo: UInt64?
    let coveredAt: String?
    let window: Window
    let longestStretch: Stretch
    let anchors: [Anchor]
    /// The token's audit keys. Empty if it was not asked.
    let auditKeys: [Key]
    let unbelieved: [Unbelieved]
    let problems: [Problem]
    /// Nothing is known of the lines after the problem.
    let stopped: Bool
    let skippedFiles: [String]
    let remarks: [String]

    /// - Parameter keys: What the token holds as audit keys; nil if it was not asked.
    init(_ report: AuditVerification, keys: AuditKeys?, remarks: [String], skipped: [String]) {
        whole = report.isWhole
        tokenAsked = keys != nil
        auditKeys = keys?.believed.map {
            Key(
                id: $0.id.description, label: AuditKey.label, version: $0.id.version, createdHere: $0.isLocal, proof: $0.proof,
                proven: $0.trial.isProof)
        } ?? []
        unbelieved = keys?.strangers.map(Unbelieved.init) ?? []
        files = report.files
        lines = report.lines
        log = report.log.map { hexadecimal($0) }
        firstSequence = report.firstSequence
        lastSequence = report.lastSequence
        firstTime = report.firstTime?.description
        lastTime = report.lastTime?.description
        beginsAtBeginning = report.beginsAtBeginning
        checkpoints = Checkpoints(inLog: report.checkpoints, verified: report.verifiedCheckpoints)
        coveredUpTo = report.coveredUpTo
        coveredAt = report.coveredAt?.description
        window = Window(lines: report.windowLines, since: report.windowSince?.description)
        longestStretch = Stretch(lines: report.longestStretch.lines, seconds: report.longestStretch.seconds)
        anchors = report.anchors.map { Anchor(place: $0.anchor.place, sequence: $0.anchor.checkpoint.sequence, finding: $0.finding.word) }
        problems = report.problems.map {
            Problem(code: $0.code.rawValue, file: $0.file, line: $0.line, sequence: $0.sequence, message: $0.message)
        }
        stopped = report.isStopped
        skippedFiles = skipped
        self.remarks = remarks + report.remarks + (keys?.strangers.map(\.text) ?? [])
    }

    func show() {
        if let first = problems.first {
            Output.say("NOT WHOLE: \(first.message)")
            for other in problems.dropFirst() { Output.say("  and: \(other.message)") }
            if stopped, problems.last?.line != nil { Output.say("  Reading stopped there: what follows a break proves nothing.") }
            Output.say("")
        } else {
            Output.say(tokenAsked ? "The log is whole.\n" : "The lines fit each other. Nothing more is proven, see below.\n")
        }
        var table = Table(indent: 2)
        table.add("read", "\(lines) \(lines == 1 ? "line" : "lines") of \(files) \(files == 1 ? "file" : "files")" + (log.map { ", log \($0)" } ?? ""))
        if let firstSequence, let lastSequence {
            table.add("sequence", "\(firstSequence) to \(lastSequence)")
            table.add("time", "\(firstTime ?? "") to \(lastTime ?? "")")
            if !beginsAtBeginning { table.add("beginning", "begins at line \(firstSequence); earlier lines were not given") }
        }
        table.add("checkpoints", tokenAsked ? "\(checkpoints.verified), verified by the token" : "\(checkpoints.inLog), whose MACs were not checked")
        if let coveredUpTo {
            table.add(tokenAsked ? "vouched for" : "covered", "up to sequence \(coveredUpTo), by a checkpoint of \(coveredAt ?? "")")
            table.add("longest wait", "\(longestStretch.lines) lines, \(longestStretch.seconds) s until a checkpoint covered them")
        }
        if !stopped, let since = window.since {
            table.add("window", "\(window.lines) \(window.lines == 1 ? "line" : "lines") at the end, since \(since), that no checkpoint covers yet")
        }
        for key in auditKeys { table.add("believed", "audit key version \(key.version), CKA_ID \(key.id): \(key.proof)") }
        for anchor in anchors { table.add("anchor", "\(anchor.place), sequence \(anchor.sequence): \(anchor.finding.replacing("-", with: " "))") }
        table.show()
        if !skippedFiles.isEmpty {
            Output.say("\nCompressed files were skipped; give them by a pipe (`zcat FILE... | custodyctl audit verify - FILE`): \(skippedFiles.joined(separator: ", "))")
        }
        for remark in remarks { Output.say("\nNote: \(remark)") }
        if !tokenAsked {
            Output.say("""

                Without the token, --chain-only does not prove that the daemon wrote these lines: whoever can write the file \
                can change it and compute all hashes and checkpoints anew. Run it without --chain-only for proof.
                """)
        }
    }
}

extension AuditVerification.AnchorFinding {
    fileprivate var word: String {
        switch self {
        case .fits: "fits"
        case .beforeFirstLine: "before-first-line"
        case .ofAnotherLog: "of-another-log"
        }
    }
}

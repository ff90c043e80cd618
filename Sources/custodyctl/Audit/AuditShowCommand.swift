import ArgumentParser
import Custody
import Foundation
import ToolSupport

/// `audit show`: looks things up in the log.
struct AuditShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Look up who used which key when, and trace a blob.",
        discussion: """
            Shows what stands in the log and says nothing of trust: `custodyctl audit verify` does. Without files it reads \
            the configuration's audit log and what rotation made of its predecessors. All filters must fit. Times are UTC.

            Who opened this blob, and what became of it:
              custodyctl audit show --blob-file backup.blob

            Example: custodyctl audit show --since 7d --tenant acme --decision denied
            """)

    @Argument(help: ArgumentHelp("Files of the log in any order; - for standard input.", valueName: "file"))
    var files: [String] = []

    @OptionGroup var filter: AuditFilterOptions

    @Option(help: ArgumentHelp("Only the last ones that fit.", valueName: "count"))
    var last: Int?

    @Flag(help: "Print the lines as they stand in the log.")
    var lines = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if let last, last < 1 { throw ValidationError("--last is a number from 1") }
        if lines, common.json { throw ValidationError("give --json or --lines, not both") }
    }

    func run() throws {
        let filter = try AuditFilter(filter)
        let opened = try OpenAuditFiles.opened(files, common)
        for path in opened.skipped { Output.complain("\(path) is compressed and was skipped; give it by a pipe: zcat \(path) | custodyctl audit show -") }
        var found: [ArraySlice<UInt8>] = []
        var strange = 0
        try opened.forEachLine { _, bytes in
            guard let line = AuditLine(bytes) else {
                strange += 1
                return true
            }
            guard filter.fits(line) else { return true }
            // A copy of its own, so that it does not keep the reader's buffer.
            found.append(Array(line.bytes)[...])
            // In steps, since the first element's removal moves all others.
            if let last, found.count - last >= max(last, 1_000) { found.removeFirst(found.count - last) }
            return true
        }
        if let last, found.count > last { found.removeFirst(found.count - last) }
        if strange > 0 { Output.complain("\(strange) lines are no records of an audit log and were left out; `custodyctl audit verify` names the first") }
        try show(found)
    }

    private func show(_ found: [ArraySlice<UInt8>]) throws {
        if common.json {
            let array = [UInt8(ascii: "[")] + found.map { [0x0A] + $0 }.joined(separator: [UInt8(ascii: ",")]) + Array("\n]".utf8)
            return try Output.json(document: array)
        }
        if lines {
            // A program that checks the chain wants the very bytes; a terminal must not act on them.
            let isTerminal = isatty(STDOUT_FILENO) == 1
            for line in found { try isTerminal ? Output.json(document: Array(line)) : Output.write(line + [0x0A]) }
            return
        }
        guard !found.isEmpty else { return Output.say("No line fits.") }
        var table = Table(["TIME", "SEQ", "WHO", "OPERATION", "KEY", "CONTEXT", "DECISION", "WHY"], widest: 160)
        for bytes in found {
            guard let line = AuditLine(bytes) else { continue }
            let operation = line.event ?? line.text("operation") ?? ""
            let decision = line.event == nil ? line.text("decision") ?? "" : "-"
            table.add(row: [
                "\(line.time.description)", "\(line.sequence)", line.who, "\(operation)",
                line.keyVersion, line.entries("context"), "\(decision)", "\(line.why)",
            ])
        }
        table.show()
    }
}

extension AuditLine {
    fileprivate var who: DisplayText {
        guard let uid = number("uid") else { return "" }
        let user: DisplayText = text("user").map { name -> DisplayText in "\(name)" } ?? "uid \(uid)"
        return texts("on_behalf_of").isEmpty ? user : user + " for " + entries("on_behalf_of")
    }

    fileprivate var keyVersion: DisplayText {
        guard let name = text("key") else { return "" }
        guard let version = number("version") else { return "\(quoted: name)" }
        return "\(quoted: name) v\(version)"
    }

    /// What clients say: none of it looks like another entry, or another column.
    fileprivate func entries(_ name: String) -> DisplayText {
        texts(name).map { entry -> DisplayText in "\(quoted: entry.key)=\(quoted: entry.value)" }.joined(separator: " ")
    }

    fileprivate var why: String {
        guard event == nil else {
            // Hashes are for verify.
            return scalars(except: ["time", "sequence", "event", "hash", "previous", "covered_hash", "mac"]).map { "\($0.name)=\($0.value)" }.joined(separator: " ")
        }
        let error = [text("error"), text("reason")].compactMap { $0 }.joined(separator: ": ")
        return error.isEmpty ? text("rule") ?? "" : error
    }
}

import ArgumentParser
import FaultMatrix
import Foundation

/// Runs the matrix of faults, or some of its cells, and prints how they went.
@main
struct FaultsTool: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custody-faults",
        abstract: "Hold every fault of the HSM against what the daemon must do about it.",
        discussion: """
            A cell is a function of PKCS#11, what goes wrong with it, and when: custodyd runs on a SoftHSM token behind a module \
            that spoils what it is told to, under the requests of clients that check every answer.
            """)

    @Option(help: "Only cells of this function, such as C_Encrypt; token for those of none.")
    var function: String?
    @Option(help: "Only cells of this return value or trouble, such as CKR_DEVICE_ERROR or hang.")
    var code: String?
    @Option(help: "Only cells of this phase: first, mid-life or load.")
    var phase: String?
    @Flag(help: "Only the cells that every run of the tests has.")
    var slice = false
    @Option(help: "How many daemons run side by side.")
    var stands = 8
    @Flag(help: "Print the cells and those that are not made, and run none.")
    var list = false
    @Option(help: "A folder for what the daemons of failed cells have said.")
    var logs: String?
    @Flag(help: "Name each cell as it is done.")
    var verbose = false

    func run() async throws {
        var matrix = slice ? Matrix.slice : Matrix()
        matrix.keep(function: function, code: code, phase: phase)
        if list {
            for cell in matrix.cells { print(cell) }
            for (cell, reason) in Matrix.unmade { print("not made: \(cell): \(reason)") }
            return
        }
        let (isVerbose, logs) = (verbose, logs)
        let report = try await matrix.run(stands: stands) { result in
            if let logs, !result.isPassed {
                let name = "\(result.cell)".replacing("/", with: "_")
                try? Data(result.daemonLog.utf8).write(to: URL(fileURLWithPath: "\(logs)/\(name).log"))
            }
            guard isVerbose || !result.isPassed else { return }
            let line = "\(result.isPassed ? "ok" : "FAILED") \(result.cell) \(result.problems.joined(separator: "; "))\n"
            FileHandle.standardError.write(Data(line.utf8))
        }
        print(report.text)
        for (cell, reason) in Matrix.unmade { print("not made: \(cell): \(reason)") }
        if !report.isPassed { throw ExitCode(1) }
    }
}

import ArgumentParser
import ToolSupport

/// What data commands have in common.
struct DataOptions: ParsableArguments {
    /// All of it is held in memory.
    static let limit = 64 * 1_048_576

    @Option(name: .customLong("associated-data"), help: ArgumentHelp(
        "What the data belong to, such as people/17/card; not secret, and needed again to open them.", valueName: "text"))
    var associatedData = ""

    @OptionGroup var files: InputOutputFiles

    func read() throws -> [UInt8] { try files.read(limit: Self.limit, advice: "encrypt it in parts") }
}

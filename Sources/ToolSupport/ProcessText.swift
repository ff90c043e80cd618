import ByteEncoding
import CSystemShim
import Foundation

/// What the process was started with has to be text: Swift puts replacement characters in the place of bytes that are none, so that
/// different arguments would become one, and a blob bound to one name would open for another.
enum ProcessText {
    /// The variables that the tools or their libraries read as text.
    private static let variables = ["CUSTODY_", "AWS_", "PG", "LISTEN_", "WATCHDOG_", "NOTIFY_SOCKET=", "JOURNAL_STREAM=", "CREDENTIALS_DIRECTORY=", "HOME="]

    /// The arguments after the program's name, as main got them: Swift's own reads them from /proc, and where that isn't mounted it has
    /// none, so that a command would be another one.
    ///
    /// - Throws: ``ToolError`` that names the first argument or variable that is no text, and the byte in it.
    static func arguments() throws(ToolError) -> [String] {
        guard csystem_argument(0) != nil else {
            throw ToolError("no-arguments", "the system does not tell this program's arguments; nothing was done", exit: ToolExit.system)
        }
        var arguments: [String] = []
        while let argument = csystem_argument(arguments.count + 1) {
            if let fault = fault(argument) {
                throw .usage("argument \(arguments.count + 1) is refused: \(fault). Nothing was done; give it in UTF-8")
            }
            arguments.append(String(decoding: bytes(argument), as: UTF8.self))
        }
        try checkEnvironment()
        return arguments
    }

    /// Whether one of the arguments is this one, be the others text or not.
    static func hasArgument(_ wanted: String) -> Bool {
        var index = 1
        while let argument = csystem_argument(index) {
            if strcmp(argument, wanted) == 0 { return true }
            index += 1
        }
        return false
    }

    private static func checkEnvironment() throws(ToolError) {
        var index = 0
        while let entry = csystem_environment_entry(index) {
            index += 1
            guard variables.contains(where: { strncmp(entry, $0, strlen($0)) == 0 }), let equals = strchr(entry, Int32(UInt8(ascii: "="))) else {
                continue
            }
            if let fault = fault(equals + 1) {
                let name = String(decoding: bytes(entry).prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
                throw .usage("the environment variable \(name) is refused: byte \(fault.offset + 1) of its value belongs to no character of UTF-8. Nothing was done; set it anew, or unset it")
            }
        }
    }

    private static func fault(_ text: UnsafePointer<CChar>) -> NotUTF8? { NotUTF8.first(in: bytes(text)) }

    private static func bytes(_ text: UnsafePointer<CChar>) -> [UInt8] {
        UnsafeBufferPointer(start: text, count: strlen(text)).map(UInt8.init(bitPattern:))
    }
}

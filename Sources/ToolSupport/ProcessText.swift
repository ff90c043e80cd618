import ByteEncoding
import CSystemShim
import Foundation

/// What the process was started with has to be text: Swift puts replacement characters in the place of bytes that are none, so that
/// different arguments would become one, and a blob bound to one name would open for another.
enum ProcessText {
    /// The variables that the tools or their libraries read as text.
    private static let variables = ["CUSTODY_", "AWS_", "PG", "LISTEN_", "WATCHDOG_", "NOTIFY_SOCKET=", "JOURNAL_STREAM=", "CREDENTIALS_DIRECTORY=", "HOME="]

    /// - Throws: ``ToolError`` that names the first argument or variable that is no text, and the byte in it.
    static func check() throws(ToolError) {
        for position in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[position] else { break }
            if let fault = fault(argument) {
                throw .usage("argument \(position) is refused: \(fault). Nothing was done; give it in UTF-8")
            }
        }
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

import Foundation
import Testing

/// What no command may do past the one place that does it rightly.
@Suite struct SourceRuleTests {
    private static let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources")

    /// Lines of code, by file below Sources.
    private func lines(matching pattern: Regex<Substring>, except files: Set<String>) throws -> [String] {
        let names = try #require(FileManager.default.enumerator(atPath: Self.sources.path)).compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }
        try #require(names.count > 200)
        return try names.sorted().filter { !files.contains($0) && !$0.hasSuffix(".pb.swift") }.flatMap { name in
            try String(contentsOf: Self.sources.appending(path: name), encoding: .utf8).split(separator: "\n")
                .filter { !$0.drop { $0 == " " }.hasPrefix("//") && $0.contains(pattern) }.map { "\(name): \($0)" }
        }
    }

    /// Whatever is printed goes through what escapes it.
    @Test func nothingIsPrintedElsewhere() throws {
        let found = try lines(
            matching: /(?:^|[^.\w])(?:print|debugPrint|puts|fputs|fwrite|printf|vprintf)\(|(?:standardOutput|standardError)\.write|STDERR_FILENO,|STDOUT_FILENO,/,
            except: [
                "ToolSupport/Output.swift", "ToolSupport/Screen.swift",
                // A pipe's kind is asked, and the MEK's bytes go into it.
                "custody-mek/Envelope/OpenCommand.swift",
                // Asks where it leads to.
                "CustodyServer/ServiceManager/JournalLogHandler.swift",
            ])
        #expect(found == [])
    }

    /// Bytes that should be text are refused if they are none, and not repaired; but for what only a person reads, and what is ASCII.
    @Test func noTextIsRepaired() throws {
        let found = try lines(
            matching: /String\(decoding:/,
            except: [
                // Digits and JSON of our own.
                "ByteEncoding/Hexadecimal.swift", "TenantStorage/TenantRow.swift", "MasterKey/Tenants/Identifier.swift",
                // Looked at before.
                "Custody/Audit/Reading/AuditLine.swift", "Custody/Keys/KeyName.swift", "TOML/Parser+Strings.swift", "TOML/Scanner.swift", "ToolSupport/ProcessText.swift", "AWSKMS/Credentials/ProfileFile.swift", "AWSKMS/Wire/RequestBody.swift",
                // An error's text.
                "AWSKMS/Wire/ErrorAnswer.swift", "PKCS11/TokenURI.swift", "custodyctl/Setup/HostCommand.swift", "custodyctl/Support/FreshProcess.swift",
                // For people; what names a token or a key is compared by its bytes, or by an alphabet that has no such character.
                "PKCS11/SlotAndTokenInfo.swift", "PKCS11/Attribute.swift",
            ])
        #expect(found == [])
    }
}

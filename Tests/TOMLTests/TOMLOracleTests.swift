import Foundation
import TestSupport
import Testing

@testable import TOML

/// Python's tomllib reads all of TOML 1.0: what is read here means the same there.
@Suite struct TOMLOracleTests {
    /// Reads documents in hexadecimal, a line each, and writes what they say.
    private static let oracle = """
        import struct, sys, tomllib
        def say(value):
            if isinstance(value, bool): return 'b%d' % value
            if isinstance(value, int): return 'i%d' % value
            if isinstance(value, float): return 'fnan' if value != value else 'f' + struct.pack('>d', value).hex()
            if isinstance(value, str): return 's' + value.encode().hex()
            if isinstance(value, list): return '[' + ','.join(map(say, value)) + ']'
            if isinstance(value, dict): return '{' + ','.join(sorted(key.encode().hex() + '=' + say(item) for key, item in value.items())) + '}'
            return 'other'
        for line in open(sys.argv[1]):
            try: print(say(tomllib.loads(bytes.fromhex(line).decode())))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError): print('refused')
        """

    private func say(_ value: TOMLValue) -> String {
        switch value {
        case .string(let text): "s" + hexadecimal(text)
        case .integer(let number): "i\(number)"
        case .float(let number):
            number.isNaN ? "fnan" : "f" + (0..<16).reversed().map { String(number.bitPattern >> (4 * $0) & 0xF, radix: 16) }.joined()
        case .boolean(let value): value ? "b1" : "b0"
        case .array(let values): "[" + values.map(say).joined(separator: ",") + "]"
        case .table(let table):
            "{" + table.entries.map { hexadecimal($0.key) + "=" + say($0.value) }.sorted().joined(separator: ",") + "}"
        }
    }

    private func hexadecimal(_ text: String) -> String { hexadecimal(Array(text.utf8)) }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 0xF, radix: 16) }.joined()
    }

    private func read(_ bytes: [UInt8]) -> String {
        do throws(TOMLError) {
            return say(.table(try TOMLDocument.read(bytes)))
        } catch {
            return "refused: \(error)"
        }
    }

    private func oracle(_ documents: [[UInt8]]) async throws -> [String] {
        let directory = try TemporaryDirectory()
        let file = try directory.write("documents", documents.map { hexadecimal($0) + "\n" }.joined())
        let result = try await run("python3", arguments: ["-c", Self.oracle, file])
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        let lines = result.output.split(separator: "\n").map(String.init)
        try #require(lines.count == documents.count)
        return lines
    }

    private static let seeds: Range<UInt64> = 0..<3_000

    /// Of the subset: both read it and say the same, or both refuse it.
    @Test func documentsOfTheSubset() async throws {
        let documents = Self.seeds.map { Array(RandomDocument(seed: $0).text.utf8) }
        let answers = try await oracle(documents)
        for (document, answer) in zip(documents, answers) {
            let own = read(document)
            #expect(own == answer || answer == "refused" && own.hasPrefix("refused"), "\(String(decoding: document, as: UTF8.self))")
        }
        // Enough of both that it shows something.
        #expect(answers.count { $0 == "refused" } > 300)
        #expect(answers.count { $0 != "refused" } > 300)
    }

    /// Of anything near it: what is read here is read there, and says the same.
    @Test func damagedDocuments() async throws {
        let documents = Self.seeds.map { seed in
            var document = RandomDocument(seed: seed)
            return document.damaged()
        }
        let answers = try await oracle(documents)
        var taken = 0
        for (document, answer) in zip(documents, answers) {
            let own = read(document)
            if own.hasPrefix("refused") { continue }
            taken += 1
            #expect(own == answer, "\(String(decoding: document, as: UTF8.self))")
        }
        #expect(taken > 100)
    }
}

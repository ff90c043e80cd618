import Foundation
import TestSupport

/// What one run of a program gave.
struct Reply: Sendable {
    let command: String
    let status: ExitStatus
    /// Standard output, byte by byte.
    let bytes: [UInt8]
    let errors: String

    var text: String { String(decoding: bytes, as: UTF8.self) }
    /// Without the white space at both ends.
    var trimmed: String { text.trimmingCharacters(in: .whitespacesAndNewlines) }

    /// The document of `--json`; its standard output holds nothing else.
    var json: JSON {
        get throws {
            do { return try JSON(text) } catch { throw unexpected("its output is not one JSON document") }
        }
    }

    /// Itself, if it ended with this code.
    func exiting(_ code: Int32 = 0) throws -> Reply {
        guard status == .exited(code) else { throw unexpected("it should have ended with \(code)") }
        return self
    }

    func unexpected(_ why: String) -> Unexpected {
        Unexpected(description: "\(command): \(why), it ended with \(status)\nstdout:\n\(text.prefix(2_000))\nstderr:\n\(errors)")
    }
}

/// A program did something else than the test needs.
struct Unexpected: Error, CustomStringConvertible {
    let description: String
}

/// What `custodyctl --json` says of an error.
struct Refusal: Sendable {
    let code: String
    let message: String

    /// - Throws: Unless the document and standard error say the same, as they have to.
    init(_ reply: Reply) throws {
        let error = try reply.json["error"]
        guard let code = error["code"].string, let message = error["message"].string else {
            throw reply.unexpected("its document is not that of an error")
        }
        guard reply.errors.hasPrefix("custodyctl: ") else { throw reply.unexpected("standard error does not name the program") }
        self.code = code
        self.message = message
    }
}

/// Makes a table of a document: its lines, headers and keys. Values have files of their own.
struct Parser {
    /// A key or a name in a header.
    struct Name {
        let text: String
        let place: Scanner.Place
    }

    var scanner: Scanner
    private var builder = DocumentBuilder()

    /// - Parameter bytes: Checked by ``Characters``.
    init(_ bytes: [UInt8]) { scanner = Scanner(bytes) }

    mutating func document() throws(TOMLError) -> TOMLTable {
        while true {
            scanner.skipBlanksCommentsAndLineEnds()
            guard scanner.next != nil else { return builder.finish() }
            if scanner.isNext("[") { try header() } else { try assignment() }
            scanner.skipBlanksAndComment()
            guard scanner.isAtLineEnd else {
                throw scanner.error("nothing else may follow on this line, but \(scanner.sight); a text needs quotes, a comment begins with '#'")
            }
        }
    }

    /// `[name]` or `[[name]]`.
    private mutating func header() throws(TOMLError) {
        let place = scanner.place
        scanner.advance()
        // By TOML these brackets stand together.
        let isElement = scanner.take("[")
        let end = isElement ? "]]" : "]"
        var path: [Name] = []
        repeat {
            scanner.skipBlanks()
            path.append(try name("a header names its table, such as [server] or [[grant]]"))
            guard path.count <= TOMLDocument.depthLimit else {
                throw scanner.error("a header has at most \(TOMLDocument.depthLimit) names", at: place)
            }
            scanner.skipBlanks()
        } while scanner.take(".")
        guard scanner.starts(with: end) else { throw scanner.error("this header ends with '\(end)', but \(scanner.sight)") }
        scanner.advance(end.utf8.count)
        do throws(DocumentBuilder.Clash) {
            try builder.open(path.map(\.text), isElement: isElement, line: place.line)
        } catch {
            throw scanner.error(error.message, at: path[error.index].place)
        }
    }

    /// `key = value`.
    private mutating func assignment() throws(TOMLError) {
        let (key, value) = try pair(depth: 0)
        do throws(DocumentBuilder.Clash) {
            try builder.insert(key.text, value, line: key.place.line)
        } catch {
            throw scanner.error(error.message, at: key.place)
        }
    }

    /// A key with its value, in a line or in an inline table.
    mutating func pair(depth: Int) throws(TOMLError) -> (Name, TOMLValue) {
        let key = try name("a key is expected here, such as the one in: socket = \"...\"")
        scanner.skipBlanks()
        if scanner.isNext(".") {
            throw scanner.error("keys with dots are not read: put quotes around the key if the dot belongs to it, or give the table a header, [table]")
        }
        guard scanner.take("=") else { throw scanner.error("'=' is expected behind the key \(TOMLError.quote(key.text)), but \(scanner.sight)") }
        scanner.skipBlanks()
        return (key, try value(depth: depth))
    }

    private mutating func name(_ expected: String) throws(TOMLError) -> Name {
        let place = scanner.place
        if scanner.isNext("\"") { return Name(text: try basicString(), place: place) }
        if scanner.isNext("'") { return Name(text: try literalString(), place: place) }
        let text = scanner.take { Self.isOfBareKey($0) }
        guard !text.isEmpty else {
            throw scanner.error("\(expected), but \(scanner.sight); bare keys are of A-Z a-z 0-9 _ -, others need quotes")
        }
        return Name(text: text, place: place)
    }

    private static func isOfBareKey(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }
}

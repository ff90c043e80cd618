/// Reads documents in a subset of TOML 1.0 (https://toml.io/en/v1.0.0), strictly.
///
/// There are comments, `[tables]`, `[[arrays of tables]]`, bare and quoted keys, strings in `"` and `'`, decimal integers,
/// floats, booleans, arrays over any number of lines and inline tables. There are no strings in three quotes, dates and times,
/// dotted keys outside of headers, and numbers in other bases. All that is accepted means the same as in TOML 1.0.
///
/// Reading takes a time in proportion to the length. What recurs is bounded, and so no document is too much for the stack.
public enum TOMLDocument {
    /// Bytes of a document.
    public static let sizeLimit = 1_048_576
    /// How many names a header may have, and how deep arrays and inline tables may nest.
    public static let depthLimit = 8

    /// - Parameter bytes: UTF-8 text.
    /// - Throws: ``TOMLError`` for the first thing that is no such document.
    public static func read(_ bytes: [UInt8]) throws(TOMLError) -> TOMLTable {
        guard bytes.count <= sizeLimit else {
            throw TOMLError(line: 1, column: 1, message: "the file has more than \(sizeLimit) bytes, which is the most that is read")
        }
        try Characters.check(bytes)
        var parser = Parser(bytes)
        return try parser.document()
    }
}

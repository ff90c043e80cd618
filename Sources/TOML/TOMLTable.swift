/// A table of a document: what a header begins, what stands between braces, or the document itself.
public struct TOMLTable: Sendable, Equatable {
    /// A key with its value.
    public struct Entry: Sendable, Equatable {
        public let key: String
        public let value: TOMLValue
        /// The line of the key, or of the header that begins the table.
        public let line: Int
    }

    /// The line on which it begins.
    public let line: Int
    /// Whether it stands between braces.
    public let isInline: Bool
    /// In the order of the document.
    public let entries: [Entry]
    private let places: [String: Int]

    /// - Parameter places: Of each key, where it stands in `entries`.
    init(line: Int, isInline: Bool, entries: [Entry], places: [String: Int]) {
        self.line = line
        self.isInline = isInline
        self.entries = entries
        self.places = places
    }

    public func entry(_ key: String) -> Entry? { places[key].map { entries[$0] } }

    public subscript(key: String) -> TOMLValue? { entry(key)?.value }
}

/// A value of a document.
public enum TOMLValue: Sendable, Equatable {
    case string(String)
    case integer(Int)
    case float(Double)
    case boolean(Bool)
    /// Written between brackets, or tables with a header each.
    case array([TOMLValue])
    case table(TOMLTable)

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var integer: Int? { if case .integer(let value) = self { value } else { nil } }
    public var float: Double? { if case .float(let value) = self { value } else { nil } }
    public var boolean: Bool? { if case .boolean(let value) = self { value } else { nil } }
    public var array: [TOMLValue]? { if case .array(let value) = self { value } else { nil } }
    public var table: TOMLTable? { if case .table(let value) = self { value } else { nil } }
}

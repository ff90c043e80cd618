import TOMLKit

/// Reads one table of the configuration, key by key; what is wrong is collected, not thrown, so that a person sees all of
/// it at once. A key that nobody asked for is a mistake too.
final class TableReader {
    let path: String
    private let table: TOMLTable
    private let problems: ProblemList
    private var known: Set<String> = []

    init(_ table: TOMLTable, path: String, problems: ProblemList) {
        self.table = table
        self.path = path
        self.problems = problems
    }

    func string(_ key: String, expected: String = "a string", default fallback: String? = nil) -> String? {
        read(key, expected, fallback) { $0.string }
    }

    func bool(_ key: String, default fallback: Bool) -> Bool {
        read(key, "true or false", fallback) { $0.bool } ?? fallback
    }

    func int(_ key: String, in range: ClosedRange<Int>, default fallback: Int) -> Int {
        let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        return read(key, expected, fallback) { value in value.int.flatMap { range.contains($0) ? $0 : nil } } ?? fallback
    }

    /// A whole number does for it as well.
    func double(_ key: String, in range: ClosedRange<Double>, default fallback: Double) -> Double {
        let expected = "a number from \(range.lowerBound) to \(range.upperBound)"
        return read(key, expected, fallback) { value in
            (value.double ?? value.int.map(Double.init)).flatMap { range.contains($0) ? $0 : nil }
        } ?? fallback
    }

    /// Reads a key that may be left out.
    func optional<T>(_ key: String, _ read: (String) -> T?) -> T? {
        known.insert(key)
        return has(key) ? read(key) : nil
    }

    func strings(_ key: String, expected: String = "an array of strings", default fallback: [String]? = nil) -> [String]? {
        read(key, expected, fallback) { value in
            guard let array = value.array else { return nil }
            let strings = array.compactMap { $0.string }
            return strings.count == array.count ? strings : nil
        }
    }

    func stringTable(_ key: String) -> [String: String] {
        read(key, "a table of strings, such as { name = \"value\" }", [:]) { value in
            guard let table = value.table else { return nil }
            var strings: [String: String] = [:]
            for name in table.keys {
                guard let string = table[name]?.string else { return nil }
                strings[name] = string
            }
            return strings
        } ?? [:]
    }

    /// A sub-table; an empty one if it is not there.
    func table(_ key: String) -> TableReader {
        let sub = read(key, "a table, [\(join(key))]", TOMLTable()) { $0.table } ?? TOMLTable()
        return TableReader(sub, path: join(key), problems: problems)
    }

    /// An array of tables.
    func tables(_ key: String) -> [TableReader] {
        let array = read(key, "tables, [[\(join(key))]]", TOMLArray()) { $0.array } ?? TOMLArray()
        return array.enumerated().compactMap { index, value in
            let path = "\(join(key))[\(index)]"
            guard let table = value.table else {
                problems.add(path, "\(key) must be tables, [[\(join(key))]]")
                return nil
            }
            return TableReader(table, path: path, problems: problems)
        }
    }

    func has(_ key: String) -> Bool { table[key] != nil }

    func problem(_ key: String, _ message: String) { problems.add(join(key), message) }

    /// Where the table stands, such as `custody.toml:14`, or `custody.toml:5 (grant 2)` if it has no line of its own.
    var place: String { problems.place(path) }

    /// Reports the keys that were not asked for.
    func finish() {
        for key in table.keys where !known.contains(key) {
            let list = known.sorted().joined(separator: ", ")
            problems.add(join(key), "'\(key)' is not known here; known are \(list)")
        }
    }

    private func read<T>(_ key: String, _ expected: String, _ fallback: T?, _ convert: (any TOMLValueConvertible) -> T?) -> T? {
        known.insert(key)
        guard let value = table[key] else {
            if fallback == nil { problems.add(path, "'\(key)' is missing; expected is \(expected)") }
            return fallback
        }
        if let converted = convert(value) { return converted }
        problems.add(join(key), "'\(key)' must be \(expected)")
        return fallback
    }

    private func join(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

/// Collects what is wrong, with its place.
final class ProblemList {
    private let file: String
    private let document: TOMLDocument
    private(set) var problems: [ConfigurationError.Problem] = []

    init(file: String, document: TOMLDocument) {
        self.file = file
        self.document = document
    }

    func add(_ path: String, _ message: String) {
        problems.append(.init(file: file, line: document.line(of: path), message: message, path: path))
    }

    func place(_ path: String) -> String {
        let name = file.split(separator: "/").last.map(String.init) ?? file
        let place = document.line(of: path).map { "\(name):\($0)" } ?? name
        // Tables such as `grant = [{ ... }, { ... }]` share a line.
        let parts = path.split { "[]".contains($0) }
        guard !document.hasLine(path), parts.count == 2, let index = Int(parts[1]) else { return place }
        return "\(place) (\(parts[0]) \(index + 1))"
    }
}

import TOML

/// Reads one table of the configuration, key by key; what is wrong is collected, not thrown, so that a person sees all of
/// it at once. A key that nobody asked for is a mistake too.
final class TableReader {
    let path: String
    /// nil for one that is not there.
    private let table: TOMLTable?
    /// Where what concerns the table as a whole is told: its own line, or of the nearest thing around it that has one.
    private let line: Int?
    private let problems: ProblemList
    private var known: Set<String> = []

    /// - Parameter document: The whole file, which as a whole has no line.
    init(_ document: TOMLTable, problems: ProblemList) {
        table = document
        path = ""
        line = nil
        self.problems = problems
    }

    /// - Parameter key: In the table around it.
    private init(_ table: TOMLTable?, _ key: String, path: String, in parent: TableReader) {
        self.table = table
        self.path = path
        line = table?.line ?? parent.line(of: key)
        problems = parent.problems
    }

    func string(_ key: String, expected: String = "a string", default fallback: String? = nil) -> String? {
        read(key, expected, fallback) { $0.string }
    }

    func bool(_ key: String, default fallback: Bool) -> Bool {
        read(key, "true or false", fallback) { $0.boolean } ?? fallback
    }

    func int(_ key: String, in range: ClosedRange<Int>, default fallback: Int) -> Int {
        let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        return read(key, expected, fallback) { value in value.integer.flatMap { range.contains($0) ? $0 : nil } } ?? fallback
    }

    /// A whole number does for it as well.
    func double(_ key: String, in range: ClosedRange<Double>, default fallback: Double) -> Double {
        let expected = "a number from \(range.lowerBound) to \(range.upperBound)"
        return read(key, expected, fallback) { value in
            (value.float ?? value.integer.map(Double.init)).flatMap { range.contains($0) ? $0 : nil }
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
            let strings = array.compactMap(\.string)
            return strings.count == array.count ? strings : nil
        }
    }

    func stringTable(_ key: String) -> [String: String] {
        read(key, "a table of strings, such as { name = \"value\" }", [:]) { value in
            guard let table = value.table else { return nil }
            var strings: [String: String] = [:]
            for entry in table.entries {
                guard let string = entry.value.string else { return nil }
                strings[entry.key] = string
            }
            return strings
        } ?? [:]
    }

    /// A sub-table; an empty one if it is not there.
    func table(_ key: String) -> TableReader {
        let sub = optional(key) { read($0, "a table, [\(join($0))]", nil) { $0.table } }
        return TableReader(sub, key, path: join(key), in: self)
    }

    /// An array of tables.
    func tables(_ key: String) -> [TableReader] {
        let array = read(key, "tables, [[\(join(key))]]", []) { $0.array } ?? []
        return array.enumerated().compactMap { index, value in
            let path = "\(join(key))[\(index)]"
            guard let table = value.table else {
                problems.add(line(of: key), path, "\(key) must be tables, [[\(join(key))]]")
                return nil
            }
            return TableReader(table, key, path: path, in: self)
        }
    }

    func has(_ key: String) -> Bool { table?.entry(key) != nil }

    /// - Parameter key: What it is about; empty for the table as a whole.
    func problem(_ key: String, _ message: String) {
        if key.isEmpty { problems.add(line, path, message) } else { problems.add(line(of: key), join(key), message) }
    }

    /// Where the table stands, such as `custody.toml:14`, or `custody.toml:5 (grant 2)` if it may share its line with others.
    var place: String {
        let place = problems.place(line)
        let parts = path.split { "[]".contains($0) }
        guard table?.isInline == true, parts.count == 2, let index = Int(parts[1]) else { return place }
        return "\(place) (\(parts[0]) \(index + 1))"
    }

    /// Reports the keys that were not asked for.
    func finish() {
        let strangers = table?.entries.filter { !known.contains($0.key) } ?? []
        guard !strangers.isEmpty else { return }
        let list = known.sorted().joined(separator: ", ")
        for entry in strangers {
            problems.add(entry.line, join(entry.key), "'\(entry.key)' is not known here; known are \(list)")
        }
    }

    private func read<T>(_ key: String, _ expected: String, _ fallback: T?, _ convert: (TOMLValue) -> T?) -> T? {
        known.insert(key)
        guard let value = table?[key] else {
            if fallback == nil { problems.add(line, path, "'\(key)' is missing; expected is \(expected)") }
            return fallback
        }
        if let converted = convert(value) { return converted }
        problem(key, "'\(key)' must be \(expected)")
        return fallback
    }

    private func line(of key: String) -> Int? { table?.entry(key)?.line ?? line }

    private func join(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}

/// Collects what is wrong, with its place.
final class ProblemList {
    private let file: String
    private(set) var problems: [ConfigurationError.Problem] = []

    init(file: String) { self.file = file }

    func add(_ line: Int?, _ path: String, _ message: String) {
        problems.append(.init(file: file, line: line, message: message, path: path))
    }

    func place(_ line: Int?) -> String {
        let name = file.split(separator: "/").last.map(String.init) ?? file
        return line.map { "\(name):\($0)" } ?? name
    }
}

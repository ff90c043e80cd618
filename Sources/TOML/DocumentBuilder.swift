/// Holds the tables of a document while it is read: headers come in any order, and each adds to what is there.
///
/// Tables and lists are named by their numbers, so that each is changed where it stands, however many there are.
struct DocumentBuilder {
    /// What TOML does not let stand beside what was there before.
    struct Clash: Error {
        let message: String
        /// Which name of the header it is about.
        var index = 0
    }

    private enum Content {
        case value(TOMLValue)
        case table(Int)
        /// An array of tables.
        case list(Int)
    }

    private struct Slot {
        var line: Int
        let content: Content
    }

    private struct Node {
        var line: Int
        /// Whether it has had its header, which it has once. Without one it is there because of the header of a table in it.
        var isDefined: Bool
        var keys: [String] = []
        var slots: [String: Slot] = [:]
    }

    private var nodes = [Node(line: 1, isDefined: true)]
    private var lists: [[Int]] = []
    /// The table that keys belong to.
    private var current = 0

    mutating func insert(_ key: String, _ value: TOMLValue, line: Int) throws(Clash) {
        // Keys that look alike (canonically equivalent) are one here: a person could not tell them apart either.
        if let slot = nodes[current].slots[key] {
            throw Clash(message: "the key \(TOMLError.quote(key)) is in this table already, in line \(slot.line)")
        }
        add(key, Slot(line: line, content: .value(value)), to: current)
    }

    /// Begins the table of a header.
    mutating func open(_ path: [String], isElement: Bool, line: Int) throws(Clash) {
        var node = 0
        for (index, name) in path.dropLast().enumerated() { node = try step(into: name, of: node, index, line) }
        guard let name = path.last else { return }
        current = try isElement ? openElement(name, of: node, path.count - 1, line) : openTable(name, of: node, path.count - 1, line)
    }

    private mutating func step(into name: String, of node: Int, _ index: Int, _ line: Int) throws(Clash) -> Int {
        guard let slot = nodes[node].slots[name] else { return addTable(name, to: node, isDefined: false, line) }
        switch slot.content {
        case .table(let table): return table
        case .list(let list): return lists[list][lists[list].count - 1]
        case .value: throw Clash(message: "\(TOMLError.quote(name)) has a value in line \(slot.line), so no header can add to it", index: index)
        }
    }

    private mutating func openTable(_ name: String, of node: Int, _ index: Int, _ line: Int) throws(Clash) -> Int {
        guard let slot = nodes[node].slots[name] else { return addTable(name, to: node, isDefined: true, line) }
        guard case .table(let table) = slot.content, !nodes[table].isDefined else {
            let instead = if case .list = slot.content { "write [[...]] for one more" } else { "put all its keys together" }
            throw Clash(message: "\(TOMLError.quote(name)) is there already, in line \(slot.line); \(instead)", index: index)
        }
        nodes[table].isDefined = true
        nodes[table].line = line
        nodes[node].slots[name]?.line = line
        return table
    }

    private mutating func openElement(_ name: String, of node: Int, _ index: Int, _ line: Int) throws(Clash) -> Int {
        let element = nodes.count
        if let slot = nodes[node].slots[name] {
            guard case .list(let list) = slot.content else {
                throw Clash(message: "\(TOMLError.quote(name)) is there already, in line \(slot.line), and is no array of tables", index: index)
            }
            lists[list].append(element)
        } else {
            add(name, Slot(line: line, content: .list(lists.count)), to: node)
            lists.append([element])
        }
        nodes.append(Node(line: line, isDefined: true))
        return element
    }

    private mutating func addTable(_ name: String, to node: Int, isDefined: Bool, _ line: Int) -> Int {
        add(name, Slot(line: line, content: .table(nodes.count)), to: node)
        nodes.append(Node(line: line, isDefined: isDefined))
        return nodes.count - 1
    }

    private mutating func add(_ key: String, _ slot: Slot, to node: Int) {
        nodes[node].keys.append(key)
        nodes[node].slots[key] = slot
    }

    /// The document.
    func finish() -> TOMLTable { table(0) }

    /// It recurs as deep as headers have names.
    private func table(_ index: Int) -> TOMLTable {
        let node = nodes[index]
        var places: [String: Int] = [:]
        let entries = node.keys.compactMap { key in node.slots[key].map { TOMLTable.Entry(key: key, value: value($0.content), line: $0.line) } }
        for (place, entry) in entries.enumerated() { places[entry.key] = place }
        return TOMLTable(line: node.line, isInline: false, entries: entries, places: places)
    }

    private func value(_ content: Content) -> TOMLValue {
        switch content {
        case .value(let value): value
        case .table(let index): .table(table(index))
        case .list(let list): .array(lists[list].map { .table(table($0)) })
        }
    }
}

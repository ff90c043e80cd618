/// Aligned columns for people. No colours: the output is the same on a terminal and in a pipe.
package struct Table {
    private let header: [String]?
    private var rows: [[String]] = []
    private let indent: String

    package init(_ header: [String]? = nil, indent: Int = 0) {
        self.header = header
        self.indent = String(repeating: " ", count: indent)
    }

    package mutating func add(_ cells: String...) { rows.append(cells.map(Self.printable)) }

    package func show() { for line in lines { print(line) } }

    /// The lines, each without its line feed.
    package var lines: [String] {
        let lines = (header.map { [$0] } ?? []) + rows
        var widths: [Int] = []
        for line in lines {
            for (column, cell) in line.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return lines.map { line in
            var text = indent
            for (column, cell) in line.enumerated() {
                text += cell
                // No blanks at the ends of lines.
                if line[(column + 1)...].contains(where: { !$0.isEmpty }) { text += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            return text
        }
    }

    /// Labels come from the token, which anybody may have written: no control characters reach the terminal.
    package static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0 != "\n" && $0.properties.generalCategory == .control ? "\u{FFFD}" : $0 }))
    }
}

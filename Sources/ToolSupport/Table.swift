import ByteEncoding

/// Aligned columns for people. No colours: the output is the same on a terminal and in a pipe.
package struct Table {
    private let header: [String]?
    private var rows: [[String]] = []
    private let indent: String

    package init(_ header: [String]? = nil, indent: Int = 0) {
        self.header = header
        self.indent = String(repeating: " ", count: indent)
    }

    /// Adds a row. Cells are escaped: labels come from the token and contexts from clients, which anybody may have written.
    package mutating func add(_ cells: String...) { rows.append(cells.map(VisibleText.escaped)) }

    package func show() { Output.say(lines) }

    /// The lines, each without its line feed.
    package var lines: [DisplayText] {
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
            return DisplayText(escaped: text)
        }
    }
}

import ByteEncoding

/// Aligned columns for people. No colours: the output is the same on a terminal and in a pipe.
package struct Table {
    private let header: [String]?
    private var rows: [[String]] = []
    private let indent: String
    private let widest: Int

    /// No cell has more characters than this, and no column is wider than ``widestColumn``: whoever writes one long value must not make
    /// every row as long.
    private static let longestCell = 4_096
    private static let widestColumn = 160

    /// - Parameter widest: Cells are cut to this, but for a row's last, on which no other waits.
    package init(_ header: [String]? = nil, indent: Int = 0, widest: Int = 4_096) {
        self.header = header
        self.widest = widest
        self.indent = String(repeating: " ", count: indent)
    }

    /// Adds a row. Cells are escaped: labels come from the token and contexts from clients, which anybody may have written.
    package mutating func add(_ cells: String...) { add(row: cells.map { "\($0)" }) }

    /// Adds a row of cells that are made already.
    package mutating func add(row cells: [DisplayText]) {
        rows.append(cells.enumerated().map { Self.cut($1.text, to: $0 == cells.count - 1 ? Self.longestCell : widest) })
    }

    /// With how much is missing. By scalars, of which a character may have any number.
    private static func cut(_ text: String, to most: Int) -> String {
        // A text has no more scalars than bytes.
        guard text.utf8.count > most else { return text }
        let count = text.unicodeScalars.count
        guard count > most else { return text }
        let kept = most - 16
        return String(text.unicodeScalars.prefix(kept)) + "…(+\(count - kept))"
    }

    package func show() { Output.say(lines) }

    /// The lines, each without its line feed.
    package var lines: [DisplayText] {
        let lines = (header.map { [$0] } ?? []) + rows
        var widths: [Int] = []
        for line in lines {
            for (column, cell) in line.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = min(max(widths[column], cell.count), Self.widestColumn)
            }
        }
        return lines.map { line in
            var text = indent
            for (column, cell) in line.enumerated() {
                text += cell
                // No blanks at the ends of lines.
                if line[(column + 1)...].contains(where: { !$0.isEmpty }) { text += String(repeating: " ", count: max(0, widths[column] - cell.count) + 2) }
            }
            return DisplayText(escaped: text)
        }
    }
}

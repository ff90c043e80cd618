import Foundation

/// One look after the other at the same thing: each in the place of the one before on a terminal, one below the other elsewhere.
package enum Screen {
    package static func show(_ lines: [DisplayText]) {
        guard isatty(STDOUT_FILENO) == 1 else { return Output.say(lines + [""]) }
        var size = winsize()
        let height = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 1 ? Int(size.ws_row) - 1 : lines.count
        let width = size.ws_col > 0 ? Int(size.ws_col) : 200
        // From the top left corner, each line to its end, and nothing below.
        let text = lines.prefix(height).map { "\($0.text.prefix(width))\u{1B}[K" }.joined(separator: "\r\n")
        try? FileHandle.standardOutput.write(contentsOf: Data("\u{1B}[H\(text)\u{1B}[J".utf8))
    }
}

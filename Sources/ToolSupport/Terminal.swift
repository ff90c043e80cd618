import ByteEncoding
import Glibc
import SecureMemory

/// Questions to a person at the terminal.
///
/// Keys that would end or stop the process are read as characters: the module may be initialised and the echo off, and
/// both have to be put right before the process ends.
package enum Terminal {
    package static var isInteractive: Bool { isatty(0) == 1 }

    /// Asks on /dev/tty without echo; nil if there is no terminal.
    package static func secret(_ prompt: DisplayText) throws(ToolError) -> SecretBytes? {
        guard let bytes = try line(prompt, echo: false) else { return nil }
        defer { bytes.zeroize() }
        guard (1...256).contains(bytes.count) else {
            throw ToolError("pin-unavailable", "a PIN has 1 to 256 bytes, nothing was changed", exit: ToolExit.configuration)
        }
        return SecretBytes(bytes)
    }

    /// Asks on /dev/tty with echo; nil if there is no terminal.
    package static func answer(_ prompt: DisplayText) throws(ToolError) -> String? {
        guard let bytes = try line(prompt, echo: true) else { return nil }
        do throws(NotUTF8) {
            return try String(strictUTF8: bytes)
        } catch {
            throw .usage("the answer is refused: \(error). Nothing was changed")
        }
    }

    private static func line(_ prompt: DisplayText, echo: Bool) throws(ToolError) -> [UInt8]? {
        let tty = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard tty >= 0 else { return nil }
        defer { close(tty) }
        var before = termios()
        guard tcgetattr(tty, &before) == 0 else { return nil }
        var raw = before
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
        guard tcsetattr(tty, TCSAFLUSH, &raw) == 0 else { return nil }
        defer { tcsetattr(tty, TCSAFLUSH, &before) }
        put(tty, Array(prompt.text.utf8))
        defer { put(tty, [0x0A]) }

        // Reserved, so that no growth leaves a copy behind.
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        while true {
            var byte: UInt8 = 0
            let count = read(tty, &byte, 1)
            if count < 0 && errno == EINTR { continue }
            guard count == 1 else { throw cancelled(&bytes) }
            switch byte {
            case 0x0A, 0x0D: return bytes
            case 0x03, 0x04, 0x1A, 0x1C: throw cancelled(&bytes)
            case 0x08, 0x7F:
                // A character of UTF-8 goes as a whole.
                while let last = bytes.popLast(), last & 0xC0 == 0x80 {}
                if echo { put(tty, [0x08, 0x20, 0x08]) }
            default:
                guard bytes.count < 512 else { continue }
                bytes.append(byte)
                // A key that sends control characters must not act on the screen.
                if echo { put(tty, byte < 0x20 ? [UInt8(ascii: "?")] : [byte]) }
            }
        }
    }

    private static func cancelled(_ bytes: inout [UInt8]) -> ToolError {
        bytes.zeroize()
        return ToolError("cancelled", "cancelled; nothing was changed")
    }

    private static func put(_ tty: Int32, _ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { write(tty, $0.baseAddress, $0.count) }
    }
}

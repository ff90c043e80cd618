/// What journald does with its socket.
public final class JournalDouble: Sendable {
    private let socket: DatagramSocket

    public init(_ path: String) throws { socket = try DatagramSocket(path) }

    /// The fields of the next entry.
    public func receive() throws -> [String: String] {
        var fields: [String: String] = [:]
        for line in try socket.receiveBytes().split(separator: 0x0A) {
            let text = String(decoding: line, as: UTF8.self)
            guard let sign = text.firstIndex(of: "=") else { continue }
            fields[String(text[..<sign])] = String(text[text.index(after: sign)...])
        }
        return fields
    }
}

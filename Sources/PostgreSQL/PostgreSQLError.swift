import Foundation

/// Why libpq or the server refused something. No password is ever part of it.
public struct PostgreSQLError: Error, Sendable, CustomStringConvertible {
    /// The function of libpq that failed.
    public enum Function: String, Sendable {
        case parse = "PQconninfoParse"
        case defaults = "PQconndefaults"
        case connect = "PQconnect"
        case execute = "PQsendQueryParams"
    }

    public var function: Function
    /// The five characters by which the server classes the error; nil if it did not come from the server.
    public var sqlState: String?
    public var message: String
    /// The connection is of no use any more.
    public var isConnectionLost: Bool
    /// The server did not answer within the statement's limit. What it was told it may do all the same; the connection is
    /// lost.
    public var hasTimedOut: Bool

    public init(
        _ function: Function, sqlState: String? = nil, _ message: String, isConnectionLost: Bool = false, hasTimedOut: Bool = false
    ) {
        self.function = function
        self.sqlState = sqlState
        self.message = message
        self.isConnectionLost = isConnectionLost || hasTimedOut
        self.hasTimedOut = hasTimedOut
    }

    public var description: String { sqlState.map { "\(message) (SQLSTATE \($0))" } ?? message }
}

extension PostgreSQLError {
    /// What libpq says of a failed connection, in the verbose form: the only one that has the SQLSTATE, for which libpq has
    /// no function before the connection stands.
    ///
    ///     connection to server on socket "..." failed: FATAL:  28P01: password authentication failed for user "u"
    ///     LOCATION:  auth_failed, auth.c:335
    init(connecting text: String, needsPassword: Bool) {
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("LOCATION:") }
        var state: String?
        var shown: [String] = []
        for line in lines {
            var parts = line.components(separatedBy: ": ")
            if let index = parts.firstIndex(where: Self.isSQLState) {
                state = parts[index].trimmed
                parts.remove(at: index)
            }
            shown.append(parts.map(\.trimmed).joined(separator: ": "))
        }
        // The server asked for a password and there was none: libpq gave up before the server could.
        if state == nil, needsPassword { state = "28P01" }
        self.init(.connect, sqlState: state, shown.joined(separator: "; "), isConnectionLost: true)
    }

    private static func isSQLState(_ part: String) -> Bool {
        let text = part.trimmed
        return text.utf8.count == 5 && text.utf8.contains { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            }
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}

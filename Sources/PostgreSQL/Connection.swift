import CPostgreSQL
import Glibc

/// A connection to a server; closed when its owner lets it go. Every call blocks.
// Unchecked: libpq allows a connection to be used by any thread, one at a time. It has one owner, and what uses it mutates it.
public struct Connection: ~Copyable, @unchecked Sendable {
    private let handle: OpaquePointer
    private let notices: Notices
    /// Whether an answer is still to come that nobody waits for any more.
    private var hasTimedOut = false

    /// Collects what the server says beside a statement's result.
    // libpq calls it in the middle of a call of ours and at no other time, so that the connection's owner is its owner, too.
    private final class Notices {
        var details: [String] = []
    }

    /// Connects, within `connect_timeout` for each of the hosts.
    public init(_ settings: ConnectionSettings) throws(PostgreSQLError) {
        guard let handle = settings.start() else { throw PostgreSQLError(.connect, "out of memory", isConnectionLost: true) }
        let notices = Notices()
        // They would go to standard error.
        PQsetNoticeReceiver(
            handle,
            { context, result in
                guard let context, let text = PQresultErrorField(result, Int32(UnicodeScalar("D").value)) else { return }  // PG_DIAG_MESSAGE_DETAIL
                Unmanaged<Notices>.fromOpaque(context).takeUnretainedValue().details.append(String(cString: text))
            }, Unmanaged.passUnretained(notices).toOpaque())
        if PQstatus(handle) != CONNECTION_BAD {
            // Only verbose messages have the SQLSTATE, and how verbose they are can be set on a begun connection only.
            // Then it is made from the start, since PQconnectPoll knows of no timeout.
            PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
            PQreset(handle)
        }
        guard PQstatus(handle) == CONNECTION_OK else {
            let error = PostgreSQLError(
                connecting: String(cString: PQerrorMessage(handle)), needsPassword: PQconnectionNeedsPassword(handle) != 0)
            PQfinish(handle)
            throw error
        }
        PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
        // Sending must not wait any longer than receiving; it can fail only where there is something to send.
        _ = PQsetnonblocking(handle, 1)
        self.handle = handle
        self.notices = notices
    }

    deinit { PQfinish(handle) }

    /// Whether libpq has noticed that the connection is lost, or a statement was not answered in time.
    public var isLost: Bool { hasTimedOut || PQstatus(handle) != CONNECTION_OK }

    /// Runs one statement; parameters are `$1`, `$2` and so on.
    ///
    /// - Parameter limit: How long to wait for the server; nil for as long as the connection stands. Past it the connection
    ///   is of no use any more, and whether the statement is carried out is open.
    public mutating func query(
        _ sql: String, _ parameters: [Value] = [], within limit: Duration? = nil
    ) throws(PostgreSQLError) -> QueryResult {
        guard !hasTimedOut else { throw PostgreSQLError(.execute, "an earlier statement was not answered", isConnectionLost: true) }
        notices.details = []
        let deadline = limit.map { ContinuousClock.now + $0 }
        guard send(sql, parameters) else { throw failure(nil) }
        let answer = receive(until: deadline)
        guard answer.isWhole else {
            hasTimedOut = true
            PQclear(answer.result)
            let time = limit.map { " within \($0)" } ?? ""
            throw PostgreSQLError(.execute, "the server did not answer in time\(time)", hasTimedOut: true)
        }
        let result = answer.result
        defer { PQclear(result) }
        let status = PQresultStatus(result)
        guard status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK else { throw failure(result) }
        let rows = (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in Self.field(result, row, column) }
        }
        let tag = PQcmdStatus(result).map { String(cString: $0) } ?? ""
        let affected = PQcmdTuples(result).flatMap { Int(String(cString: $0)) } ?? 0
        return QueryResult(rows: rows, affected: affected, tag: tag, details: notices.details)
    }

    /// Begins a statement.
    private func send(_ sql: String, _ parameters: [Value]) -> Bool {
        // All in one piece, so that one pointer holds for all of them. None is empty: that would be a pointer to nothing.
        var bytes: [UInt8] = [0]
        var places: [Range<Int>?] = []
        for parameter in parameters {
            guard let binary = parameter.binary else {
                places.append(nil)
                continue
            }
            places.append(bytes.count..<bytes.count + binary.count)
            bytes += binary
            bytes.append(0)
        }
        return bytes.withUnsafeBytes { buffer in
            let values = places.map { place in
                place.flatMap { buffer.baseAddress?.advanced(by: $0.lowerBound).assumingMemoryBound(to: CChar.self) }
            }
            return PQsendQueryParams(
                handle, sql, Int32(parameters.count), parameters.map { Oid($0.typeID) }, values,
                places.map { Int32(clamping: $0?.count ?? 0) }, parameters.map { _ in 1 }, 1) == 1
        }
    }

    /// The statement's result, and whether it came before the deadline.
    private func receive(until deadline: ContinuousClock.Instant?) -> (result: OpaquePointer?, isWhole: Bool) {
        var kept: OpaquePointer?
        while wait(until: deadline) {
            guard let result = PQgetResult(handle) else { return (kept, true) }
            // After an error comes the end of the connection at most, and the first says why.
            if kept != nil, PQresultStatus(kept) == PGRES_FATAL_ERROR {
                PQclear(result)
                continue
            }
            PQclear(kept)
            kept = result
            // A COPY has no further result before its data; nobody here runs one.
            if [PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH].contains(PQresultStatus(result)) { return (kept, true) }
        }
        return (kept, false)
    }

    /// Waits until libpq has a result, or knows that none will come.
    ///
    /// - Returns: Whether that was before the deadline.
    private func wait(until deadline: ContinuousClock.Instant?) -> Bool {
        while true {
            let isUnsent = PQflush(handle) == 1
            // If there is nothing to read from any more, PQgetResult says why.
            guard PQconsumeInput(handle) == 1, PQisBusy(handle) == 1, PQsocket(handle) >= 0 else { return true }
            var patience: Int32 = -1
            if let deadline {
                let left = ContinuousClock.now.duration(to: deadline)
                guard left > .zero else { return false }
                // Rounded up, so that it does not come back too early again and again.
                patience = Int32(min(left / .milliseconds(1), 1e9)) + 1
            }
            var socket = pollfd(fd: PQsocket(handle), events: Int16(isUnsent ? POLLIN | POLLOUT : POLLIN), revents: 0)
            // Whatever it says, a signal's interruption among it: the next round looks for itself.
            _ = poll(&socket, 1, patience)
        }
    }

    private static func field(_ result: OpaquePointer?, _ row: Int32, _ column: Int32) -> Value {
        guard PQgetisnull(result, row, column) == 0, let start = PQgetvalue(result, row, column) else { return .null }
        let bytes = UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, row, column)))
        return Value(typeID: PQftype(result, column), binary: Array(bytes))
    }

    private func failure(_ result: OpaquePointer?) -> PostgreSQLError {
        func field(_ code: UnicodeScalar) -> String? {
            PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
        }
        let state = field("C")  // PG_DIAG_SQLSTATE
        let message = field("M") ?? String(cString: PQerrorMessage(handle))  // PG_DIAG_MESSAGE_PRIMARY
        // 57P01 to 57P05: the server ends the session, whether or not libpq has seen the end of the stream yet.
        return PostgreSQLError(
            .execute, sqlState: state, message.split(separator: "\n").joined(separator: " "),
            isConnectionLost: isLost || state?.hasPrefix("57P") == true)
    }
}

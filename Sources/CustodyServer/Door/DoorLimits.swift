import Custody

/// What clients may take of the daemon. Each has its setting in `[server]`, which the message to whoever is past it names.
struct DoorLimits: Sendable {
    var connections: Int
    var connectionsPerUser: Int
    var connectsPerSecond: Int
    /// Connections beyond `connections` for root and the daemon's own user: an operator gets in however many others came.
    var reservedConnections = 8
    var requestsInFlight: Int
    var requestsInFlightPerUser: Int
    var memory: Int
    var memoryPerUser: Int
    var memoryPerConnection: Int
    /// What every user may have, also when all memory is taken.
    var memoryForEverybody = 65_536
    var frameTimeout: Duration
    var writeTimeout: Duration
    var idleTimeout: Duration?
    var defaultDeadline: Duration
    var longestDeadline: Duration

    init(_ server: Configuration.Server) {
        connections = server.connections
        connectionsPerUser = server.connectionsPerUser
        connectsPerSecond = server.connectsPerSecond
        requestsInFlight = server.requestsInFlight
        requestsInFlightPerUser = server.requestsInFlightPerUser
        memory = server.memory
        memoryPerUser = server.memoryPerUser
        memoryPerConnection = server.memoryPerConnection
        frameTimeout = server.frameTimeout
        writeTimeout = server.writeTimeout
        idleTimeout = server.idleTimeout
        defaultDeadline = server.defaultDeadline
        longestDeadline = server.longestDeadline
    }

    /// How many descriptors may be in use when a connection comes: the others are for the audit log, the state, the PIN's file
    /// and the HSM's module, to which a missing descriptor can look like a missing key.
    static func descriptorsForConnections(of limit: Int) -> Int { limit - min(128, limit / 4) }

    /// Lowers the number of connections to what the process' limit of open files has room for. Returns that limit if it was
    /// too low.
    mutating func fit(intoDescriptors limit: Int) -> Int? {
        let room = max(1, Self.descriptorsForConnections(of: limit) - reservedConnections)
        guard limit > 0, connections > room else { return nil }
        connections = room
        connectionsPerUser = min(connectionsPerUser, room)
        return limit
    }
}

import MasterKey
import PostgreSQL

extension ConnectionSettings {
    /// Has the server prove by TLS that it is the host that was named, before it is told a user's name or given a password:
    /// for every server that may be on another machine, unless the address itself says something weaker by `sslmode`. What the
    /// environment and service files say does not count: it is too easily somebody else's word, or from another time.
    ///
    /// libpq's own default, `prefer`, goes on in clear with whoever answers that he has no TLS.
    ///
    /// - Returns: Whether this is demanded though the address does not say so.
    mutating func demandVerifiedServer() throws(PostgreSQLError) -> Bool {
        guard values["sslmode", default: ""].isEmpty else { return false }
        guard try !hosts().allSatisfy(Self.isLocal) else { return false }
        set("sslmode", "verify-full")
        // libpq would take Kerberos' encryption in place of TLS where it can have that.
        if values["gssencmode", default: ""].isEmpty { set("gssencmode", "disable") }
        return true
    }

    /// Whether it is this machine: a Unix socket, or an address of the loopback network.
    private static func isLocal(_ host: String) -> Bool {
        host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") || LoopbackHost.contains(host)
    }

    static let advice = "a PostgreSQL server on another machine has to prove by TLS who it is (sslmode=verify-full): put the certificate of its authority into ~/.postgresql/root.crt, or name the file by sslrootcert=FILE in the address; less than that has to be said in the address, such as sslmode=require"
}

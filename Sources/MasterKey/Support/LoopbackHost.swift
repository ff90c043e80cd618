import Foundation

/// Whether what is sent to a host stays on this machine: the one rule for every service that is connected to, since what need
/// not leave the machine is all that may go without TLS.
package enum LoopbackHost {
    /// Whether this is `localhost` or an address of the loopback network; false for whatever is not surely one.
    ///
    /// - Parameter host: A name, or an address without brackets.
    package static func contains(_ host: String) -> Bool {
        // inet_pton would read up to it.
        guard !host.utf8.contains(0) else { return false }
        if host.lowercased().utf8.elementsEqual("localhost".utf8) || host == "::1" { return true }
        // An address and not a name: 127.evil.example is somebody else's.
        var address = in_addr()
        return inet_pton(AF_INET, host, &address) == 1 && UInt32(bigEndian: address.s_addr) >> 24 == 127
    }
}

import ByteEncoding
import CSystemShim
import Glibc

/// The listening socket that a service manager opened for the daemon (sd_listen_fds(3)). The kernel keeps it, and whoever waits
/// in it, while the daemon restarts.
struct PassedSocket: Equatable {
    /// What the socket unit calls it: FileDescriptorName=.
    static let name = "custody"
    private static let firstDescriptor: Int32 = 3

    let descriptor: Int32
    /// Where clients find it.
    let path: String

    /// Takes the socket that was passed to this process; nil if none was. The variables that tell of it are removed: they are
    /// not for what a PKCS#11 module may start.
    ///
    /// - Throws: ``ListenError`` if what was passed is not one listening Unix socket of that name.
    static func take(process: pid_t = getpid()) throws(ListenError) -> PassedSocket? {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        guard variable("LISTEN_PID") == String(process), let count = variable("LISTEN_FDS").flatMap({ Int32($0) }), count > 0 else {
            return nil
        }
        let names = variable("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        let descriptor = try choose(names: names, count: count)
        var path = [CChar](repeating: 0, count: 128)
        let failure = csystem_adopt_listener(descriptor, &path, path.count)
        guard failure == 0 else {
            throw ListenError(
                description: "what the service manager passes as '\(name)' is not a listening Unix stream socket; give the socket unit one ListenStream= with a path")
        }
        do throws(NotUTF8) {
            return PassedSocket(descriptor: descriptor, path: try String(strictUTF8: path.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))))
        } catch {
            throw ListenError(description: "the path of the socket that the service manager passes is refused: \(error)")
        }
    }

    /// Which of so many descriptors is the one; whoever passes one only need not name it.
    static func choose(names: [String]?, count: Int32) throws(ListenError) -> Int32 {
        guard let names, names.count == count else {
            guard count == 1 else {
                throw ListenError(
                    description: "the service manager passes \(count) sockets without names; set FileDescriptorName=\(name) in the socket unit")
            }
            return firstDescriptor
        }
        let indices = names.indices.filter { names[$0] == name }
        guard let index = indices.first, indices.count == 1 else {
            throw ListenError(
                description: "the service manager passes the sockets \(names.joined(separator: ", ")); custodyd takes exactly one that is called '\(name)': set FileDescriptorName=\(name) in the socket unit, with one ListenStream=")
        }
        return firstDescriptor + Int32(index)
    }
}

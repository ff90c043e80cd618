import Glibc

/// Why a file or folder can't be used, or must not be: somebody else could have made it what it is.
package struct FileFailure: Error, Sendable, CustomStringConvertible {
    package let description: String
    /// The errno; nil for what is there and is not trusted.
    package let code: Int32?

    /// - Parameter step: What could not be done, such as `write /var/lib/custody/x`.
    init(_ step: String, errno code: Int32) {
        description = "can't \(step): \(String(cString: strerror(code)))"
        self.code = code
    }

    /// - Parameter reason: What is wrong with it, and what to do.
    init(refusing path: String, _ reason: String) {
        description = "\(path) \(reason)"
        code = nil
    }
}

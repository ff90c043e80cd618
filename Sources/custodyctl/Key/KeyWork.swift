import ByteEncoding
import Custody
import Glibc
import PKCS11
import ToolSupport

/// The same done to several versions: one that fails does not keep the others from their turn, since who disables a whole
/// key wants as much of it off as can be.
enum KeyWork {
    /// - Throws: The first failure, with what was done and what was not.
    static func each<R>(
        _ keys: [KeyObject], done: String, _ body: (KeyObject) throws(CustodyError) -> R
    ) throws -> [R] {
        var results: [R] = []
        var finished: [KeyObject] = []
        var failures: [(key: KeyObject, error: CustodyError)] = []
        for key in keys {
            do throws(CustodyError) {
                results.append(try body(key))
                finished.append(key)
            } catch {
                failures.append((key, error))
            }
        }
        guard let first = failures.first else { return results }
        var error = ToolError(first.error)
        if keys.count > 1 {
            error.message += "; \(done): \(list(finished)); not \(done): \(list(failures.map(\.key)))"
        }
        throw error
    }

    /// Has what was changed on the disk, whatever came of it, before anything is said: not every module sees to it.
    static func synced<R>(_ body: () throws -> R) throws -> R {
        let result = Result { try body() }
        sync()
        return try result.get()
    }

    private static func list(_ keys: [KeyObject]) -> String {
        keys.isEmpty ? "none" : keys.map { $0.id.map { "version \($0.version)" } ?? hexadecimal($0.idBytes) }.joined(separator: ", ")
    }
}

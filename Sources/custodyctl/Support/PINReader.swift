import ArgumentParser
import Custody
import Glibc
import SecureMemory
import ToolSupport

/// Where one PIN of a command comes from: a descriptor, a file, the configuration's file, or a person at the terminal;
/// never an argument, which every user of the machine can read.
struct PINReader {
    /// Such as "user PIN"; for prompts and errors.
    let what: String
    /// The flags' common beginning, such as `--so-pin`.
    let flag: String
    let file: String?
    let descriptor: Int32?
    /// The file that the configuration names; asked for at the terminal if it does not exist.
    var fallback: PINSource?
    /// A new PIN is typed twice.
    var isNew = false

    var isGiven: Bool { file != nil || descriptor != nil }

    func validate() throws(ValidationError) {
        if file != nil, descriptor != nil { throw ValidationError("give \(flag)-file or \(flag)-fd, not both") }
        if let descriptor, descriptor < 0 {
            throw ValidationError("\(flag)-fd is the number of an open descriptor, not \(descriptor)")
        }
    }

    func read() throws(ToolError) -> SecretBytes {
        if let descriptor {
            guard let pin = PINSource.read(descriptor: descriptor) else {
                throw unavailable("descriptor \(descriptor) of \(flag)-fd must be open and hold the \(what), 1 to 256 bytes on one line")
            }
            return pin
        }
        if let file { return try read(PINSource(path: file)) }
        if let fallback, access(fallback.path, F_OK) == 0 || errno != ENOENT { return try read(fallback) }
        guard let pin = try Terminal.secret("\(what): ") else {
            let missing = fallback.map { "; the configuration's PIN file \($0.path) does not exist" } ?? ""
            throw unavailable("no \(what) is given: use \(flag)-file FILE or \(flag)-fd N, or run this at a terminal to be asked\(missing)")
        }
        if isNew {
            guard let again = try Terminal.secret("\(what) again: "), again.isEqual(to: pin) else {
                throw unavailable("the two entries of the \(what) differ; nothing was changed")
            }
        }
        return pin
    }

    private func read(_ source: PINSource) throws(ToolError) -> SecretBytes {
        do {
            return try source.read()
        } catch {
            throw unavailable(error.message)
        }
    }

    private func unavailable(_ message: String) -> ToolError {
        ToolError("pin-unavailable", message, exit: ToolExit.configuration)
    }
}

import Custody
import Foundation
import PKCS11
import SecureMemory
import ToolSupport

/// Finds and activates a new key from a process that never saw it being made.
///
/// Some tokens answer C_GenerateKey from their memory. What a process finds that initialises the module from nothing is
/// on the token.
enum FreshProcess {
    /// Call after C_Finalize: nothing of the module may live on in a child.
    ///
    /// - Parameters:
    ///   - pin: Goes to the child's standard input, where no other user can see it.
    ///   - reactivate: Also if all other versions were taken out of use.
    /// - Returns: False if another process has made a version of the same number: the key was destroyed again.
    /// - Throws: ``ToolError`` if the child does not find the key, or the proof of custody fails there.
    static func findKey(
        _ name: String, _ id: KeyID, on token: TokenInfo, _ access: TokenAccess, pin: SecretBytes, reactivate: Bool
    ) throws -> Bool {
        // What was written goes to the disk now: not every module sees to it.
        sync()
        var arguments = [
            FindKeyCommand.commandName, "--module", access.module, "--token", TokenURI(token).string, "--name", name,
            "--id", id.description,
        ]
        if let text = access.initializationString { arguments += ["--initialization-string", text] }
        if reactivate { arguments.append("--reactivate") }

        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe")
        process.arguments = arguments
        let input = Pipe()
        let errors = Pipe()
        process.standardInput = input
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        func unproven(_ why: String) -> ToolError {
            ToolError(
                "key-not-durable",
                "the token made key '\(name)' (CKA_ID \(id)), but a fresh process could not find, prove and activate it; it is disabled, unless that failed at the very end: see `custodyctl key show \(name)`, destroy it with `custodyctl key destroy` if it is disabled, and make another: \(why)")
        }
        do {
            try process.run()
        } catch {
            throw unproven("the process could not be started: \(error)")
        }
        let writer = input.fileHandleForWriting
        let isWritten = pin.withBytes { span in
            span.withUnsafeBytes { write(writer.fileDescriptor, $0.baseAddress, $0.count) == $0.count }
        }
        try? writer.close()
        let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        if process.terminationReason == .exit, process.terminationStatus == ToolExit.busy { return false }
        if process.terminationReason == .exit, process.terminationStatus == ToolExit.notFitting {
            sync()
            throw KeyProvisioner.outOfUse(name)
        }
        guard isWritten, process.terminationReason == .exit, process.terminationStatus == 0 else {
            let lines = said.trimmingCharacters(in: .whitespacesAndNewlines)
            throw unproven(lines.isEmpty ? "it ended with status \(process.terminationStatus)" : lines)
        }
        // The activation, too.
        sync()
        return true
    }
}

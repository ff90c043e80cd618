import ArgumentParser
import Custody
import Glibc
import PKCS11
import ToolSupport

/// `audit init`: the key that vouches for the log.
struct AuditInitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make the key on the token by which checkpoints of the audit log are authenticated.",
        discussion: """
            Does nothing if there is one. With --rotate it makes the next version, which daemons use from their next start; \
            older versions go on proving older checkpoints, so don't remove them.

            Example: custodyctl audit init
            """)

    private struct Document: Encodable {
        let token: String
        let label: String
        let version: UInt32
        let id: String
        /// False if there was one already.
        let made: Bool
        let exportTrial: String
        let foundAgain = true
    }

    @Flag(help: "Make a new version although there is one.")
    var rotate = false

    @OptionGroup var common: CommonOptions

    func run() throws {
        let access = try common.tokenAccess()
        let (key, isNew, proof, token, pin) = try access.withUserSession(readWrite: true) { _, token, session, pin in
            if !rotate, let key = try AuditKey.find(session) {
                return (key, false, try AuditKeyProvisioner.prove(key.object, session), token, pin)
            }
            let (key, proof) = try AuditKeyProvisioner.make(session)
            return (key, true, proof, token, pin)
        }
        if isNew {
            // What was written goes to the disk now: not every module sees to it. What a module finds that starts from
            // nothing is on the token.
            sync()
            try access.withModule { module in
                let session = try module.openSession(token.slot, readWrite: access.onlyReadWrite)
                try access.logIn(session, pin, token)
                guard let found = try AuditKey.find(session), found.id == key.id else {
                    throw ToolError("key-not-durable", "the token made the audit key (CKA_ID \(key.id)), but does not show it after a new start of its module")
                }
                _ = try AuditKeyProvisioner.prove(found.object, session)
            }
        }
        let document = Document(
            token: TokenURI(token).string, label: AuditKey.label, version: key.id.version, id: key.id.description, made: isNew,
            exportTrial: proof.trial.isRefusal ? "refused" : "cannot-wrap")
        if common.json { return try Output.json(document) }
        let label = token.label
        if isNew {
            Output.say("The audit key version \(key.id.version) is on the token '\(label)', CKA_ID \(key.id).")
            Output.say("  durable: found again after a new start of the module")
        } else {
            Output.say("The token '\(label)' has an audit key already: version \(key.id.version), CKA_ID \(key.id). Nothing was changed.")
        }
        Output.say("  not exportable: \(proof.trial.isRefusal ? "a trial to wrap it out was refused by the token" : "the token can't wrap keys")")
        Output.say("  authenticates by CKM_SHA256_HMAC, and can do nothing else")
        if isNew { Output.say("Daemons that run already use it within seconds.") }
    }
}

extension ProofOfCustody.Trial {
    fileprivate var isRefusal: Bool { if case .refusedByToken = self { true } else { false } }
}

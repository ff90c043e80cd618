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
        /// `refused`, `cannot-wrap` or `not-proved`.
        let exportTrial: String
        /// Objects with an audit key's label that are not believed, and why.
        let unbelieved: [AuditVerifyDocument.Unbelieved]
        let foundAgain = true
    }

    @Flag(help: "Make a new version although there is one.")
    var rotate = false

    @OptionGroup var common: CommonOptions

    func run() throws {
        let access = try common.tokenAccess()
        let (key, isNew, proof, token, pin, strangers) = try access.withUserSession(readWrite: true) { _, token, session, pin in
            let present = try AuditKeys(session)
            if !rotate, let key = present.newest {
                return (key, false, try AuditKeyProvisioner.prove(key.object, session), token, pin, present.strangers)
            }
            let (key, proof) = try AuditKeyProvisioner.make(session)
            return (key, true, proof, token, pin, present.strangers)
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
            exportTrial: proof.trial.word, unbelieved: strangers.map(AuditVerifyDocument.Unbelieved.init))
        if common.json { return try Output.json(document) }
        let label = token.label
        if isNew {
            Output.say("The audit key version \(key.id.version) is on the token '\(label)', CKA_ID \(key.id).")
            Output.say("  durable: found again after a new start of the module")
        } else {
            Output.say("The token '\(label)' has an audit key already: version \(key.id.version), CKA_ID \(key.id). Nothing was changed.")
        }
        Output.say("  \(proof.trial.warning ?? "not exportable: all that was tried to take it was refused by the token")")
        Output.say("  authenticates by CKM_SHA256_HMAC, and can do nothing else")
        if isNew { Output.say("Daemons that run already use it within seconds.") }
        for stranger in strangers { Output.say("\nNote: \(stranger.text)") }
    }
}

extension ProofOfCustody.Trial {
    fileprivate var word: String {
        switch verdict {
        case .refused: "refused"
        case .cannotWrap: "cannot-wrap"
        case .notProved, .handedOut, .inconclusive: "not-proved"
        }
    }
}

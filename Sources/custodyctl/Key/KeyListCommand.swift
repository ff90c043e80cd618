import ArgumentParser
import Custody
import PKCS11
import ToolSupport

/// `key list`: every key as the daemon would see it.
struct KeyListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the root keys and their versions: states, uses, and which one is refused and why.",
        discussion: """
            Uses, last use and whether old blobs still need a version are what the daemon of this host has counted; daemons \
            of other hosts on the same token count their own. Without a running daemon these columns stay empty.

            Example: custodyctl key list --json
            """)

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let access = try common.tokenAccess()
        let (token, ring) = try access.withUserSession(readWrite: false) { _, token, session, _ in
            let catalog = KeyCatalog(exceptions: access.keyExceptions)
            try catalog.refresh(session)
            return (TokenURI(token).string, catalog.ring)
        }
        let list = KeyList(token, ring, await DaemonUsage.ask(common))
        if common.json { try Output.json(list) } else { list.show() }
    }
}

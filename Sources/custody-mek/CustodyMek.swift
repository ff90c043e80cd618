import ArgumentParser
import CZeroingHeap
import SecureMemory
import ToolSupport

/// The service's tool for its master encryption key.
@main
struct CustodyMek: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "custody-mek",
        abstract: "Keep a tenant's master encryption key (MEK) under the cloud's KMS and the user's root key.",
        discussion: """
            From a database of tenants to data that only the user's HSM and the cloud's KMS together open:
              export CUSTODY_MEK_DATABASE=sqlite:tenants.db
              custody-mek migrate
              custody-mek create acme --kms-key alias/acme
              custody-mek enable acme --root-key payments
              custody-mek encrypt acme < card > card.sealed
              custody-mek decrypt acme < card.sealed
              custody-mek status acme

            The KMS is AWS's, or what speaks its API: region, endpoint and credentials come from the AWS_... variables and \
            files. The database is sqlite:PATH or postgresql://...; its password comes from PGPASSFILE or a service file. A server on another machine has to prove by TLS who it is, \
            unless the address itself says less by sslmode=.

            There is no command back to the KMS alone. Rows are authenticated, and what was seen of a tenant is remembered \
            (--pins): a row that somebody has changed is refused. --require-root-key refuses whatever is not enabled.

            Exit codes: 0 done; 1 failed; 64 wrong usage; 69 database, KMS or custodyd not available; 75 another process \
            is at the same tenant, or the database is locked; 77 denied; 78 wrong configuration.
            """,
        subcommands: [
            StatusCommand.self, MigrateCommand.self, CreateCommand.self, ImportCommand.self, EnableCommand.self,
            OpenCommand.self, EncryptCommand.self, DecryptCommand.self, RewrapCommand.self, RotateKMSCommand.self,
            SettleCommand.self, AcceptCommand.self,
        ])

    static func main() async {
        // The key itself is in locked memory anyway; with this, its shadows are, too.
        _ = ProcessHardening.lockMemory()
        await ToolMain.run(CustodyMek.self) { ToolError($0) }
    }
}

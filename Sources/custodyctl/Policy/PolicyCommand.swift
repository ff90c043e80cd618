import ArgumentParser
import Custody
import CustodyServer
import ToolSupport

/// `policy`: what the configuration says about who may do what.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Ask the configuration file who may do what, without a daemon.",
        discussion: """
            The answers are about the file as it is now; a daemon goes by the file as it was when it was started or reloaded.

            Example: custodyctl policy show
            """,
        subcommands: [PolicyCheckCommand.self, PolicyShowCommand.self])
}

extension CommonOptions {
    /// What the configuration says about who may do what, and which file that is.
    func rules() throws -> (rules: Rules, file: String) {
        let (configuration, place) = try configuration()
        guard let configuration else {
            throw ToolError.configuration("the configuration can't be read (\(place)); name another with --config")
        }
        return (configuration.rules, configuration.file)
    }
}

extension Principal {
    /// A user of this machine as the kernel would tell of it.
    ///
    /// - Parameter groups: Names or numbers instead of the groups that the machine has for the user; none for those.
    convenience init(account: String, groups: [String], unit: String? = nil) throws {
        guard let user = SystemAccounts.user(account) else {
            throw ValidationError("there is no user '\(account)' on this machine; give a user's name or a number")
        }
        let gids = try groups.map { group in
            guard let gid = SystemAccounts.gid(ofGroup: group) else {
                throw ValidationError("there is no group '\(group)' on this machine; give a group's name or a number")
            }
            return gid
        }
        let process = groups.isEmpty ? user.gids : gids
        let ranges = SubordinateRanges.read()
        // From a denial or a limit of a group nobody gets away by leaving it out.
        self.init(
            uid: user.uid, subordination: ranges.subordination(of: user.uid),
            groups: Groups(
                ofProcess: process, ofAccount: user.gids,
                assumable: process.filter { ranges.canBeAssumed(gid: $0) && !user.gids.contains($0) }),
            unit: unit.flatMap { SystemdUnit(cgroup: "/\($0)") }, pid: 0, user: user.name)
    }
}

import Foundation
import TestSupport

/// A host for `custodyctl setup`, without systemd: a mount namespace in which /etc, /run, /var/lib and /var/log are folders of the
/// test's own, with the daemon's users, the real `custodyctl` and a real SoftHSM. systemd's programs are stood in for by scripts that
/// do as much as the steps before the daemon's start need; the whole of it is what scripts/test-systemd tries on a booted system.
final class SetupHost: Sendable {
    /// Why such a host can't be had here; nil if it can.
    static let obstacle: String? =
        getuid() != 0 ? "only root can make a mount namespace"
        : !FileManager.default.isExecutableFile(atPath: "/usr/sbin/runuser") ? "runuser is not installed"
        : !FileManager.default.fileExists(atPath: "/usr/lib/sysusers.d") ? "there is no /usr/lib/sysusers.d to stand in for" : nil

    static let daemon = 64_110
    private static let mounts = ["/etc": "etc", "/run": "run", "/var/lib": "lib", "/var/log": "log", "/usr/local/sbin": "sbin", "/usr/lib/sysusers.d": "sysusers"]

    let directory: TemporaryDirectory

    init() async throws {
        directory = try TemporaryDirectory()
        // What runs as the daemon's user finds the program in it.
        guard chmod(directory.path, 0o711) == 0 else { throw POSIXFailure("chmod") }
        let made = try await run("/bin/sh", arguments: ["-ec", Self.preparation, directory.path, "\(Products.directory)/custodyctl"])
        guard made.status == .exited(0) else { throw UnexpectedResult(made) }
    }

    /// Runs a shell script on the host.
    func sh(_ script: String) async throws -> ProcessResult { try await ChildProcess(Self.shell, arguments: arguments(script)).end() }

    /// Begins one that goes on.
    func begin(_ script: String) throws -> ChildProcess { try ChildProcess(Self.shell, arguments: arguments(script)) }

    /// Runs one that has to succeed, and returns what it prints.
    @discardableResult
    func ok(_ script: String) async throws -> String {
        let result = try await sh(script)
        guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        return result.output
    }

    /// `custodyctl setup` with these arguments.
    func setup(_ arguments: String = "--yes --key payments") async throws -> ProcessResult { try await sh("custodyctl setup \(arguments)") }

    /// Every name, kind, mode, owner, time and content of what a set-up could touch.
    func listing() async throws -> [String] {
        try await ok("""
            find /etc /run /var/lib /var/log /usr/local/sbin -printf '%p %y %m %U:%G %s %n %T@ %C@ %l\n' | sort
            find /etc /run /var/lib /var/log /usr/local/sbin -type f -exec sha256sum {} + | sort
            """).split(separator: "\n").map(String.init)
    }

    private static let shell = "/usr/bin/unshare"

    private func arguments(_ script: String) -> [String] {
        let binds = Self.mounts.sorted { $0.key < $1.key }.map { "mount --bind '\(directory.path)/\($1)' \($0)" }.joined(separator: "\n")
        return ["--mount", "--propagation", "private", "/bin/sh", "-ec", "\(binds)\nexport PATH='\(directory.path)/bin:/usr/sbin:/usr/bin:/sbin:/bin'\ncd /\n\(script)"]
    }

    /// In a folder, with the program.
    private static let preparation = """
        cd "$0"
        cp -a /etc etc
        mkdir bin run lib log sbin sysusers
        chmod 755 bin etc run lib log sbin sysusers
        cp "$1" bin/
        rm -rf etc/custody etc/credstore.encrypted
        touch sysusers/custody.conf
        for name in custody:64110 custody-clients:64111 custody-metrics:64112; do
          echo "${name%:*}:x:${name#*:}:" >>etc/group
          echo "${name%:*}:x:${name#*:}:${name#*:}::/nonexistent:/bin/sh" >>etc/passwd
        done
        script() { printf '#!/bin/sh\\n%s\\n' "$2" >"sbin/$1"; chmod 755 "sbin/$1"; }
        script systemd-sysusers 'exit 0'
        script systemd-tmpfiles 'mkdir -p -m 0755 /run/custody
        [ -d /etc/custody ] || install -d -m 0750 -g custody /etc/custody
        for folder in lib log; do [ -d /var/$folder/custody ] || install -d -m 0700 -o custody -g custody /var/$folder/custody; done'
        script systemd-creds 'case $1 in encrypt) exec base64 "$3" ;; decrypt) exec base64 -d "$3" ;; esac'
        script systemctl 'case $1 in is-*) exit 1 ;; enable) echo no service manager >&2; exit 1 ;; esac'
        """
}

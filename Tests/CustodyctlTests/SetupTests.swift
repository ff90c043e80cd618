import Foundation
import TestSupport
import Testing

/// `setup` works as root among folders of the daemon's user: what others put there is neither followed nor believed, and who only looks
/// changes nothing.
@Suite(.enabled(if: SetupHost.obstacle == nil, "\(SetupHost.obstacle ?? "")")) struct SetupTests {
    /// What a set-up comes to where there is no service manager: all is made but the socket.
    private func expectMade(_ host: SetupHost, _ result: ProcessResult) async throws {
        #expect(result.output.contains("done   root key 'payments'") || result.output.contains("root key 'payments': there"), "\(result.output)\(result.errors)")
        #expect(result.output.contains("FAILED custodyd.socket") && result.errors.contains("no service manager"), "\(result.output)\(result.errors)")
        let files = try await host.ok("""
            stat -c '%n %U:%G %a' /etc/custody/* /etc/credstore.encrypted /etc/credstore.encrypted/* /var/lib/custody /var/lib/custody/softhsm \
              /var/lib/custody/softhsm/tokens
            """)
        #expect(files == """
            /etc/custody/custody.toml root:custody 640
            /etc/custody/so.pin root:root 400
            /etc/custody/softhsm2.conf root:custody 640
            /etc/credstore.encrypted root:root 700
            /etc/credstore.encrypted/custody.pin.encrypted root:root 600
            /var/lib/custody custody:custody 700
            /var/lib/custody/softhsm custody:custody 700
            /var/lib/custody/softhsm/tokens custody:custody 700

            """)
        #expect(try await host.ok("ls -A /run/custodyctl-setup").isEmpty, "no secret is left")
    }

    @Test func makesEverything() async throws {
        let host = try await SetupHost()
        try await expectMade(host, try await host.setup())
        // Twice it finds all of it.
        let again = try await host.setup()
        #expect(!again.output.contains("done   token") && again.output.contains("kept   token"), "\(again.output)")
    }

    private func expectNothingChanged(_ host: SetupHost, _ what: Comment) async throws {
        let before = try await host.listing()
        let dry = try await host.setup("--dry-run --key payments")
        #expect(dry.status == .exited(0) && dry.output.contains("Nothing was changed."), "\(dry.output)\(dry.errors)")
        let after = try await host.listing()
        #expect(after.difference(from: before).map { "\($0)" } == [], what)
    }

    @Test func aDryRunChangesNothing() async throws {
        let host = try await SetupHost()
        try await expectNothingChanged(host, "a fresh host")
        _ = try await host.setup()
        try await expectNothingChanged(host, "a host that is set up")
    }

    /// Has the set-up end, or wait, where it has lent a secret to the command that makes the token.
    private func interrupt(_ host: SetupHost, by action: String) async throws {
        try await host.ok("""
            cat >/usr/local/sbin/runuser <<'END'
            #!/bin/sh
            case "$*" in *"token init"*) \(action) ;; esac
            exec /usr/sbin/runuser "$@"
            END
            chmod 755 /usr/local/sbin/runuser
            """)
    }

    @Test func aDryRunLeavesAnInterruptedSetUpAlone() async throws {
        let host = try await SetupHost()
        try await interrupt(host, by: "kill -9 $PPID; sleep 1; exit 1")
        let killed = try await host.sh("custodyctl setup --yes --key payments || echo ended with $?")
        #expect(killed.output.contains("ended with 137"), "\(killed.output)\(killed.errors)")
        #expect(try await host.ok("find /run/custodyctl-setup -type f -user custody -perm 600 | wc -l") == "1\n", "what it had lent")
        try await expectNothingChanged(host, "a set-up that was killed")
        try await host.ok("rm /usr/local/sbin/runuser")
        try await expectMade(host, try await host.setup())
    }

    @Test func oneAtATime() async throws {
        let host = try await SetupHost()
        try await interrupt(host, by: "touch /run/waits; while [ ! -e /run/go ]; do sleep 0.05; done")
        let first = try host.begin("custodyctl setup --yes --key payments")
        _ = try await eventualValue("the first one's wait", within: .seconds(60)) {
            FileManager.default.fileExists(atPath: host.directory.file("run/waits")) ? true : nil
        }
        let second = try await host.setup()
        #expect(second.status == .exited(75) && second.errors.contains("another `custodyctl setup` is under way"), "\(second.errors)")
        try await expectNothingChanged(host, "a set-up that is under way")
        try host.directory.write("run/go", "")
        try await expectMade(host, try await first.end())
    }

    // MARK: What others put there

    private func expectRefused(_ host: SetupHost, _ says: String) async throws {
        let before = try await host.ok("find /var/lib /etc/custody /etc/victim -printf '%p %y %m %u %l\\n' | sort")
        let result = try await host.setup()
        #expect(result.status == .exited(1) && result.errors.contains(says), "\(result.output)\(result.errors)")
        #expect(try await host.ok("find /var/lib /etc/custody /etc/victim -printf '%p %y %m %u %l\\n' | sort") == before)
    }

    @Test(arguments: ["softhsm", "softhsm/tokens"])
    func aLinkOfTheDaemonsUser(_ name: String) async throws {
        let host = try await SetupHost()
        try await host.ok("""
            mkdir -m 700 /etc/victim
            systemd-tmpfiles
            install -d -m 0750 -g custody /etc/custody
            runuser -u custody -- sh -ec 'cd /var/lib/custody; mkdir -p -m 700 "$(dirname \(name))"; ln -s /etc/victim \(name)'
            """.replacing("systemd-tmpfiles", with: "/usr/local/sbin/systemd-tmpfiles"))
        try await expectRefused(host, "/var/lib/custody/\(name) is not a folder, or a symbolic link")
        #expect(try await host.ok("stat -c '%U %a' /etc/victim") == "root 700\n")
    }

    /// A link in the place of a file that it writes or believes.
    @Test(arguments: ["/etc/custody/softhsm2.conf", "/etc/custody/custody.toml", "/etc/custody/so.pin", "/etc/credstore.encrypted/custody.pin.encrypted"])
    func aLinkInPlaceOfAFile(_ path: String) async throws {
        let host = try await SetupHost()
        try await host.ok("/usr/local/sbin/systemd-tmpfiles; mkdir -p -m 700 /etc/credstore.encrypted; ln -s /etc/victim \(path); ln -s /etc/victim2 \(path).new")
        let result = try await host.setup()
        #expect(result.status == .exited(1) && result.errors.contains("\(path) is a symbolic link"), "\(result.output)\(result.errors)")
        #expect(try await host.ok("ls -d /etc/victim /etc/victim2 2>&1 || true").contains("cannot access"))
    }

    @Test(arguments: [
        ("/var/lib/custody", "chmod 777", "chmod go-w /var/lib/custody"), ("/var/lib/custody", "chown 64120", "belongs to uid 64120"),
        ("/var/log/custody", "chmod 770", "chmod go-w /var/log/custody"), ("/var/log/custody", "chown 64120", "belongs to uid 64120"),
        ("/etc/custody", "chown custody", "belongs to uid 64110"), ("/etc/custody", "chmod 775", "chmod go-w /etc/custody"),
        ("/run/custody", "chown 64120", "belongs to uid 64120"),
    ])
    func aFolderOfOthers(_ path: String, _ command: String, _ says: String) async throws {
        let host = try await SetupHost()
        try await host.ok("mkdir /etc/victim; /usr/local/sbin/systemd-tmpfiles; \(command) \(path)")
        try await expectRefused(host, says)
    }

    /// A configuration that somebody else wrote is not gone by, and neither is a SoftHSM's.
    @Test(arguments: ["custody.toml", "softhsm2.conf"])
    func aFileOfOthers(_ name: String) async throws {
        let host = try await SetupHost()
        _ = try await host.setup()
        try await host.ok("chown custody /etc/custody/\(name)")
        let result = try await host.setup()
        #expect(result.status == .exited(1) && result.errors.contains("/etc/custody/\(name) belongs to uid 64110"), "\(result.output)\(result.errors)")
    }
}

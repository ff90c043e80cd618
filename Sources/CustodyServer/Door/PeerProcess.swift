import CSystemShim
import Custody
import Foundation
import Glibc
import Synchronization

/// The process that connected, by a descriptor that never stands for another one that has its number later (pidfd_open(2)).
final class PeerProcess: Sendable {
    private let descriptor: Int32

    /// nil if the kernel does not tell: it is older than Linux 6.5, or the process is gone.
    init?(of connection: Int32) {
        descriptor = csystem_peer_process(connection)
        guard descriptor >= 0 else { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The systemd unit that it is in now; nil if that can't be told. Reads files; not for the thread that accepts.
    func unit() -> SystemdUnit? {
        // A sandbox may hide the processes of other users, and the kernel's own word takes Linux 6.13.
        unitByProcess() ?? unitByControlGroup()
    }

    private func unitByProcess() -> SystemdUnit? {
        guard let number, let text = try? String(contentsOfFile: "/proc/\(number)/cgroup", encoding: .utf8) else { return nil }
        // If it is there still, it was it all along: its number was not given to another one.
        guard self.number == number else { return nil }
        return Self.unit(in: text)
    }

    /// The process' number; nil when it is gone.
    private var number: Int32? {
        guard let text = try? String(contentsOfFile: "/proc/self/fdinfo/\(descriptor)", encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix("Pid:") }
        return line.flatMap { Int32($0.dropFirst(4).trimmingCharacters(in: .whitespaces)) }.flatMap { $0 > 0 ? $0 : nil }
    }

    /// By the hierarchy of cgroups(7) that systemd uses: version 2, or the one of its name. Where both tell of a unit it must
    /// be the same.
    static func unit(in text: String) -> SystemdUnit? {
        var units: [SystemdUnit] = []
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[1] == "name=systemd" || (parts[0] == "0" && parts[1].isEmpty) else { continue }
            if let unit = SystemdUnit(cgroup: String(parts[2])) { units.append(unit) }
        }
        return units.dropFirst().allSatisfy { $0 == units.first } ? units.first : nil
    }

    // MARK: By the control group's number

    private static let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    /// So many control groups are looked at. Those of the system's units come first, however many a user makes in its own.
    private static let mostLookedAt = 16_384
    /// The numbers are not used again.
    private static let known = Mutex<[UInt64: SystemdUnit?]>([:])
    private static let capacity = 1_024

    private func unitByControlGroup() -> SystemdUnit? {
        var cgroup: UInt64 = 0
        guard csystem_process_cgroup(descriptor, &cgroup) == 0 else { return nil }
        if let unit = Self.known.withLock({ $0[cgroup] }) { return unit }
        let unit = Self.path(of: cgroup).flatMap(SystemdUnit.init)
        Self.known.withLock { known in
            if known.count >= Self.capacity { known = [:] }
            known[cgroup] = .some(unit)
        }
        return unit
    }

    private static func path(of cgroup: UInt64) -> String? {
        for root in roots {
            let path = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer -> String? in
                guard let start = buffer.baseAddress, csystem_cgroup_path(root, cgroup, mostLookedAt, start, buffer.count) == 0 else { return nil }
                return String(validatingCString: start)
            }
            if let path { return path }
        }
        return nil
    }
}

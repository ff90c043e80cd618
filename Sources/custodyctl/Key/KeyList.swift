import ByteEncoding
import Custody
import ToolSupport

/// What `key list` prints.
struct KeyList: Encodable {
    struct Key: Encodable {
        let name: String
        let versions: [Version]
    }
    struct Version: Encodable {
        let version: UInt32
        let id: String
        let state: String
        /// This is the version that wraps.
        let wraps: Bool
        let reason: String?
        let exception: String?
        /// What the proof leaves open.
        let warning: String?
        /// Days in UTC: when it was made, if the token tells, and the last one on which it can't be destroyed yet.
        let created: String?
        let destroyAfter: String?
        /// Absent if the daemon does not tell.
        let usage: Usage?
    }
    struct Usage: Encodable {
        let uses: UInt64
        let usesLimit: UInt64
        let rewrapped: UInt64
        /// Milliseconds since 1970; absent: not since the counting began.
        let lastEncryptedMs: UInt64?
        let lastDecryptedMs: UInt64?
        let lastUse: String
        let needed: String
    }
    struct Foreign: Encodable {
        let name: String
        /// The CKA_ID in hexadecimal.
        let id: String
        let reason: String
    }

    let token: String
    let keys: [Key]
    let foreignKeys: [Foreign]
    /// Why no version has its usage; absent if the daemon told.
    let usageRemark: String?

    init(_ token: String, _ ring: KeyRing, _ usage: DaemonUsage) {
        self.token = token
        usageRemark = usage.remark
        keys = ring.keys.map { name, versions in
            let wrapping = versions.last { $0.state == .active }?.id
            return Key(name: name.description, versions: versions.map { Version($0, wraps: $0.id == wrapping, usage($0.id)) })
        }
        foreignKeys = ring.strangersByName.map { Foreign(name: $0.name, id: hexadecimal($0.id), reason: $0.reason) }
    }

    func show() {
        guard !keys.isEmpty || !foreignKeys.isEmpty else {
            return Output.say("The token holds no keys; `custodyctl key generate NAME` makes one.")
        }
        // Reasons are too long for a column.
        var remarks: [String] = []
        var table = Table(["KEY", "VERSION", "STATE", "CREATED", "USES", "LAST USE", "NEEDED", "CKA_ID", "NOTE"])
        for key in keys {
            for version in key.versions {
                let remark = version.exception.map { "\(key.name) version \(version.version) is \($0)" } ?? version.reason
                    ?? version.warning.map { "\(key.name) version \(version.version) is used with this reserve: \($0)" }
                if let remark, !remarks.contains(remark) { remarks.append(remark) }
                let note = remark != nil ? "see below" : version.wraps ? "wraps" : version.destroyAfter.map { "after \($0)" } ?? ""
                table.add(
                    key.name, "\(version.version)", version.state, version.created ?? "-", version.usage.map { "\($0.uses)" } ?? "-",
                    version.usage?.lastUse ?? "-", version.usage?.needed ?? "-", version.id, note)
            }
        }
        for key in foreignKeys {
            table.add(key.name.isEmpty ? "(no label)" : key.name, "-", "foreign", "-", "-", "-", "-", key.id.isEmpty ? "-" : key.id, "see below")
        }
        table.show()
        if let usageRemark, !keys.isEmpty { remarks.append("Uses are not known, the daemon does not tell them: \(usageRemark)") }
        for remark in remarks + foreignKeys.map(\.reason) { Output.say("\n\(remark)") }
    }
}

extension KeyList.Version {
    init(_ version: KeyVersion, wraps: Bool, _ told: DaemonUsage.Version?) {
        self.version = version.version
        id = version.id.description
        state = version.state.word
        self.wraps = wraps
        exception = version.exception
        warning = version.warning
        created = version.created
        reason = if case .refused(let why) = version.state { why } else { nil }
        destroyAfter = if case .scheduledForDestruction(let day) = version.state { day } else { nil }
        usage = told.map {
            KeyList.Usage(
                uses: $0.usage.uses, usesLimit: $0.usesLimit, rewrapped: $0.usage.rewrapped,
                lastEncryptedMs: $0.usage.lastEncrypted, lastDecryptedMs: $0.usage.lastDecrypted, lastUse: $0.lastUse,
                needed: $0.need.text)
        }
    }
}

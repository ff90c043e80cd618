import PKCS11

/// A change of a version's state (NIST SP 800-57 Part 1, section 7), made by writing its object's attributes.
public enum KeyTransition: Sendable, Hashable {
    /// To active: wraps and unwraps.
    case enable
    /// To deactivated: unwraps only.
    case deactivate
    /// To disabled: neither.
    case disable
    /// To scheduled for destruction: neither, and it may be destroyed after this day.
    case scheduleDestruction(after: UTCDay)
    /// From scheduled for destruction to disabled.
    case cancelDestruction

    /// One thing to write.
    enum Step {
        /// CKA_ENCRYPT and CKA_DECRYPT, those of them that change.
        case uses([Attribute])
        /// CKA_END_DATE; nil takes it away.
        case endDate(UTCDay?)
    }

    /// What has to be written, one after the other; nothing if the version is where it is to be.
    ///
    /// Whoever is killed between two of them leaves the state before, or a disabled version: a date is taken away while
    /// the version can still be used, and set only when it no longer can. So no date that was there before becomes a schedule.
    /// Whoever has the PIN can give a disabled version one without Custody; nobody else can.
    ///
    /// - Throws: ``CustodyError`` with `keyNotUsable` if the state does not allow the change.
    func steps(from key: KeyObject) throws(CustodyError) -> [Step] {
        let isScheduled = if case .scheduledForDestruction = key.state { true } else { false }
        let clearing: [Step] = key.attributes.day(.endDate) == nil ? [] : [.endDate(nil)]
        func refuseScheduled() throws(CustodyError) {
            guard !isScheduled else {
                throw CustodyError(
                    .keyNotUsable,
                    "\(key.title) is \(key.state.phrase); `custodyctl key destroy \(key.name) --cancel` with its version takes that back first")
            }
        }
        switch self {
        case .enable, .deactivate:
            try refuseScheduled()
            let uses = Self.uses(key, encrypt: self == .enable, decrypt: true)
            return uses.isEmpty ? [] : clearing + uses
        case .disable:
            return isScheduled ? [] : clearing + Self.uses(key, encrypt: false, decrypt: false)
        case .scheduleDestruction(let day):
            if isReached(by: key) { return [] }
            // Another day is not what was asked for, and whoever asked must not believe that it is.
            try refuseScheduled()
            return clearing + Self.uses(key, encrypt: false, decrypt: false) + [.endDate(day)]
        case .cancelDestruction:
            return isScheduled ? clearing : []
        }
    }

    /// Whether the token shows what the change was to bring about.
    func isReached(by key: KeyObject) -> Bool {
        switch (self, key.state) {
        case (.enable, .active), (.deactivate, .deactivated), (.disable, .disabled), (.cancelDestruction, .disabled): true
        case (.scheduleDestruction(let day), .scheduledForDestruction(let shown)): shown == day.description
        default: false
        }
    }

    /// The two attributes, if one of them has not the wanted value.
    private static func uses(_ key: KeyObject, encrypt: Bool, decrypt: Bool) -> [Step] {
        let changes = [(AttributeType.encrypt, encrypt), (.decrypt, decrypt)]
            .filter { key.attributes.bool($0.0) != $0.1 }.map { Attribute.bool($0.0, $0.1) }
        return changes.isEmpty ? [] : [.uses(changes)]
    }
}

import Custody
import Dispatch
import Synchronization

/// Makes of a peer's credentials what rules are judged by: its groups among those that rules name, whose uid it is, what the
/// account database says of it, its systemd unit, and names for the record.
///
/// The database is never asked on the thread that accepts connections, nor on an event loop: it may be on a network, and hang.
final class Identities: Sendable {
    private struct State {
        var rules: Rules
        /// The groups that callers are looked at for: those of the rules in force, and of those that are coming into force.
        var groups: Set<UInt32>
        var known: KnownAccounts
    }

    private let state: Mutex<State>
    private let database: AccountDatabase
    private let queue = DispatchQueue(label: "identities")
    /// Any number of unknown uids must not stand in the way of those that have grants.
    private let strangers = DispatchQueue(label: "strangers-identities")

    init(
        _ rules: Rules, database: AccountDatabase = .system,
        ranges: @escaping @Sendable () -> SubordinateRanges = { SubordinateRanges.read() },
        fingerprint: @escaping @Sendable () -> [Int] = KnownAccounts.fingerprintOfFiles
    ) {
        self.database = database
        state = Mutex(State(rules: rules, groups: rules.groups, known: KnownAccounts(reading: ranges, fingerprint: fingerprint)))
        queue.async { self.findOwners() }
    }

    /// Why not every range of subordinate uids may be known; nil if all are.
    var gap: String? { state.withLock { $0.known.gap } }

    /// Whether any rule names a systemd unit.
    private var areUnitsNamed: Bool { state.withLock { $0.rules.nameUnits } }

    // MARK: The accepting thread

    /// What is known of a peer at once. Denials and limits of groups concern it until it is completed.
    func caller(_ credentials: PeerCredentials, on descriptor: Int32) -> Caller? {
        let (groups, subordination) = state.withLock { state in
            state.known.refreshRanges()
            return (state.groups, state.known.subordination(of: credentials.uid))
        }
        guard let ofProcess = credentials.groups(of: descriptor, among: groups) else { return nil }
        return Caller(credentials, Principal(
            uid: credentials.uid, subordination: subordination, groups: Groups(ofProcess: ofProcess, ofAccount: nil, considered: groups),
            pid: credentials.pid))
    }

    /// On whose account a peer's knocking goes, whatever its groups are.
    func account(of credentials: PeerCredentials) -> UInt32 {
        state.withLock { $0.known.subordination(of: credentials.uid)?.account } ?? credentials.uid
    }

    /// Completes a caller: at once if all is known, else when it has been asked for.
    ///
    /// - Parameters:
    ///   - process: Its process, if its unit is to be known.
    ///   - isStranger: No grant names it: nothing but its name matters.
    func complete(_ caller: Caller, process: PeerProcess?, isStranger: Bool, then body: @escaping @Sendable () -> Void) {
        if process == nil, isKnown(caller, isStranger: isStranger) {
            apply(to: caller)
            return body()
        }
        (isStranger ? strangers : queue).async {
            self.ask(about: [caller], isStranger: isStranger, onlyUnknown: true)
            self.apply(to: caller, unit: process?.unit())
            body()
        }
    }

    /// A caller's process, if its unit is to be known and was not asked for yet.
    func process(of caller: Caller, on descriptor: Int32) -> PeerProcess? {
        guard areUnitsNamed, !caller.wasUnitAsked else { return nil }
        caller.noteUnitAsked()
        return PeerProcess(of: descriptor)
    }

    // MARK: Those who are connected

    /// Makes room for the groups of other rules, which come into force when those who are connected have been looked at.
    func expect(_ rules: Rules) {
        state.withLock { state in
            state.groups = state.rules.groups.union(rules.groups)
            state.rules = rules
        }
    }

    /// The rules are in force: groups that only the old ones named are of no interest any more.
    func settle() { state.withLock { $0.groups = $0.rules.groups } }

    /// What the kernel says of a caller who is connected already.
    struct Word: Sendable {
        /// Its groups among those that were asked for.
        let ofProcess: [UInt32]
        let asked: Set<UInt32>
        /// Its process, if its unit is to be known.
        let process: PeerProcess?
    }

    /// Whether the kernel was asked about all groups, and the unit, that rules name.
    func isComplete(_ caller: Caller) -> Bool {
        let (groups, areUnitsNamed) = state.withLock { ($0.groups, $0.rules.nameUnits) }
        return caller.principal.groups.considered?.isSuperset(of: groups) ?? true && (caller.wasUnitAsked || !areUnitsNamed)
    }

    /// Asks the kernel once more about a caller; where its descriptor is known to be open.
    func askKernel(_ caller: Caller, on descriptor: Int32) -> Word? {
        let groups = state.withLock { $0.groups }
        guard let ofProcess = caller.credentials.groups(of: descriptor, among: groups) else { return nil }
        return Word(ofProcess: ofProcess, asked: groups, process: process(of: caller, on: descriptor))
    }

    /// Asks the database anew about callers, and judges them by that and by the kernel's word, where that is new.
    ///
    /// - Parameter others: Of those who may come again what is older than this is asked for anew, too.
    func renew(_ callers: [(caller: Caller, word: Word?)], others: Duration = .seconds(20), then body: @escaping @Sendable () -> Void = {}) {
        queue.async {
            let policy = self.state.withLock { state in
                state.known.refreshRanges()
                return state.rules.policy
            }
            let start = ContinuousClock.now
            self.findOwners()
            var named: [(caller: Caller, word: Word?)] = []
            for (caller, word) in callers {
                // Whose group was taken away may get it back.
                let isNamed = policy.mayName(caller.principal.with(word)) || self.state.withLock { $0.known.hasGroups(caller.credentials.uid) }
                if isNamed { named.append((caller, word)) } else { self.apply(word, to: caller) }
            }
            self.ask(about: named.map(\.caller), isStranger: false, onlyUnknown: false)
            for (caller, word) in named { self.apply(word, to: caller, unit: word?.process?.unit()) }
            self.renewUnconnected(askedBefore: start - others)
            body()
        }
    }

    /// So that nobody who comes again is judged by what was so long ago.
    private func renewUnconnected(askedBefore bound: ContinuousClock.Instant) {
        let now = ContinuousClock.now
        let (old, groups) = state.withLock { state in
            (state.known.accounts.filter { $0.value.since < bound && $0.value.isInUse(now) && !$0.value.isStranger }.map(\.key), state.groups)
        }
        for uid in old { ask(uid, groups) }
    }

    // MARK: Asking

    private func isKnown(_ caller: Caller, isStranger: Bool) -> Bool {
        state.withLock { state in
            let now = ContinuousClock.now
            let groups = isStranger ? nil : state.groups
            let uids = state.known.concerned(caller.credentials.uid)
            guard state.known.groupName(caller.credentials.gid) != nil,
                state.known.owners(of: caller.credentials.uid).allSatisfy(state.known.isKnown),
                uids.allSatisfy({ state.known.accounts[$0]?.isUsable(for: groups, now: now) ?? false })
            else { return false }
            for uid in uids { state.known.touch(uid, now: now) }
            return true
        }
    }

    /// - Parameter onlyUnknown: What is known and not old is not asked for again.
    private func ask(about callers: [Caller], isStranger: Bool, onlyUnknown: Bool) {
        let now = ContinuousClock.now
        var seen: Set<UInt32> = []
        var seenGroups: Set<UInt32> = []
        for caller in callers {
            let (uid, gid) = (caller.credentials.uid, caller.credentials.gid)
            findOwners(of: uid)
            if seenGroups.insert(gid).inserted, !onlyUnknown || state.withLock({ $0.known.groupName(gid) == nil }) {
                let name = database.groupName(gid)
                state.withLock { $0.known.learn(group: gid, name: name) }
            }
            let (uids, groups) = state.withLock { ($0.known.concerned(uid), isStranger ? nil : $0.groups) }
            for uid in uids where seen.insert(uid).inserted {
                let isUsable = state.withLock { $0.known.accounts[uid]?.isUsable(for: groups, now: now) ?? false }
                if !(onlyUnknown && isUsable) { ask(uid, groups) }
                state.withLock { $0.known.touch(uid, now: now) }
            }
        }
    }

    /// - Parameter groups: nil if only the name matters.
    private func ask(_ uid: UInt32, _ groups: Set<UInt32>?) {
        let known = state.withLock { $0.known.accounts[uid] }
        // Another process of the same user may be no stranger.
        let groups = groups ?? (known?.isStranger ?? true ? nil : known?.asked)
        var name = known?.name
        var found: [UInt32]?
        do throws(AccountDatabase.Unavailable) {
            let entry = try database.user(uid)
            name = entry?.name
            if let groups {
                // Whom the database does not know has no groups in it.
                found = []
                if let entry { found = try database.groups(entry, groups) }
            }
        } catch {
            found = nil
        }
        state.withLock { [name, found] state in
            state.known.learn(uid, name: name, groups: found, asked: groups ?? [], now: .now)
        }
    }

    private func findOwners() {
        for name in state.withLock({ $0.known.unknownOwners }) { find(owner: name) }
    }

    /// Step by step: who an owner's owner is comes to light when the owner is known.
    private func findOwners(of uid: UInt32) {
        var asked: Set<[UInt8]> = []
        while true {
            let names = state.withLock { state in state.known.owners(of: uid).filter { !state.known.isKnown(owner: $0) } }
            guard let name = names.first(where: { !asked.contains(Array($0.utf8)) }) else { return }
            asked.insert(Array(name.utf8))
            find(owner: name)
        }
    }

    private func find(owner name: String) {
        let owner: KnownAccounts.Owner
        do throws(AccountDatabase.Unavailable) {
            // A name that was no text in the file is not the one that was asked for.
            owner = try database.uid(name).map { .uid($0) } ?? (name.utf8.contains("\u{FFFD}".utf8) ? .unknown : .nobody)
        } catch {
            owner = .unknown
        }
        state.withLock { $0.known.learn(owner: name, owner) }
    }

    /// Judges a caller by what is known.
    private func apply(_ word: Word? = nil, to caller: Caller, unit: SystemdUnit? = nil) {
        state.withLock { state in
            let now = caller.principal.with(word)
            // Of groups that no rule names any more nothing was asked.
            let considered = state.groups.intersection(now.groups.considered ?? state.groups)
            let uid = caller.credentials.uid
            let accounts = state.known.concerned(uid).map { state.known.accounts[$0] }
            let subordination = state.known.subordination(of: uid)
            // All of them, or nothing is known. Whose owners are not known may be of any group.
            var ofAccount: [UInt32]? = subordination != nil && subordination?.owners == nil ? nil : []
            for account in accounts {
                guard let groups = account?.groups, account?.asked.isSuperset(of: considered) == true else {
                    ofAccount = nil
                    break
                }
                ofAccount?.append(contentsOf: groups)
            }
            let ofProcess = now.groups.ofProcess.filter(considered.contains)
            let confirmed = state.known.accounts[uid]?.groups ?? []
            caller.become(Principal(
                uid: uid, subordination: subordination,
                groups: Groups(
                    ofProcess: ofProcess, ofAccount: ofAccount, withdrawn: accounts.flatMap { $0?.withdrawn ?? [] },
                    assumable: ofProcess.filter { state.known.canBeAssumed(gid: $0) && !confirmed.contains($0) }, considered: considered),
                unit: unit ?? now.unit, pid: now.pid, user: state.known.accounts[uid]?.name,
                group: state.known.groupName(caller.credentials.gid) ?? nil))
        }
    }
}

extension KnownAccounts {
    /// The uid and its owners: all whose groups count in denials and limits.
    fileprivate func concerned(_ uid: UInt32) -> [UInt32] {
        [uid] + (subordination(of: uid)?.owners ?? []).filter { $0 != uid }
    }
}

extension Principal {
    /// With the groups that the kernel has told of since.
    fileprivate func with(_ word: Identities.Word?) -> Principal {
        guard let word else { return self }
        let groups = Groups(ofProcess: word.ofProcess, ofAccount: nil, withdrawn: groups.withdrawn, considered: word.asked)
        return Principal(uid: uid, subordination: subordination, groups: groups, unit: unit, pid: pid, user: user, group: group)
    }
}

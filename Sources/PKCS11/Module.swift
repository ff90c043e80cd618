import CPKCS11
import Glibc
import Synchronization

/// Is told what a function of the module returned and how long it took; must not block.
public typealias CallObserver = @Sendable (Function, ReturnValue, Duration) -> Void

/// A loaded and initialised PKCS#11 module (PKCS#11 v2.40 sections 5.4 and 5.5).
///
/// A module is initialised once per process. ``finalize()`` must be called before the process exits: some modules
/// crash in their exit handlers otherwise. Never fork while one is initialised.
// Unchecked: the function list is constant after loading, and the module was told to lock for itself (CKF_OS_LOCKING_OK).
public final class Module: @unchecked Sendable {
    /// The file or p11-kit name that it was loaded from.
    public let name: String
    let functions: UnsafeMutablePointer<CK_FUNCTION_LIST>
    /// Whether this process had initialised it before.
    public let wasInitialized: Bool
    private let observer: CallObserver?
    private let finalized = Atomic(false)
    private let unclosed = Atomic(0)

    /// Loads and initialises a module.
    ///
    /// - Parameters:
    ///   - name: The path of a shared library, or the name under which p11-kit's configuration lists a module, such
    ///     as `softhsm2`.
    ///   - initializationString: Passed in `pReserved`; NSS needs one, others want none.
    ///   - acceptingInitialized: A module that this process has initialised already will do: an earlier C_Finalize failed.
    ///   - observer: Told of each call that has returned, on the thread that made it.
    /// - Throws: ``PKCS11Error`` with ``PKCS11Error/Code/moduleNotLoaded``, or what C_Initialize returned.
    public init(
        _ name: String, initializationString: String? = nil, acceptingInitialized: Bool = false, observer: CallObserver? = nil
    ) throws(PKCS11Error) {
        self.name = name
        self.observer = observer
        functions = try name.contains("/") ? Self.load(path: name) : Self.load(configuredName: name)
        // The library stays loaded for the life of the process, also after C_Finalize: unloading runs exit handlers that
        // crash in some modules, and a later initialisation finds it again.
        do {
            try Self.initialize(functions, initializationString, observer)
            wasInitialized = false
        } catch {
            guard acceptingInitialized, error.returnValue == .cryptokiAlreadyInitialized else { throw error }
            wasInitialized = true
        }
    }

    /// Whether ``finalize()`` was called; then no handle of this module means anything any more.
    public var isFinalized: Bool { finalized.load(ordering: .acquiring) }

    /// Says that C_Finalize was done although it returned an error: no session of this module is closed any more.
    public func markFinalized() { finalized.store(true, ordering: .releasing) }

    /// Sessions that could not be closed and may be open still; they end with ``finalize()``.
    public var unclosedSessions: Int { unclosed.load(ordering: .relaxed) }

    /// What C_CloseSession returns for a session that is no more.
    private static let goneAlready: Set<CK_RV> = [
        CKR_OK, CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT,
    ]

    /// C_CloseSession, for the owner of a session that has no use for the answer.
    func close(_ session: CK_SESSION_HANDLE) {
        // After C_Finalize there is nothing left to close, and the same number may stand for another session of a later
        // initialisation.
        guard !isFinalized, let entry = functions.pointee.C_CloseSession else { return }
        let returned = Self.observed(.closeSession, observer) { entry(session) }
        if !Self.goneAlready.contains(returned) { unclosed.add(1, ordering: .relaxed) }
    }

    private static func load(path: String) throws(PKCS11Error) -> UnsafeMutablePointer<CK_FUNCTION_LIST> {
        guard let loaded = p11_kit_module_load(path, CInt(P11_KIT_MODULE_UNMANAGED | P11_KIT_MODULE_CRITICAL)) else {
            let reason = p11_kit_message().map { String(cString: $0) } ?? "no reason given"
            throw PKCS11Error(
                code: .moduleNotLoaded,
                message: "cannot load the PKCS#11 module \(path): \(reason); set `module` to your HSM's PKCS#11 library")
        }
        return loaded
    }

    /// p11-kit has no call that loads one configured module by name: load them all, uninitialised, and keep the one.
    private static func load(configuredName name: String) throws(PKCS11Error) -> UnsafeMutablePointer<CK_FUNCTION_LIST> {
        let modules = p11_kit_modules_load(nil, CInt(P11_KIT_MODULE_UNMANAGED))
        defer { if let modules { p11_kit_modules_release(modules) } }
        guard let modules, let found = p11_kit_module_for_name(modules, name),
            let path = p11_kit_module_get_filename(found)
        else {
            throw PKCS11Error(
                code: .moduleNotLoaded,
                message: "p11-kit knows no module '\(name)'; `p11-kit list-modules` shows them, or set `module` to a path")
        }
        defer { free(path) }
        return try load(path: String(cString: path))
    }

    private static func initialize(
        _ functions: UnsafeMutablePointer<CK_FUNCTION_LIST>, _ initializationString: String?, _ observer: CallObserver?
    ) throws(PKCS11Error) {
        var arguments = CK_C_INITIALIZE_ARGS()
        arguments.flags = CKF_OS_LOCKING_OK
        guard let entry = functions.pointee.C_Initialize else { throw PKCS11Error(.initialize, .functionNotSupported) }
        var text = initializationString.map { Array($0.utf8CString) } ?? []
        let returned = text.withUnsafeMutableBytes { bytes in
            arguments.pReserved = bytes.isEmpty ? nil : bytes.baseAddress
            return observed(.initialize, observer) { entry(&arguments) }
        }
        guard returned == CKR_OK else { throw PKCS11Error(.initialize, ReturnValue(rawValue: returned)) }
    }

    /// C_Finalize. No other call may be under way; every session and handle is gone afterwards.
    public func finalize() throws(PKCS11Error) {
        finalized.store(true, ordering: .releasing)
        do {
            try call(.finalize, functions.pointee.C_Finalize) { $0(nil) }
        } catch {
            // It is as it was: sessions that are let go have to be closed.
            if error.returnValue != .cryptokiNotInitialized { finalized.store(false, ordering: .releasing) }
            throw error
        }
    }

    public func info() throws(PKCS11Error) -> ModuleInfo {
        var info = CK_INFO()
        try call(.getInfo, functions.pointee.C_GetInfo) { $0(&info) }
        return ModuleInfo(info)
    }

    // MARK: Slots and tokens

    /// C_GetSlotList.
    public func slots(withToken: Bool) throws(PKCS11Error) -> [SlotID] {
        let present: CK_BBOOL = withToken ? 1 : 0
        // The number may grow between asking for it and fetching the list.
        for _ in 0..<4 {
            var count: CK_ULONG = 0
            try call(.getSlotList, functions.pointee.C_GetSlotList) { $0(present, nil, &count) }
            guard count > 0 else { return [] }
            var slots = [CK_SLOT_ID](repeating: 0, count: Int(clamping: count))
            do throws(PKCS11Error) {
                try call(.getSlotList, functions.pointee.C_GetSlotList) { $0(present, &slots, &count) }
            } catch where error.returnValue == .bufferTooSmall {
                continue
            }
            return slots.prefix(Int(clamping: count)).map { SlotID(rawValue: $0) }
        }
        throw PKCS11Error(.getSlotList, .bufferTooSmall)
    }

    public func slotInfo(_ slot: SlotID) throws(PKCS11Error) -> SlotInfo {
        var info = CK_SLOT_INFO()
        try call(.getSlotInfo, functions.pointee.C_GetSlotInfo) { $0(slot.rawValue, &info) }
        return SlotInfo(slot, info)
    }

    public func tokenInfo(_ slot: SlotID) throws(PKCS11Error) -> TokenInfo {
        TokenInfo(slot, try rawTokenInfo(slot))
    }

    private func rawTokenInfo(_ slot: SlotID) throws(PKCS11Error) -> CK_TOKEN_INFO {
        var info = CK_TOKEN_INFO()
        try call(.getTokenInfo, functions.pointee.C_GetTokenInfo) { $0(slot.rawValue, &info) }
        return info
    }

    /// The one initialised token that the URI selects.
    ///
    /// - Throws: ``PKCS11Error`` with `tokenNotFound` or `tokenAmbiguous`, naming the tokens that are there.
    public func token(matching uri: TokenURI) throws(PKCS11Error) -> TokenInfo {
        var found: [TokenInfo] = []
        var others: [TokenInfo] = []
        var failure: PKCS11Error?
        for slot in try slots(withToken: true) {
            let raw: CK_TOKEN_INFO
            do throws(PKCS11Error) {
                raw = try rawTokenInfo(slot)
            } catch {
                failure = error
                continue
            }
            let info = TokenInfo(slot, raw)
            guard info.isInitialized else { continue }
            if uri.matches(raw, slot: slot) { found.append(info) } else { others.append(info) }
        }
        if found.count == 1 { return found[0] }
        func list(_ tokens: [TokenInfo]) -> String {
            tokens.map { "'\($0.label)' (serial \($0.serial))" }.joined(separator: ", ")
        }
        if found.isEmpty {
            // It may be the one that does not answer.
            if let failure { throw failure }
            let there = others.isEmpty ? "the module shows no initialised token" : "there are \(list(others))"
            throw PKCS11Error(
                code: .tokenNotFound,
                message: "no token matches \(uri): \(there); check `uri`, or initialise one with `custodyctl token init`")
        }
        throw PKCS11Error(
            code: .tokenAmbiguous, message: "\(uri) matches \(list(found)); add serial= to select one")
    }

    public func mechanisms(_ slot: SlotID) throws(PKCS11Error) -> [Mechanism] {
        var count: CK_ULONG = 0
        try call(.getMechanismList, functions.pointee.C_GetMechanismList) { $0(slot.rawValue, nil, &count) }
        var list = [CK_MECHANISM_TYPE](repeating: 0, count: Int(clamping: count))
        try call(.getMechanismList, functions.pointee.C_GetMechanismList) { $0(slot.rawValue, &list, &count) }
        return list.prefix(Int(clamping: count)).map { Mechanism(rawValue: $0) }
    }

    public func mechanismInfo(_ slot: SlotID, _ mechanism: Mechanism) throws(PKCS11Error) -> MechanismInfo {
        var info = CK_MECHANISM_INFO()
        try call(.getMechanismInfo, functions.pointee.C_GetMechanismInfo) { $0(slot.rawValue, mechanism.rawValue, &info) }
        return MechanismInfo(info)
    }

    /// C_OpenSession. Custody needs read-write sessions only to change objects; some HSMs accept nothing else.
    public func openSession(_ slot: SlotID, readWrite: Bool) throws(PKCS11Error) -> Session {
        var handle: CK_SESSION_HANDLE = 0
        let flags = CKF_SERIAL_SESSION | (readWrite ? CKF_RW_SESSION : 0)
        try call(.openSession, functions.pointee.C_OpenSession) { $0(slot.rawValue, flags, nil, nil, &handle) }
        return Session(module: self, slot: slot, handle: handle)
    }

    /// Runs one function of the module; a missing entry is `CKR_FUNCTION_NOT_SUPPORTED`.
    @inline(__always)
    func call<Entry>(
        _ function: Function, _ entry: Entry?, _ body: (Entry) -> CK_RV
    ) throws(PKCS11Error) {
        guard let entry else { throw PKCS11Error(function, .functionNotSupported) }
        let returned = observing(function) { body(entry) }
        guard returned == CKR_OK else { throw PKCS11Error(function, ReturnValue(rawValue: returned)) }
    }

    /// Runs what calls a function of the module.
    @inline(__always)
    func observing(_ function: Function, _ body: () -> CK_RV) -> CK_RV { Self.observed(function, observer, body) }

    @inline(__always)
    private static func observed(_ function: Function, _ observer: CallObserver?, _ body: () -> CK_RV) -> CK_RV {
        guard let observer else { return body() }
        // Of the call alone: what the module is given is copied before, and what it gave is judged after.
        let start = ContinuousClock.now
        let returned = body()
        observer(function, ReturnValue(rawValue: returned), start.duration(to: .now))
        return returned
    }
}

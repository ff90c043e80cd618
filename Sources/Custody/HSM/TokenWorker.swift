import PKCS11

/// What a worker thread has: its session with the token, opened when needed and dropped on any error but bad data.
struct TokenWorker: ~Copyable {
    /// Why the token did not do what was asked.
    enum Failure: Error {
        case data
        case objectGone
        case objectForbidden
        case custody(CustodyError)
    }

    /// A class, so that it can be replaced as a whole.
    private final class OpenSession {
        let session: Session
        init(_ session: consuming Session) { self.session = session }
    }

    let connection: TokenConnection
    private var link: TokenLink?
    private var unavailable = CustodyError(.tokenUnavailable, "the HSM is being connected", retryAfterMilliseconds: 100)
    private var open: OpenSession?
    /// The link that `open` belongs to.
    private var openOn: TokenLink?
    private var latestSuccess: ContinuousClock.Instant?
    private var nonces = NonceSource()

    init(_ connection: TokenConnection) { self.connection = connection }

    /// Takes hold of the connection for a batch.
    mutating func begin() {
        do {
            let link = try connection.acquire()
            if openOn !== link { open = nil }
            self.link = link
        } catch {
            // The session stays until there is another link: closing it now could meet C_Finalize on the keeper's thread.
            unavailable = error
        }
    }

    /// Lets the connection go.
    mutating func end() {
        guard link != nil else { return }
        link = nil
        connection.release()
    }

    mutating func nextNonce() -> ArraySlice<UInt8> { nonces.next() }

    /// Looks at the keys on the token.
    mutating func refreshKeys(unlessRecent: Bool) throws(Failure) {
        let catalog = connection.catalog
        try run { (session) throws(PKCS11Error) in try catalog.refresh(session, unlessRecent: unlessRecent) }
    }

    /// Runs calls on the worker's session. If the session turns out to be dead they are run once more on a new one, so
    /// they must be safe to repeat.
    mutating func run<R>(_ body: (borrowing Session) throws(PKCS11Error) -> R) throws(Failure) -> R {
        var isSecondTry = false
        while true {
            guard let link else { throw .custody(unavailable) }
            do throws(PKCS11Error) {
                let current = try openSession(link)
                let result = try body(current.session)
                latestSuccess = .now
                return result
            } catch {
                switch Fault(error) {
                case .data: throw .data
                case .ambiguous:
                    guard isTokenWell(link) else { throw .custody(lose(link, error)) }
                    throw .data
                case .objectGone:
                    throw .objectGone
                case .objectForbidden:
                    throw .objectForbidden
                case .unsupported:
                    open = nil
                    throw .custody(CustodyError(.tokenUnavailable, "the token cannot do this; `custodyctl doctor` shows what it can", cause: "\(error)"))
                case .session:
                    open = nil
                    if isSecondTry {
                        // A fresh session met it too: the token is at fault, or what was asked of it.
                        guard isTokenWell(link) else { throw .custody(lose(link, error)) }
                        throw .custody(CustodyError(
                            .internalError, "the token refused the operation; the daemon's log says more", cause: "\(error)"))
                    }
                    isSecondTry = true
                case .pin, .connection:
                    throw .custody(lose(link, error))
                }
            }
        }
    }

    private mutating func openSession(_ link: TokenLink) throws(PKCS11Error) -> OpenSession {
        if let open { return open }
        let new = OpenSession(try link.module.openSession(link.token.slot, readWrite: connection.readWriteSessions))
        open = new
        openOn = link
        return new
    }

    private mutating func lose(_ link: TokenLink, _ error: PKCS11Error) -> CustodyError {
        open = nil
        unavailable = TokenLink.unavailable(error)
        connection.lose(link, because: unavailable)
        end()
        return unavailable
    }

    /// Whether an error that may mean either was about the data: another operation succeeded within the last second, or
    /// does now on a fresh session. So garbage from a client costs one canary a second at most.
    private mutating func isTokenWell(_ link: TokenLink) -> Bool {
        if let latestSuccess, latestSuccess.duration(to: .now) < .seconds(1) { return true }
        // The suspect session makes room first: the token may have no more of them.
        open = nil
        do {
            let session = try link.module.openSession(link.token.slot, readWrite: connection.readWriteSessions)
            let key = try session.generateKey(.aesKeyGeneration, [
                .objectClass(.secretKey), .keyType(.aes), .valueLength(32), .bool(.token, false), .bool(.sensitive, true),
                .bool(.extractable, false), .bool(.encrypt, true), .bool(.decrypt, true),
            ])
            let nonce = nonces.next()
            let text = [UInt8](repeating: 0x55, count: 16)
            var sealed: [UInt8] = []
            try session.encryptGCM(key, nonce: nonce.span.bytes, aad: text.span.bytes, plaintext: text.span.bytes, appendingTo: &sealed)
            let opened = try session.decryptGCM(key, nonce: nonce.span.bytes, aad: text.span.bytes, ciphertext: sealed.span.bytes)
            try session.destroyObject(key)
            guard opened == text else { return false }
            latestSuccess = .now
            return true
        } catch {
            return false
        }
    }
}

/// Random 96-bit nonces (NIST SP 800-38D section 8.2.2) from the kernel's generator, fetched a few hundred at a time.
struct NonceSource {
    private var block: [UInt8] = []
    private var position = 0

    mutating func next() -> ArraySlice<UInt8> {
        if position + Envelope.nonceLength > block.count {
            var generator = SystemRandomNumberGenerator()
            block = []
            for _ in 0..<(256 * Envelope.nonceLength / 8) {
                withUnsafeBytes(of: generator.next()) { block.append(contentsOf: $0) }
            }
            position = 0
        }
        defer { position += Envelope.nonceLength }
        return block[position..<position + Envelope.nonceLength]
    }
}

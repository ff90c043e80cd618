import PKCS11
import SecureMemory

/// What the custodian does on a worker's thread.
extension Custodian {
    /// Does the next operations of a request, as many as there are up to a number.
    func perform(
        _ request: CustodyRequest, _ judgements: [Judgement], _ rulebook: Rulebook, atMost operations: Int,
        _ progress: inout PendingRequest.Progress, _ worker: inout TokenWorker
    ) {
        let next = progress.reply.count..<min(progress.reply.count + operations, judgements.count)
        progress.reply.reserveCapacity(judgements.count)
        progress.records.reserveCapacity(judgements.count)
        for index in next {
            // What nobody waits for is not done; there is no decision to record.
            guard !request.caller.isGone else {
                progress.reply.append(.failure(CustodyError(.internalError, "the caller has gone")))
                continue
            }
            let (result, record) = perform(request, index, judgements[index], rulebook, &worker)
            progress.reply.append(result)
            progress.records.append(record)
        }
    }

    private func perform(
        _ request: CustodyRequest, _ index: Int, _ judgement: Judgement, _ rulebook: Rulebook, _ worker: inout TokenWorker
    ) -> Outcome {
        switch judgement {
        case .refused, .withoutKey:
            return performWithoutToken(request, index, judgement)
        case .keyUnknown(let operation, let target, let id):
            do throws(CustodyError) {
                guard request.deadline > .now else { throw PendingRequest.late }
                let name = try nameAfterLook(id, &worker)
                let known = Judgement(
                    operation, target, keyName: name, keyID: id, of: request.principal, rulebook, isSeen: true, wasUnknown: true)
                return perform(request, index, known, rulebook, &worker)
            } catch {
                return (.failure(error), judgement.record(of: request, index, unless: error))
            }
        case .allowed(let operation, let target, let keyName, let rule, let isCounted):
            do throws(CustodyError) {
                guard request.deadline > .now else { throw PendingRequest.late }
                if !isCounted, !connection.catalog.ring.contains(keyName) { try worker.lookAgain() }
                if !isCounted, connection.catalog.ring.contains(keyName) {
                    let seen = Judgement(
                        operation, target, keyName: keyName, keyID: nil, of: request.principal, rulebook, isSeen: true, wasUnknown: true)
                    return perform(request, index, seen, rulebook, &worker)
                }
                let answer = try execute(operation, target, &worker)
                return (
                    .success(answer),
                    request.record(index, keyName: answer.key?.name, keyID: answer.key?.id, .allowed(rule: rule), answer)
                )
            } catch {
                return (.failure(error), judgement.record(of: request, index, unless: error))
            }
        }
    }

    /// The name of a version that no look has shown yet. Its name only: whether it may be used is not for callers to learn
    /// that the policy then denies.
    private func nameAfterLook(_ id: KeyID, _ worker: inout TokenWorker) throws(CustodyError) -> KeyName {
        try worker.lookAgain()
        if let version = connection.catalog.ring.version(id) { return version.name }
        return try connection.catalog.ring.unwrappingVersion(id).name
    }

    private func execute(_ operation: Operation, _ target: Target, _ worker: inout TokenWorker) throws(CustodyError) -> Answer {
        switch (operation, target) {
        case (.wrap(let name, let plaintext, let context), _):
            return try wrapping(name, &worker) { (worker, key) throws(TokenWorker.Failure) in
                .wrapped(blob: try worker.seal(plaintext, key, context), KeyReference(key))
            }
        case (.generateDataKey(let name, let length, let withPlaintext, let context), _):
            return try wrapping(name, &worker) { (worker, key) throws(TokenWorker.Failure) in
                let random = try worker.run { (session) throws(PKCS11Error) in try session.random(count: length) }
                defer { random.zeroize() }
                let dataKey = SecretBytes(random)
                let blob = try worker.seal(dataKey, key, context)
                return .dataKey(blob: blob, plaintext: withPlaintext ? dataKey : nil, KeyReference(key))
            }
        case (.encrypt(let name, let plaintext, let aad), _):
            return try wrapping(name, &worker) { (worker, key) throws(TokenWorker.Failure) in
                let nonce = Array(worker.nextNonce())
                var sealed = try worker.encrypt(plaintext, key, nonce: nonce[...], aad: aad, prefix: [])
                let tag = Array(sealed.suffix(Envelope.tagLength))
                sealed.removeLast(Envelope.tagLength)
                return .encrypted(nonce: nonce, ciphertext: sealed, tag: tag, KeyReference(key))
            }
        case (.unwrap(_, let context), .version(let id, .envelope(let envelope))):
            return try opening(id, &worker) { (worker, key) throws(TokenWorker.Failure) in
                .unwrapped(try worker.open(envelope, key, context), KeyReference(key))
            }
        case (.rewrap(_, let context), .version(let id, .envelope(let envelope))):
            // What is only moved is not needed: it counts as moved and not as opened.
            let (content, name) = try opening(id, isRewrap: true, &worker) { (worker, key) throws(TokenWorker.Failure) in
                (try worker.open(envelope, key, context), key.name)
            }
            let answer = try wrapping(name, &worker) { (worker, key) throws(TokenWorker.Failure) in
                Answer.wrapped(blob: try worker.seal(content, key, context), KeyReference(key))
            }
            if answer.key?.id != id { ledger.noteRewrap(from: id) }
            return answer
        case (.decrypt(let raw), .version(let id, _)):
            return try opening(id, &worker) { (worker, key) throws(TokenWorker.Failure) in
                let plaintext = try worker.decrypt(
                    key, nonce: raw.nonce[...], aad: raw.aad, ciphertext: (raw.ciphertext + raw.tag)[...])
                return .decrypted(plaintext, KeyReference(key))
            }
        case (.unwrap, _), (.rewrap, _), (.decrypt, _), (.status, _), (.metrics, _), (.reload, _):
            throw CustodyError(.internalError, "the operation and its target do not fit together")
        }
    }

    /// Uses the version of a root key that wraps, and counts that before.
    private func wrapping<R>(
        _ name: KeyName, _ worker: inout TokenWorker,
        _ use: (inout TokenWorker, KeyVersion) throws(TokenWorker.Failure) -> R
    ) throws(CustodyError) -> R {
        try worker.onKey(connection.catalog, { ring throws(CustodyError) in try ring.wrappingVersion(of: name) }) {
            (worker, key) throws(TokenWorker.Failure) in
            do throws(CustodyError) {
                try ledger.countEncryption(with: key)
            } catch {
                throw .custody(error)
            }
            return try use(&worker, key)
        }
    }

    /// Uses the version that a blob names.
    private func opening<R>(
        _ id: KeyID, isRewrap: Bool = false, _ worker: inout TokenWorker,
        _ use: (inout TokenWorker, KeyVersion) throws(TokenWorker.Failure) -> R
    ) throws(CustodyError) -> R {
        let result = try worker.onKey(connection.catalog, { ring throws(CustodyError) in try ring.unwrappingVersion(id) }, use)
        if !isRewrap { ledger.noteDecryption(with: id) }
        return result
    }
}

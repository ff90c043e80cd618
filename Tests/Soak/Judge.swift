import CustodyClient
import CustodyProtocol
import SecureMemory

/// Holds answers against the model.
struct Judge: Sendable {
    let world: World
    let book: Book
    let treasury: Treasury

    typealias Outcome = Result<CustodyClient.Answer, CustodyClientError>

    /// The errors that say no more than "not now".
    private static let unavailable: Set<ErrorCode> = [.tokenUnavailable, .shuttingDown]

    func judge(_ trial: Trial, _ outcome: Outcome, since snapshot: World.Snapshot) {
        let truth = world.truth(since: snapshot)
        switch outcome {
        case .success(let answer):
            book.count("checked \(trial.name)")
            if let wrong = objection(to: answer, trial, truth) { book.violation(.wrong, "\(trial.name): \(wrong)") }
        case .failure(let error):
            fail(trial, error, truth)
        }
    }

    // MARK: Answers

    private func objection(to answer: CustodyClient.Answer, _ trial: Trial, _ truth: World.Truth) -> String? {
        if trial.key == "second", truth.isSecondEnabled == false { return "done with a key that was disabled more than a second ago" }
        if trial.isOfBannedTenant, truth.isBanned == true { return "allowed to a tenant that is denied" }
        switch (trial.expectation, answer) {
        case (.wraps(let payload, let context), .wrapped(let wrapped)):
            book.count("acknowledged wrap")
            keep(wrapped, payload, context)
            return objection(to: wrapped.keyName, wrapped.keyVersion, trial, truth)
        case (.makesDataKey(let length, let context), .dataKey(let dataKey)):
            book.count("acknowledged generate-data-key")
            book.count("used \(dataKey.keyName)/\(dataKey.keyVersion)")
            guard let plaintext = dataKey.plaintext?.exposed(), plaintext.count == length else { return "a data key of another length" }
            treasury.keep(Kept(form: .blob(dataKey.blob, context: context), plaintext: plaintext, key: dataKey.keyName, version: dataKey.keyVersion))
            return objection(to: dataKey.keyName, dataKey.keyVersion, trial, truth)
        case (.encrypts(let payload, let aad), .encrypted(let raw)):
            book.count("acknowledged encrypt")
            let version = raw.keyID.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            book.count("used \(trial.key)/\(version)")
            treasury.keep(Kept(form: .raw(raw, aad: aad), plaintext: payload, key: trial.key, version: version))
            return objection(to: trial.key, version, trial, truth)
        case (.opens(let kept), .unwrapped(let opened)):
            book.count("acknowledged unwrap")
            guard opened.plaintext.exposed() == kept.plaintext else { return "a wrong plaintext" }
            guard (opened.keyName, opened.keyVersion) == (kept.key, kept.version) else { return "opened by \(opened.keyName)/\(opened.keyVersion), wrapped by \(kept.key)/\(kept.version)" }
            return nil
        case (.opens(let kept), .decrypted(let plaintext)):
            book.count("acknowledged decrypt")
            return plaintext.exposed() == kept.plaintext ? nil : "a wrong plaintext"
        case (.rewraps(let kept), .wrapped(let wrapped)):
            book.count("acknowledged rewrap")
            guard case .blob(_, let context) = kept.form else { return nil }
            keep(wrapped, kept.plaintext, context)
            return objection(to: wrapped.keyName, wrapped.keyVersion, trial, truth)
        case (.tells, .status): return nil
        case (.fails, _): return "it must fail, and it was done"
        default: return "an answer to another operation"
        }
    }

    private func keep(_ wrapped: WrappedBlob, _ plaintext: [UInt8], _ context: [String: String]) {
        book.count("used \(wrapped.keyName)/\(wrapped.keyVersion)")
        treasury.keep(Kept(form: .blob(wrapped.blob, context: context), plaintext: plaintext, key: wrapped.keyName, version: wrapped.keyVersion))
    }

    private func objection(to key: String, _ version: UInt32, _ trial: Trial, _ truth: World.Truth) -> String? {
        guard key == trial.key else { return "key '\(key)' answers for '\(trial.key)'" }
        guard key == "root" else { return version == 1 ? nil : "version \(version) of a key that has one" }
        guard (1...truth.highest).contains(version) else { return "version \(version), and there are \(truth.highest)" }
        guard let newest = truth.newest, version != newest else { return nil }
        // A token that does not answer shows no new versions either.
        guard truth.isClear else {
            book.count("answers of an older version under a disturbance")
            return nil
        }
        return "version \(version), more than a second after \(newest) was made"
    }

    // MARK: Errors

    private func fail(_ trial: Trial, _ error: CustodyClientError, _ truth: World.Truth) {
        switch error.code {
        case .cancelled, .shutDown: return
        case .protocolViolation, .requestTooLarge: break
        case .deadlineExceeded: return late(trial, truth)
        case .cannotConnect, .connectionLost:
            if !truth.isClear { return book.count("refused no connection") }
        case .server(let code):
            if isRight(code, trial, truth) {
                book.count("checked \(trial.name)")
                if [.decryptionFailed, .denied].contains(code) { book.count("acknowledged \(code)") }
                return
            }
            if code == .overloaded { return book.count("refused \(code)") }
            if code == .deadlineExceeded { return late(trial, truth) }
            if !truth.isClear, Self.unavailable.contains(code) || truth.tolerated.contains(code) { return book.count("refused \(code)") }
        }
        let circumstances = truth.isClear ? "nothing disturbs" : "disturbed"
        book.violation(.wrong, "\(trial.name) of key \(trial.key): \(error) (\(circumstances))")
    }

    /// Not a verdict: how fast the machine is decides nothing.
    private func late(_ trial: Trial, _ truth: World.Truth) {
        book.count(truth.isClear ? "refused deadline-exceeded, nothing disturbing" : "refused deadline-exceeded")
    }

    private func isRight(_ code: ErrorCode, _ trial: Trial, _ truth: World.Truth) -> Bool {
        if case .fails(let codes) = trial.expectation, codes.contains(code) { return true }
        if code == .keyNotUsable, trial.key == "second", truth.isSecondEnabled != true { return true }
        // Which key a changed blob names is not known.
        return code == .denied && trial.isOfBannedTenant && truth.isBanned != false
    }
}

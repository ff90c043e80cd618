import Foundation
import MasterKey
import NIOHTTP1
import SecureMemory
import Synchronization

/// Makes one call of the KMS, with as many tries as it takes and makes sense.
final class Caller: Sendable {
    private let settings: Settings
    /// How long a call may take, and how long one try of it.
    private let perCall: Duration, perAttempt: Duration
    /// The clock by which requests are signed.
    private let now: @Sendable () -> Date
    private let credentials: CredentialSource
    private let transport: Transport
    /// How far the KMS' clock is ahead of ours, as far as an answer made that known.
    private let skew = Mutex<TimeInterval>(0)

    init(_ configuration: AWSKMSClient.Configuration) throws(MasterKeyError) {
        (perCall, perAttempt, now) = (configuration.deadline, configuration.perAttempt, configuration.now)
        settings = try Settings(configuration)
        credentials = try CredentialSource(configuration, settings.files)
        // Last, since it has to be shut down.
        transport = try Transport(settings, perAttempt: perAttempt)
    }

    var region: String { settings.region }
    var endpoint: Endpoint { settings.endpoint }

    func shutdown() async { await transport.shutdown() }

    func failure(_ operation: Operation, _ key: String?) -> KMSFailure {
        KMSFailure(operation: operation, key: key, endpoint: settings.endpoint)
    }

    /// The end of a call that begins now.
    var deadline: ContinuousClock.Instant { .now + perCall }

    /// - Returns: The body of the answer, which may hold a plaintext.
    func call(
        _ operation: Operation, key: String? = nil, _ body: RequestBody, until deadline: ContinuousClock.Instant
    ) async throws(Refusal) -> SecretBytes {
        let failure = failure(operation, key)
        var attempt = 0
        var hasSetClock = false
        var hasRenewed = false
        while true {
            attempt += 1
            let used: AWSCredentials
            do { used = try credentials.current() } catch { throw Refusal(error) }
            let outcome = await once(operation, body, used, until: deadline)
            switch outcome {
            case .answered(let answer) where answer.status == 200: return answer.body
            case .answered(let answer):
                let error = ErrorAnswer(answer)
                let meaning = error.meaning(createsKey: operation == .createKey)
                // Both were refused before anything was done, so they may be sent again whatever the operation is.
                if meaning == .credentials, !hasSetClock, setClock(answer, error) { hasSetClock = true; continue }
                if meaning == .credentials, !hasRenewed, isRenewed(used) { hasRenewed = true; continue }
                let text = hiding(body, used, error.text)
                if meaning == .unavailable, !operation.isRepeatable {
                    throw Refusal(failure.error(.kmsAnswerLost, "\(text); it may have been done all the same"), meaning)
                }
                let refusal = Refusal(failure.error(KMSFailure.code(meaning), text, attempts: attempt), meaning, said: error.message)
                guard meaning == .throttled || meaning == .unavailable else { throw refusal }
                try await pause(after: attempt, until: deadline, failure, refusal)
            case .failed(let reason):
                let refusal = Refusal(error(reason, operation, failure, attempt))
                guard reason.kind == .timedOut || reason.kind == .connection, refusal.error.code == .kmsUnavailable else {
                    throw refusal
                }
                try await pause(after: attempt, until: deadline, failure, refusal)
            }
        }
    }

    private enum Outcome {
        case answered(RawAnswer)
        case failed(TransportFailure)
    }

    private func once(
        _ operation: Operation, _ body: RequestBody, _ credentials: AWSCredentials, until deadline: ContinuousClock.Instant
    ) async -> Outcome {
        let left = min(perAttempt, ContinuousClock.now.duration(to: deadline))
        guard left > .zero else {
            return .failed(TransportFailure(kind: .timedOut, reason: "no time was left", mayHaveArrived: false))
        }
        let headers = [
            (name: "Host", value: settings.endpoint.authority), (name: "Content-Type", value: "application/x-amz-json-1.1"),
            (name: "X-Amz-Target", value: "TrentService.\(operation.rawValue)"),
        ]
        let added = SignatureV4.headers(
            signing: headers, bodyHash: body.hash, credentials: credentials, region: settings.region,
            at: now().addingTimeInterval(skew.withLock { $0 }))
        do {
            return .answered(try await transport.send(body, headers: HTTPHeaders(headers + added), within: left))
        } catch {
            return .failed(error)
        }
    }

    private func error(
        _ reason: TransportFailure, _ operation: Operation, _ failure: KMSFailure, _ attempts: Int
    ) -> MasterKeyError {
        if reason.mayHaveArrived, !operation.isRepeatable {
            return failure.error(.kmsAnswerLost, "\(reason.reason); it may have been done all the same", cause: reason)
        }
        return switch reason.kind {
        case .cancelled: failure.error(.cancelled, reason.reason)
        case .tooLong: failure.error(.kmsRefused, reason.reason, advice: "check the endpoint: a KMS's answers are short")
        case .certificate:
            failure.error(
                .kmsUnavailable, reason.reason, advice: "put the authority's certificate into a file and name that in AWS_CA_BUNDLE",
                cause: reason)
        case .timedOut, .connection: failure.error(.kmsUnavailable, reason.reason, attempts: attempts, cause: reason)
        }
    }

    private func pause(
        after attempt: Int, until deadline: ContinuousClock.Instant, _ failure: KMSFailure, _ refusal: Refusal
    ) async throws(Refusal) {
        let pause = Backoff.pause(after: attempt)
        guard attempt < Backoff.attempts, ContinuousClock.now + pause < deadline else { throw refusal }
        do {
            try await Task.sleep(for: pause)
        } catch {
            throw Refusal(failure.error(.cancelled, "the call was cancelled"))
        }
    }

    private func setClock(_ answer: RawAnswer, _ error: ErrorAnswer) -> Bool {
        guard let date = answer.headers.first(name: "Date").flatMap(HTTPDate.parse) else { return false }
        let difference = date.timeIntervalSince(now())
        return skew.withLock { skew in
            guard error.mayBeSkew(difference - skew) else { return false }
            skew = difference
            return true
        }
    }

    /// Whether the files hold other credentials by now.
    private func isRenewed(_ used: AWSCredentials) -> Bool {
        guard let current = try? credentials.current() else { return false }
        return current.secret !== used.secret
    }

    private func hiding(_ body: RequestBody, _ credentials: AWSCredentials, _ text: String) -> String {
        var text = Redaction.removing(credentials.secret, from: body.redact(text))
        if let token = credentials.token { text = Redaction.removing(token, from: text) }
        return text
    }
}

/// Why a call was refused, with what decides how it goes on.
struct Refusal: Error {
    let error: MasterKeyError
    let meaning: ErrorAnswer.Meaning?
    /// The KMS's own words.
    let said: String

    init(_ error: MasterKeyError, _ meaning: ErrorAnswer.Meaning? = nil, said: String = "") {
        self.error = error
        self.meaning = meaning
        self.said = said
    }
}

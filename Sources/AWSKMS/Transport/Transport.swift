import AsyncHTTPClient
import CSystemShim
import Foundation
import MasterKey
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SecureMemory

/// What came back, whatever it says.
struct RawAnswer: Sendable {
    let status: Int
    let headers: HTTPHeaders
    /// May hold a plaintext.
    let body: SecretBytes
}

/// Why nothing came back.
struct TransportFailure: Error {
    enum Kind: Sendable { case cancelled, timedOut, certificate, tooLong, connection }
    let kind: Kind
    let reason: String
    /// Whether the KMS may have got the request, and done what it says.
    let mayHaveArrived: Bool
}

/// Sends one request once.
struct Transport: Sendable {
    static let answerLimit = 1 << 20

    private let client: HTTPClient
    private let endpoint: Endpoint

    init(_ settings: Settings, perAttempt: Duration) throws(MasterKeyError) {
        endpoint = settings.endpoint
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.tlsConfiguration = try Self.trust(settings.trustRoots)
        // One try is one connection: what is tried again is decided above. Idle ones go before the KMS closes them, since a
        // request into a closing connection may or may not have arrived.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.idleTimeout = .seconds(5)
        configuration.timeout.connect = .nanoseconds(Int64(max(perAttempt / .nanoseconds(1), 1)))
        configuration.httpVersion = .http1Only
        configuration.decompression = .disabled
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    private static func trust(_ bundle: String?) throws(MasterKeyError) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        guard let bundle else { return configuration }
        do {
            configuration.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(bundle))]
        } catch {
            throw MasterKeyError(
                .kmsConfiguration, "the certificates of AWS_CA_BUNDLE (\(bundle)) can't be read: \(error)",
                advice: "name a PEM file that this user may read, or unset AWS_CA_BUNDLE", cause: error)
        }
        return configuration
    }

    func shutdown() async { try? await client.shutdown() }

    /// - Parameter limit: How long it may take, from connecting to the last byte of the answer.
    func send(_ body: RequestBody, headers: HTTPHeaders, within limit: Duration) async throws(TransportFailure) -> RawAnswer {
        let witness = BodySequence.Witness()
        let first = await withTaskGroup(of: Result<RawAnswer, TransportFailure>.self) { group in
            group.addTask { await exchange(body, headers, witness) }
            // The HTTP client's own deadline ends with the answer's head: one that trickles would take for ever.
            group.addTask {
                try? await Task.sleep(for: limit)
                return .failure(TransportFailure(kind: .timedOut, reason: "no answer within \(limit)", mayHaveArrived: true))
            }
            defer { group.cancelAll() }
            return await group.next()
        }
        switch first {
        case .success(let answer): return answer
        case .failure(let failure):
            let kind = Task.isCancelled ? .cancelled : failure.kind
            throw TransportFailure(kind: kind, reason: failure.reason, mayHaveArrived: witness.wasAsked)
        case nil: throw TransportFailure(kind: .cancelled, reason: "the call was cancelled", mayHaveArrived: witness.wasAsked)
        }
    }

    private func exchange(
        _ body: RequestBody, _ headers: HTTPHeaders, _ witness: BodySequence.Witness
    ) async -> Result<RawAnswer, TransportFailure> {
        var request = HTTPClientRequest(url: endpoint.url)
        request.method = .POST
        request.headers = headers
        request.body = .stream(BodySequence(body: body, witness: witness), length: .known(Int64(body.buffer.readableBytes)))
        var pieces: [ByteBuffer] = []
        // They are the HTTP client's own, and nobody reads them again.
        defer { for piece in pieces { piece.withUnsafeReadableBytes { csystem_zeroize($0.baseAddress, $0.count) } } }
        do {
            // The time is kept by the caller.
            let response = try await client.execute(request, deadline: .distantFuture)
            var length = 0
            for try await piece in response.body {
                pieces.append(piece)
                length += piece.readableBytes
                guard length <= Self.answerLimit else {
                    return .failure(
                        TransportFailure(
                            kind: .tooLong, reason: "the answer has more than \(Self.answerLimit) bytes", mayHaveArrived: true))
                }
            }
            let bytes = SecretBytes(pieces.lazy.flatMap(\.readableBytesView))
            return .success(RawAnswer(status: Int(response.status.code), headers: response.headers, body: bytes))
        } catch {
            let (kind, text) = Self.explain(error)
            let reason = kind == .connection ? (witness.wasAsked ? "the connection broke: " : "can't connect: ") + text : text
            return .failure(TransportFailure(kind: kind, reason: reason, mayHaveArrived: witness.wasAsked))
        }
    }

    private static func explain(_ error: any Error) -> (TransportFailure.Kind, String) {
        let text = "\(error)"
        if text.contains("CERTIFICATE_VERIFY_FAILED") || text.contains("unableToValidateCertificate") {
            return (.certificate, "the certificate is not from an authority that this machine trusts, or not valid")
        }
        if text.contains("failedToVerifyHostname") || error is NIOSSLExtraError {
            return (.certificate, "the certificate is not for this host: \(text)")
        }
        switch error {
        case is CancellationError: return (.cancelled, "the call was cancelled")
        case let error as HTTPClientError where error == .cancelled: return (.cancelled, "the call was cancelled")
        case let error as HTTPClientError where error == .connectTimeout || error == .readTimeout || error == .deadlineExceeded:
            return (.timedOut, text)
        case let error as HTTPClientError where error == .alreadyShutdown: return (.cancelled, "the client was shut down")
        case let error as NIOConnectionError:
            let reasons = error.connectionErrors.map { "\($0.error)" } + [error.dnsAError.map { "\($0)" }].compactMap(\.self)
            return (.connection, reasons.first ?? text)
        default: return (.connection, text)
        }
    }
}

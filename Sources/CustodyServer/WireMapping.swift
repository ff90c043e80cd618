import Custody
import CustodyProtocol
import Foundation
import PKCS11
import SecureMemory
import SwiftProtobuf

/// Where the wire's messages become the domain's and back: the only place that knows both.
package enum WireMapping {
    // MARK: Requests

    package static func item(_ operation: WireOperation) -> CustodyRequest.Item {
        let kind = kind(operation)
        let mapped: Result<Custody.Operation, CustodyError>
        do throws(CustodyError) {
            mapped = .success(try self.operation(operation))
        } catch {
            mapped = .failure(error)
        }
        return CustodyRequest.Item(kind: kind, operation: mapped)
    }

    package static func context(_ pairs: [WirePair]) throws(CustodyError) -> EncryptionContext {
        pairs.isEmpty ? .empty : try EncryptionContext(pairs.map { .init(key: $0.key, value: $0.value) })
    }

    private static func kind(_ operation: WireOperation) -> Custody.Operation.Kind? {
        switch operation.kind {
        case .wrap: .wrap
        case .unwrap: .unwrap
        case .rewrap: .rewrap
        case .generateDataKey: .generateDataKey
        case .encrypt: .encrypt
        case .decrypt: .decrypt
        case .status, .metrics: .status
        case .reload: .reload
        case .disconnect: .disconnect
        case nil: nil
        }
    }

    private static func operation(_ operation: WireOperation) throws(CustodyError) -> Custody.Operation {
        switch operation.kind {
        case .wrap(let wrap):
            return .wrap(key: try KeyName(wrap.keyName), plaintext: SecretBytes(wrap.plaintext), context: try context(wrap.context))
        case .unwrap(let unwrap):
            return .unwrap(blob: Array(unwrap.blob), context: try context(unwrap.context))
        case .rewrap(let rewrap):
            return .rewrap(blob: Array(rewrap.blob), context: try context(rewrap.context))
        case .generateDataKey(let dataKey):
            return .generateDataKey(
                key: try KeyName(dataKey.keyName), length: dataKey.length == 0 ? 32 : Int(dataKey.length),
                withPlaintext: !dataKey.withoutPlaintext, context: try context(dataKey.context))
        case .encrypt(let encrypt):
            return .encrypt(key: try KeyName(encrypt.keyName), plaintext: SecretBytes(encrypt.plaintext), aad: Array(encrypt.aad))
        case .decrypt(let decrypt):
            return .decrypt(RawCiphertext(
                keyID: Array(decrypt.keyID), nonce: Array(decrypt.nonce), ciphertext: Array(decrypt.ciphertext),
                tag: Array(decrypt.tag), aad: Array(decrypt.aad)))
        case .status:
            return .status
        case .metrics:
            return .metrics
        case .reload:
            return .reload
        case .disconnect(let disconnect):
            return .disconnect(uid: disconnect.uid)
        case nil:
            throw CustodyError(
                .unknownOperation, "the operation is empty or not known to this server; a newer client may be talking to an older server")
        }
    }

    // MARK: Responses

    static func response(_ reply: CustodyReply) -> WireResponse {
        WireResponse.with { $0.results = reply.map(result) }
    }

    static func response(_ content: Result<CustodyReply, RequestRejection>) -> WireResponse {
        switch content {
        case .success(let reply): response(reply)
        case .failure(let rejection):
            WireResponse.with { $0.error = error(rejection.code, rejection.message, retryAfter: rejection.retryAfter) }
        }
    }

    static func error(_ error: CustodyError) -> WireError {
        self.error(code(error.code), error.message, retryAfter: error.retryAfterMilliseconds ?? 0)
    }

    static func error(_ code: ErrorCode, _ message: String, retryAfter: Int = 0) -> WireError {
        WireError.with {
            $0.code = code.rawValue
            $0.message = message
            $0.retryAfterMs = UInt32(clamping: retryAfter)
        }
    }

    private static func result(_ result: Result<Answer, CustodyError>) -> WireResult {
        WireResult.with {
            switch result {
            case .failure(let error): $0.error = self.error(error)
            case .success(.wrapped(let blob, let key)):
                $0.wrapped = .with {
                    $0.blob = Data(blob)
                    $0.keyName = key.name.description
                    $0.keyVersion = key.id.version
                }
            case .success(.unwrapped(let plaintext, let key)):
                $0.unwrapped = .with {
                    $0.plaintext = Data(plaintext.exposed())
                    $0.keyName = key.name.description
                    $0.keyVersion = key.id.version
                }
            case .success(.dataKey(let blob, let plaintext, let key)):
                $0.dataKey = .with {
                    $0.blob = Data(blob)
                    if let plaintext { $0.plaintext = Data(plaintext.exposed()) }
                    $0.keyName = key.name.description
                    $0.keyVersion = key.id.version
                }
            case .success(.encrypted(let nonce, let ciphertext, let tag, let key)):
                $0.encrypted = .with {
                    $0.keyID = Data(key.id.bytes)
                    $0.nonce = Data(nonce)
                    $0.ciphertext = Data(ciphertext)
                    $0.tag = Data(tag)
                    $0.keyVersion = key.id.version
                }
            case .success(.decrypted(let plaintext, let key)):
                $0.decrypted = .with {
                    $0.plaintext = Data(plaintext.exposed())
                    $0.keyVersion = key.id.version
                }
            case .success(.status(let report)): $0.status = status(report)
            case .success(.reloaded(let report)): $0.reloaded.configuration = configuration(report)
            case .success(.disconnected(let connections)): $0.disconnected.connections = UInt32(clamping: connections)
            }
        }
    }

    private static func status(_ report: StatusReport) -> WireStatusReport {
        WireStatusReport.with {
            $0.serverVersion = CustodyRelease.version
            $0.token = token(report.token)
            if let door = report.door { $0.door = Self.door(door) }
            $0.keys = report.keys.map { name, versions in
                let wrapping = versions.last { $0.state == .active }?.id
                return WireKeyReport.with {
                    $0.name = name.description
                    $0.versions = versions.map { version($0, isWrapping: $0.id == wrapping, report) }
                }
            }
            show(report.strangers, in: &$0)
            $0.uptimeMs = UInt64(report.uptime / .milliseconds(1))
            $0.allowed = report.allowed
            $0.denied = report.denied
            $0.failed = report.failed
            $0.queued = UInt32(clamping: report.queued)
            $0.queueLimit = UInt32(clamping: report.queueLimit)
            $0.auditWritable = report.isAuditWritable
            $0.audit = audit(report.audit)
            $0.limits = report.limits.map { limit in
                .with {
                    $0.rule = limit.rule
                    $0.scope = limit.scope
                    $0.refused = limit.refused
                    $0.lastRefusedMs = limit.lastRefusedMilliseconds
                }
            }
            $0.configuration = configuration(report.configuration)
            $0.usesCountedSinceMs = report.usesCountedSince
            $0.sessions = UInt32(clamping: report.sessions)
            if let metrics = report.metrics { $0.metrics = Self.metrics(metrics) }
        }
    }

    private static func metrics(_ report: MetricsReport) -> WireMetricsReport {
        func pairs(_ labels: [MetricsReport.Label]) -> [WirePair] {
            labels.map { label in
                .with {
                    $0.key = label.name
                    $0.value = label.value
                }
            }
        }
        return WireMetricsReport.with {
            $0.counters = report.counters.map { counter in
                .with {
                    $0.name = counter.name
                    $0.labels = pairs(counter.labels)
                    $0.value = counter.value
                }
            }
            $0.bucketBoundsNs = MetricsReport.bounds.map { UInt64(clamping: $0) }
            $0.histograms = report.histograms.map { histogram in
                .with {
                    $0.name = histogram.name
                    $0.labels = pairs(histogram.labels)
                    $0.counts = histogram.counts
                    $0.sumNs = histogram.sumNanoseconds
                }
            }
        }
    }

    private static func audit(_ report: AuditReport) -> WireAuditReport {
        WireAuditReport.with {
            $0.file = report.file
            $0.durability = report.durability
            $0.detail = report.failure ?? ""
            $0.sequence = report.sequence
            $0.checkpointSequence = report.checkpoint?.sequence ?? 0
            $0.checkpointTimeMs = report.checkpoint?.milliseconds ?? 0
            $0.checkpointDetail = report.checkpointFailure ?? ""
            $0.anchor = report.anchor
        }
    }

    private static func configuration(_ report: ConfigurationReport) -> WireConfigurationReport {
        WireConfigurationReport.with {
            $0.file = report.file
            $0.loadedMs = report.loadedMilliseconds
            $0.grants = UInt32(clamping: report.grants)
            $0.denials = UInt32(clamping: report.denials)
            $0.limits = UInt32(clamping: report.limits)
            $0.detail = report.trouble ?? ""
        }
    }

    private static func token(_ report: TokenReport) -> WireTokenReport {
        WireTokenReport.with {
            switch report.state {
            case .ready(let token):
                $0.state = .ready
                show(token, in: &$0)
            case .degraded(let token, let reason):
                $0.state = .degraded
                $0.detail = reason
                show(token, in: &$0)
            case .recovering: $0.state = .recovering
            case .locked(let error):
                $0.state = .locked
                $0.detail = error.cause.map { "\(error.message): \($0)" } ?? error.message
            case .unavailable(let error):
                $0.state = .unavailable
                $0.detail = error.cause.map { "\(error.message): \($0)" } ?? error.message
            }
            $0.sinceMs = report.sinceMilliseconds
            let health = report.health
            $0.health = .with {
                $0.latestSuccessMs = health.latestSuccess ?? 0
                $0.latestCanaryMs = health.latestCanary ?? 0
                $0.canaryUs = UInt64(clamping: Int64(health.canaryDuration / .microseconds(1)))
                $0.logins = health.logins
                $0.losses = health.losses
                $0.hungThreads = UInt32(clamping: health.hungThreads)
                $0.hungThreadsLimit = UInt32(clamping: health.hungThreadsLimit)
            }
        }
    }

    private static func show(_ token: TokenInfo, in report: inout WireTokenReport) {
        report.label = token.label
        report.manufacturer = token.manufacturer
        report.model = token.model
        report.serial = token.serial
    }

    private static func door(_ report: DoorReport) -> WireDoorReport {
        WireDoorReport.with {
            $0.connections = UInt32(clamping: report.connections)
            $0.connectionsLimit = UInt32(clamping: report.connectionsLimit)
            $0.connectionsRefused = report.connectionsRefused
            $0.requestsRefused = report.requestsRefused
            $0.bytesInFlight = UInt64(clamping: report.bytesInFlight)
            $0.bytesInFlightLimit = UInt64(clamping: report.bytesInFlightLimit)
            $0.detail = report.trouble ?? ""
        }
    }

    private static func version(_ version: KeyVersion, isWrapping: Bool, _ report: StatusReport) -> WireKeyVersionReport {
        let usage = report.usage[version.id] ?? KeyUsage()
        return WireKeyVersionReport.with {
            $0.wraps = isWrapping
            $0.created = version.created ?? ""
            $0.uses = usage.uses
            $0.usesLimit = report.usesLimit
            $0.rewrapped = usage.rewrapped
            $0.lastEncryptedMs = usage.lastEncrypted ?? 0
            $0.lastDecryptedMs = usage.lastDecrypted ?? 0
            $0.version = version.version
            $0.keyID = Data(version.id.bytes)
            switch version.state {
            case .active: $0.state = .active
            case .deactivated: $0.state = .deactivated
            case .disabled: $0.state = .disabled
            case .scheduledForDestruction(let day):
                $0.state = .scheduledForDestruction
                $0.destroyAfter = day
            case .refused(let reason):
                $0.state = .refused
                $0.detail = reason
            }
            if let exception = version.exception { $0.detail = exception } else if let warning = version.warning { $0.detail = warning }
            if usage.uses >= report.usesLimit / 2 {
                $0.detail = "used \(usage.uses) times of \(report.usesLimit): rotate the key" + ($0.detail.isEmpty ? "" : "; " + $0.detail)
            }
        }
    }

    /// Objects that are no versions, one entry for each name: as version 0, which no key has. Anybody may have made any number.
    private static func show(_ strangers: [KeyRing.Stranger], in report: inout WireStatusReport) {
        let byName = Dictionary(grouping: strangers, by: \.name).sorted { $0.key < $1.key }
        for (name, same) in byName.prefix(16) {
            let entry = WireKeyVersionReport.with {
                $0.state = .refused
                $0.keyID = Data(same[0].id)
                $0.detail = same[0].reason + (same.count > 1 ? "; and \(same.count - 1) more of this name" : "")
                    + (name == byName.prefix(16).last?.key && byName.count > 16 ? "; and \(byName.count - 16) more names" : "")
            }
            if let index = report.keys.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) {
                report.keys[index].versions.append(entry)
            } else {
                report.keys.append(.with {
                    $0.name = name
                    $0.versions = [entry]
                })
            }
        }
    }

    private static func code(_ code: CustodyError.Code) -> ErrorCode {
        switch code {
        case .invalidRequest: .invalidRequest
        case .unknownOperation: .unknownOperation
        case .payloadTooLarge: .payloadTooLarge
        case .invalidContext: .invalidContext
        case .malformedBlob: .malformedBlob
        case .unsupportedFormat: .unsupportedFormat
        case .denied: .denied
        case .keyNotFound: .keyNotFound
        case .keyNotUsable: .keyNotUsable
        case .keyRefused: .keyRefused
        case .keyExhausted: .keyExhausted
        case .configurationInvalid: .configurationInvalid
        case .rateLimited: .rateLimited
        case .stateUnavailable: .stateUnavailable
        case .decryptionFailed: .decryptionFailed
        case .overloaded: .overloaded
        case .deadlineExceeded: .deadlineExceeded
        case .tokenUnavailable: .tokenUnavailable
        case .tokenLocked: .tokenLocked
        case .auditUnavailable: .auditUnavailable
        case .shuttingDown: .shuttingDown
        case .internalError: .internalError
        }
    }
}

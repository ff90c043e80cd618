import Custody
import CustodyProtocol
import SecureMemory
import SwiftProtobuf

/// A request that was admitted, on its way to the custodian.
struct ReceivedRequest: Sendable {
    let client: ConnectionHandler.Client
    let presence: CallerPresence
    let body: [UInt8]
    let requestID: UInt32
    /// What it has taken of the budget.
    let bytes: Int
    let arrival: ContinuousClock.Instant
    let outbox: Outbox

    /// Decodes it and hands it on; on any thread. Its body is overwritten.
    func submit(to custodian: Custodian, _ limits: DoorLimits) {
        defer { body.zeroize() }
        do throws(RequestRejection) {
            let request = try decode()
            let labels = try labels(of: request)
            let patience = request.deadlineMs == 0 ? limits.defaultDeadline : .milliseconds(request.deadlineMs)
            custodian.submit(
                CustodyRequest(
                    principal: client.principal, caller: presence, items: request.operations.map(WireMapping.item),
                    onBehalfOf: labels, connection: client.number, request: requestID, arrival: arrival,
                    deadline: arrival + min(patience, limits.longestDeadline))
            ) { answer(.success($0)) }
        } catch {
            answer(.failure(error))
        }
    }

    private func decode() throws(RequestRejection) -> WireRequest {
        do {
            return try WireRequest(serializedBytes: body)
        } catch {
            throw .noRequest
        }
    }

    private func labels(of request: WireRequest) throws(RequestRejection) -> EncryptionContext {
        do throws(CustodyError) {
            return try WireMapping.context(request.onBehalfOf)
        } catch {
            throw RequestRejection(code: .invalidRequest, message: "on_behalf_of: \(error.message)")
        }
    }

    private func answer(_ content: Result<CustodyReply, RequestRejection>) {
        outbox.add(Outbox.Reply(requestID: requestID, bytes: bytes, content: content))
    }
}

extension RequestRejection {
    static let noRequest = RequestRejection(
        code: .invalidRequest, message: "the frame's body is not a Request message of custody.proto")
}

extension RequestShape {
    /// What a request holds; for requests that are too much, why they are not decoded.
    static func judging(_ body: [UInt8]) throws(RequestRejection) -> RequestShape {
        let shape: RequestShape
        do throws(Excess) {
            shape = try RequestShape(body)
        } catch {
            throw switch error {
            case .malformed: .noRequest
            case .operations:
                RequestRejection(
                    code: .invalidRequest,
                    message: "the request has more than \(Frame.batchLimit) operations; it must have 1 to \(Frame.batchLimit)")
            case .fields:
                RequestRejection(
                    code: .invalidRequest, message: "a message in the request has more fields than any of custody.proto can have")
            case .log:
                RequestRejection(
                    code: .payloadTooLarge,
                    message: "the contexts and labels of the request would take more than \(RequestShape.logLimit) bytes of the audit log, where the labels stand with every operation: send fewer operations at once, or less with each")
            }
        }
        guard shape.operations > 0 else {
            throw RequestRejection(
                code: .invalidRequest, message: "the request has no operations; it must have 1 to \(Frame.batchLimit)")
        }
        return shape
    }
}

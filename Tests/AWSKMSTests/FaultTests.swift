import Foundation
import MasterKey
import NIOCore
import NIOHTTP1
import SecureMemory
import Testing
import TestSupport

@testable import AWSKMS

/// What the KMS, or the network before it, can do to a call.
@Suite struct FaultTests {
    @Test(arguments: [
        ("NotFoundException", 400, MasterKeyError.Code.kmsKeyNotFound), ("DisabledException", 409, .kmsKeyDisabled),
        ("AccessDeniedException", 400, .kmsDenied), ("UnrecognizedClientException", 400, .kmsCredentials),
        ("InvalidSignatureException", 403, .kmsCredentials), ("ExpiredTokenException", 400, .kmsCredentials),
        ("IncorrectKeyException", 400, .kmsCiphertextRefused), ("InvalidCiphertextException", 500, .kmsCiphertextRefused),
        ("ValidationException", 400, .kmsRefused), ("NewException", 400, .kmsRefused), ("LimitExceededException", 400, .kmsRefused),
    ])
    func refusalsAreNotRepeated(_ type: String, _ status: Int, _ code: MasterKeyError.Code) async throws {
        try await withProxy { kms, proxy in
            let refused = proxy.on("CreateKey", .error("ns#" + type, status: status, message: "said so"))
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == code)
            #expect(error.message.contains("\(type): said so") && error.message.contains("CreateKey"))
            #expect(error.advice != nil)
            #expect(refused.count == 1)
        }
    }

    @Test(arguments: ["ThrottlingException", "RequestLimitExceeded", "KMSInternalException", "KeyUnavailableException"])
    func whatPassesIsTriedAgain(_ type: String) async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "")
            proxy.on("Encrypt", .error(type), .first(3))
            let ciphertext = try await kms.encrypt(plaintext, under: key, context: context)
            #expect(proxy.requests("Encrypt").count == 4)
            #expect(try await kms.decrypt(ciphertext, under: key, context: context).isEqual(to: plaintext))
        }
    }

    @Test func triesHaveAnEnd() async throws {
        try await withProxy { kms, proxy in
            proxy.on("Encrypt", .error("ThrottlingException", message: "Rate exceeded"))
            let error = try await failure { _ = try await kms.encrypt(plaintext, under: .init(rawValue: "k"), context: [:]) }
            #expect(error.code == .kmsThrottled && error.message.contains("tried 6 times"))
            #expect(proxy.requests.count == Backoff.attempts)
            proxy.on("DescribeKey", .respond("<html><title>Bad gateway</title></html>", status: 502))
            #expect(try await failure { _ = try await kms.describe("k") }.code == .kmsUnavailable)
            #expect(proxy.requests("DescribeKey").count == Backoff.attempts)
        }
    }

    @Test func theDeadlineHoldsForAllTriesTogether() async throws {
        // Each try takes its 400 ms at least, so fewer fit into the deadline than are allowed, on however slow a machine.
        try await withProxy({ ($0.deadline, $0.perAttempt) = (.seconds(2), .milliseconds(400)) }) { kms, proxy in
            let held = proxy.on("DescribeKey", .holdRequest)
            let error = try await failure { _ = try await kms.describe("k") }
            #expect(error.code == .kmsUnavailable)
            #expect(held.count < Backoff.attempts)
            held.release()
        }
        // Without that deadline every try is made: each has a limit of its own.
        try await withProxy({ ($0.deadline, $0.perAttempt) = (.seconds(600), .milliseconds(100)) }) { kms, proxy in
            let held = proxy.on("DescribeKey", .holdRequest)
            let error = try await failure { _ = try await kms.describe("k") }
            #expect(error.code == .kmsUnavailable && error.message.contains("\(Backoff.attempts)"), "\(error.message)")
            held.release()
        }
    }

    @Test func aLostAnswerIsAskedForAgain() async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "")
            for action in [FaultProxy.Action.dropRequest, .dropAnswer] {
                let before = proxy.requests("Encrypt").count
                proxy.on("Encrypt", action, .first(1))
                _ = try await kms.encrypt(plaintext, under: key, context: context)
                #expect(proxy.requests("Encrypt").count == before + 2)
            }
            proxy.on("ScheduleKeyDeletion", .dropAnswer, .first(1))
            try await kms.scheduleDeletion(of: key, afterDays: 7)
        }
    }

    // MARK: CreateKey

    @Test func aKeyIsMadeAgainOnlyIfNoneWasMade() async throws {
        try await withProxy { kms, proxy in
            proxy.on("CreateKey", .error("ThrottlingException"), .first(2))
            _ = try await kms.createKey(description: "")
            #expect(proxy.requests.count == 3)
        }
    }

    @Test(arguments: [
        FaultProxy.Action.dropRequest, .dropAnswer, .error("KMSInternalException", status: 500), .error("DependencyTimeoutException"),
        .respond("<html>", status: 502), .respond("{}"), .respond("not JSON"),
    ])
    func itIsSaidWhenAKeyMayHaveBeenMade(_ action: FaultProxy.Action) async throws {
        try await withProxy { kms, proxy in
            proxy.on("CreateKey", action)
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == .kmsAnswerLost)
            #expect(proxy.requests.count == 1)
        }
    }

    @Test(arguments: [
        "", "k", "00000000-0000-0000-0000-000000000000", "arn:aws:kms:eu-central-1:1:alias/a", "arn:aws:kms:eu-central-1:1:key/", ":key/a",
    ])
    func aKeyIsNamedByItsARN(_ name: String) async throws {
        try await withProxy { kms, proxy in
            proxy.on("CreateKey", .respond(#"{"KeyMetadata":{"Arn":"\#(name)","KeyState":"Enabled"}}"#))
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == .kmsAnswerLost)
            #expect(proxy.requests.count == 1)
        }
    }

    @Test func aLostAnswerToCreateKeyCanBeFound() async throws {
        try await withProxy { kms, proxy in
            let description = "custody test \(UUID())"
            proxy.on("CreateKey", .dropAnswer)
            let error = try await failure { _ = try await kms.createKey(description: description) }
            #expect(error.code == .kmsAnswerLost)
            let found = try await kms.keys(describedAs: description)
            #expect(found.count == 1)
        }
    }

    @Test func withoutAConnectionNoKeyWasMade() async throws {
        // A port that is taken and that nobody listens at: a free one might be somebody's in a moment.
        let taken = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(taken) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(taken, $0, length)
                _ = getsockname(taken, $0, &length)
            }
        }
        let endpoint = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        try await withClient(configuration(endpoint)) { kms in
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == .kmsUnavailable)
            #expect(error.message.contains(endpoint) && error.message.contains("can't connect"))
        }
    }

    // MARK: Cancellation

    @Test func cancellingEndsACall() async throws {
        try await withProxy { kms, proxy in
            for (operation, code) in [("DescribeKey", MasterKeyError.Code.cancelled), ("CreateKey", .kmsAnswerLost)] {
                let held = proxy.on(operation, .holdRequest)
                let result = try await cancelling({ try await held.reached() }) { () async throws(MasterKeyError) in
                    if operation == "CreateKey" { _ = try await kms.createKey(description: "") } else { _ = try await kms.describe("k") }
                }
                #expect(result?.code == code)
                held.release()
            }
            #expect(proxy.requests.count == 2)
        }
    }

    @Test func cancellingEndsAPause() async throws {
        try await withProxy { kms, proxy in
            let throttled = proxy.on("CreateKey", .error("ThrottlingException"))
            let result = try await cancelling({ try await eventually("a refusal") { throttled.count > 0 } }) {
                () async throws(MasterKeyError) in _ = try await kms.createKey(description: "")
            }
            // Either in a pause, or with a request on its way.
            #expect([.cancelled, .kmsAnswerLost].contains(result?.code))
            #expect(throttled.count < Backoff.attempts)
        }
    }

    // MARK: Answers

    @Test func theAnswersKeyHasToBeTheOneThatWasAskedFor() async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "")
            let other = "arn:aws:kms:eu-central-1:123456789012:key/other"
            proxy.on("Encrypt", .respond(#"{"CiphertextBlob":"AAAA","KeyId":"\#(other)"}"#))
            let encrypt = try await failure { _ = try await kms.encrypt(plaintext, under: key, context: [:]) }
            proxy.on("Decrypt", .respond(#"{"Plaintext":"AAAA","KeyId":"\#(other)"}"#))
            let decrypt = try await failure { _ = try await kms.decrypt([1], under: key, context: [:]) }
            for error in [encrypt, decrypt] {
                #expect(error.code == .kmsRefused && error.message.contains(key.rawValue) && error.message.contains(other))
            }
        }
    }

    @Test(arguments: ["", "{}", "<html>", #"{"Plaintext":"A","KeyId":"k"}"#, #"{"Plaintext":"AAAA"}"#, #"{"KeyId":"k"}"#])
    func otherAnswersAreRefused(_ body: String) async throws {
        try await withProxy { kms, proxy in
            proxy.on("Decrypt", .respond(body))
            let error = try await failure { _ = try await kms.decrypt([1], under: .init(rawValue: "k"), context: [:]) }
            #expect(error.code == .kmsRefused && error.message.contains("does another service listen there"))
        }
    }

    @Test func answersHaveALimit() async throws {
        try await withProxy { kms, proxy in
            proxy.on("DescribeKey", .respond(String(repeating: " ", count: Transport.answerLimit + 1)))
            let error = try await failure { _ = try await kms.describe("k") }
            #expect(error.code == .kmsRefused && error.message.contains("more than 1048576 bytes"))
        }
    }

    @Test func noSecretIsInAnError() async throws {
        try await withProxy({ $0.environment["AWS_SESSION_TOKEN"] = "T0K3N/of+a+test==" }) { kms, proxy in
            let base64 = Data(plaintext.exposed()).base64EncodedString()
            let echo = "you sent \(base64) with T0K3N/of+a+test== and secret-of-a-test"
            for action in [FaultProxy.Action.error("ValidationException", message: echo), .respond(echo, status: 403)] {
                proxy.on("Encrypt", action)
                let error = try await failure { _ = try await kms.encrypt(plaintext, under: .init(rawValue: "k"), context: [:]) }
                #expect(error.message.contains("you sent <hidden> with <hidden> and <hidden>"))
            }
        }
    }

    @Test func everyRequestIsWhatTheKMSExpects() async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "d")
            _ = try await kms.encrypt(plaintext, under: key, context: context)
            let create = try #require(proxy.requests("CreateKey").first)
            #expect(try #require(try JSONSerialization.jsonObject(with: Data(create.body)) as? [String: String]) == [
                "Description": "d", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT",
            ])
            #expect(create.headers.first(name: "Content-Type") == "application/x-amz-json-1.1")
            let signature = try #require(create.headers.first(name: "Authorization"))
            #expect(signature.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,"))
            #expect("http://\(create.headers.first(name: "Host") ?? "")" == proxy.endpoint)
            let encrypt = try #require(proxy.requests("Encrypt").first)
            let members = try #require(try JSONSerialization.jsonObject(with: Data(encrypt.body)) as? [String: Any])
            #expect(members["EncryptionContext"] as? [String: String] == context)
        }
    }

    // MARK: The clock

    @Test func aClockThatIsWrongIsCorrectedOnce() async throws {
        let wrong = Date(timeIntervalSinceNow: -3600)
        try await withProxy({ $0.now = { wrong } }) { kms, proxy in
            let formatter = DateFormatter()
            formatter.locale = Locale(identifier: "en_US_POSIX")
            formatter.timeZone = .gmt
            formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
            let date = Date(timeIntervalSince1970: 1_767_323_045)
            let refusal = FaultProxy.Action.error("InvalidSignatureException", headers: ["Date": formatter.string(from: date)])
            let refused = proxy.on("CreateKey", refusal, .first(1))
            _ = try await kms.createKey(description: "")
            #expect(refused.count == 1)
            let times = proxy.requests.map { $0.headers.first(name: "X-Amz-Date") }
            #expect(times == [SignatureV4.timestamp(wrong), "20260102T030405Z"])
            // It is kept, and a refusal at the right time is one of the secret.
            proxy.on("CreateKey", refusal)
            #expect(try await failure { _ = try await kms.createKey(description: "") }.code == .kmsCredentials)
            #expect(proxy.requests.count == 3)
        }
    }

    // MARK: The proxy itself

    @Test func aHeldRequestWhoseClientIsGoneNeverArrives() async throws {
        let description = "custody test \(UUID())"
        let proxy = try await FaultProxy.start(upstream: try await KMSServer.shared().endpoint)
        let held = proxy.on("CreateKey", .holdRequest)
        try await withClient(configuration(proxy.endpoint)) { kms in
            let error = try await cancelling({ try await held.reached() }) { () async throws(MasterKeyError) in
                _ = try await kms.createKey(description: description)
            }
            #expect(error?.code == .kmsAnswerLost)
        }
        held.release()
        let made = try await withClient { try await $0.keys(describedAs: description) }
        #expect(made.isEmpty)
    }

    @Test func aHeldAnswerArrivesWhenReleased() async throws {
        try await withProxy { kms, proxy in
            let key = try await kms.createKey(description: "")
            let held = proxy.on("ScheduleKeyDeletion", .holdAnswer)
            async let scheduled: Void = kms.scheduleDeletion(of: key, afterDays: 7)
            try await held.reached()
            #expect(try await kms.describe(key.rawValue).state == .pendingDeletion)
            held.release()
            try await scheduled
            #expect(held.count == 1)
        }
    }
}

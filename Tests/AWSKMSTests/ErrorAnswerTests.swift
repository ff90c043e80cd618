import Foundation
import NIOHTTP1
import SecureMemory
import Testing

@testable import AWSKMS

@Suite struct ErrorAnswerTests {
    private func answer(_ body: String, status: Int = 400, headers: HTTPHeaders = [:]) -> ErrorAnswer {
        ErrorAnswer(RawAnswer(status: status, headers: headers, body: SecretBytes(body.utf8)))
    }

    @Test func theTypeIsFoundInEverySpelling() {
        #expect(answer(#"{"__type":"NotFoundException","message":"m"}"#).type == "NotFoundException")
        #expect(answer(#"{"__type":"com.amazonaws.kms#NotFoundException","Message":"m"}"#).text == "NotFoundException: m")
        #expect(answer(#"{"code":"NotFoundException"}"#).type == "NotFoundException")
        #expect(answer("{}", headers: ["X-Amzn-ErrorType": "NotFoundException:http://x/"]).type == "NotFoundException")
        #expect(answer("<E><Error><Code>AccessDenied</Code>\n<Message>no</Message></Error></E>", status: 403).text == "AccessDenied: no")
    }

    @Test func theTypeDecidesAndNotTheStatus() {
        for status in [400, 404, 409, 500, 503] {
            #expect(answer(#"{"__type":"DisabledException"}"#, status: status).meaning(createsKey: false) == .keyDisabled)
            #expect(answer(#"{"__type":"KMSInternalException"}"#, status: status).meaning(createsKey: false) == .unavailable)
        }
        #expect(answer("<html><title>Bad gateway</title></html>", status: 502).meaning(createsKey: false) == .unavailable)
        #expect(answer("<html><title>Bad gateway</title></html>", status: 502).text == "HTTP 502: Bad gateway")
        #expect(answer("slower", status: 429).meaning(createsKey: false) == .throttled)
        #expect(answer("", status: 404).meaning(createsKey: false) == .refused)
    }

    @Test func anAccountsLimitIsNoThrottling() {
        let limit = answer(#"{"__type":"LimitExceededException"}"#)
        #expect(limit.meaning(createsKey: true) == .refused)
        #expect(limit.meaning(createsKey: false) == .throttled)
    }

    @Test func textsAreOneShortLine() {
        let text = answer(#"{"__type":"X","message":"one\u0007\ntwo"}"#).text
        #expect(text == "X: one")
        #expect(answer(String(repeating: "a", count: 100_000)).text.count < 500)
    }

    @Test func datesOfHeaders() {
        #expect(HTTPDate.parse("Fri, 02 Jan 2026 03:04:05 GMT") == Date(timeIntervalSince1970: 1_767_323_045))
        for wrong in ["", "Fri, 02 Jan 2026", "02 Jan 2026 03:04:05 GMT", "Fri, 02 Foo 2026 03:04:05 GMT", "Fri, 2x Jan 2026 03:04:05 GMT"] {
            #expect(HTTPDate.parse(wrong) == nil)
        }
    }
}

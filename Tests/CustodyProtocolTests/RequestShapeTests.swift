import ByteEncoding
import SwiftProtobuf
import Testing

@testable import CustodyProtocol

/// What a request holds is counted without decoding it.
@Suite struct RequestShapeTests {
    private func excess(_ body: [UInt8]) -> RequestShape.Excess? {
        do throws(RequestShape.Excess) {
            _ = try RequestShape(body)
            return nil
        } catch {
            return error
        }
    }

    private func operation(_ entries: Int) -> WireOperation {
        .with {
            $0.wrap = .with {
                $0.keyName = "root"
                $0.context = (0..<entries).map { index in .with { $0.key = "\(index)"; $0.value = "v" } }
            }
        }
    }

    /// A message of one field with this content.
    private func field(_ number: Int, _ content: [UInt8]) -> [UInt8] {
        precondition(content.count < 1 << 21)
        let (length, tag) = (content.count, number << 3 | 2)
        return [UInt8(tag & 0x7F | 0x80), UInt8(tag >> 7), UInt8(length & 0x7F | 0x80), UInt8(length >> 7 & 0x7F | 0x80), UInt8(length >> 14)] + content
    }

    @Test func countsWhatIsThere() throws {
        let request = WireRequest.with {
            $0.operations = [operation(0), operation(32), .with { $0.status = .init() }]
            $0.deadlineMs = 300
            $0.onBehalfOf = [.with { $0.key = "user"; $0.value = "ann" }]
        }
        let shape = try RequestShape(try request.serializedBytes())
        #expect(shape.operations == 3)
        // Each entry with its quotes, colon and comma; the labels once for each operation.
        let context = (0..<32).reduce(0) { $0 + "\"\($1)\":\"v\",".utf8.count }
        #expect(shape.logBytes == 3 * (RequestShape.lineLength + "\"user\":\"ann\",".utf8.count) + context)
        #expect(try RequestShape([]).operations == 0)
    }

    /// Whatever this protocol's clients may send passes.
    @Test func theMostThatIsAllowedPasses() throws {
        let request = WireRequest.with {
            $0.operations = Array(repeating: operation(32), count: 256)
            $0.onBehalfOf = (0..<32).map { index in .with { $0.key = "\(index)"; $0.value = "v" } }
        }
        #expect(try RequestShape(try request.serializedBytes()).operations == 256)
    }

    @Test func tooMuchIsRefused() {
        let empty: [UInt8] = [0x0A, 0x00]
        #expect(excess((0..<256).flatMap { _ in empty }) == nil)
        #expect(excess((0..<257).flatMap { _ in empty }) == .operations)
        #expect(excess((0..<1_000_000).flatMap { _ in empty }) == .operations)
        // The same one kind again and again, in one operation: the last one would count.
        #expect(excess(field(1, (0..<1_000).flatMap { _ in empty })) == .fields)
        // Entries of a context, and empty fields of one entry.
        let pair: [UInt8] = [0x12, 0x00]
        #expect(excess(field(1, field(2, (0..<1_000).flatMap { _ in pair }))) == .fields)
        #expect(excess(field(1, field(2, field(2, (0..<1_000).flatMap { _ in empty })))) == .fields)
        #expect(excess((0..<1_000).flatMap { _ in [0x1A, 0x00] as [UInt8] }) == .fields)
        // Fields that nobody knows.
        #expect(excess((0..<1_000).flatMap { _ in [0x78, 0x00] as [UInt8] }) == .fields)
        // Each operation is within bounds, and all together are not.
        let busy = field(1, field(2, (0..<200).flatMap { _ in pair }))
        #expect(excess(busy) == nil)
        #expect(excess((0..<256).flatMap { _ in busy }) == .fields)
    }

    /// Whichever operation it is, also one that is added to custody.proto after this was written.
    @Test func everyOperationIsCounted() throws {
        let unknown = (0..<1_000).flatMap { _ in [0x78, 0x00] as [UInt8] }
        let kinds = MessageLayout.request[1]?.numbers ?? []
        #expect(kinds.count >= 9)
        for number in kinds {
            #expect(excess(field(1, field(number, []))) == nil, "\(number)")
            #expect(excess(field(1, field(number, unknown))) == .fields, "\(number)")
            #expect(excess(field(1, field(number, [0x07]))) == .malformed, "\(number)")
        }
        // Nobody looks into these.
        for number in 1...200 where !kinds.contains(number) {
            #expect(excess(field(1, field(number, unknown))) == nil, "\(number)")
            #expect(excess(field(1, field(number, [0x07]))) == nil, "\(number)")
        }
    }

    /// What the decoder was asked is what custody.proto says.
    @Test func theLayoutIsThatOfTheProtocol() throws {
        let messages = try ProtocolFile.messages()
        func compare(_ name: String, _ layout: MessageLayout, _ path: [Int]) throws {
            let fields = try #require(messages[name]).filter { messages[$0.type] != nil }
            #expect(layout.numbers == fields.map(\.number).sorted(), "\(name)")
            #expect(fields.allSatisfy { $0.number <= MessageLayout.highestNumber }, "\(name): numbers that nobody asks for")
            try #require(path.count < MessageLayout.deepest || fields.isEmpty, "messages in \(name) are nested deeper than is counted")
            for field in fields { try compare(field.type, try #require(layout[field.number]), path + [field.number]) }
        }
        try compare("Request", .request, [])
        #expect(messages["Request"]?.first { $0.type == "Operation" }?.number == 1)
        #expect(messages["Request"]?.first { $0.name == "on_behalf_of" }?.number == 3)
    }

    /// What the log escapes counts as what it writes.
    @Test func whatFillsTheLogIsRefused() throws {
        func request(operations: Int, labels: Int, _ character: String, length: Int = 1_024) throws -> [UInt8] {
            try WireRequest.with {
                $0.operations = (0..<operations).map { _ in operation(0) }
                $0.onBehalfOf = (0..<labels).map { index in
                    .with { $0.key = "\(index)"; $0.value = String(repeating: character, count: length) }
                }
            }.serializedBytes()
        }
        #expect(excess(try request(operations: 256, labels: 28, "\u{1}")) == .log)
        #expect(excess(try request(operations: 256, labels: 3, "x")) == nil)
        #expect(excess(try request(operations: 256, labels: 4, "x")) == .log)
        #expect(excess(try request(operations: 256, labels: 1, "\u{7F}")) == .log)
        #expect(excess(try request(operations: 256, labels: 1, "\"")) == nil)
        #expect(excess(try request(operations: 256, labels: 2, "\\")) == .log)
        #expect(excess(try request(operations: 1, labels: 32, "\u{1}")) == nil, "the longest single line is allowed")
        // Contexts, each within its bounds.
        let operations = (0..<256).map { _ in
            WireOperation.with { $0.unwrap = .with { $0.context = [.with { $0.key = "a"; $0.value = String(repeating: "\u{1F}", count: 1_024) }] } }
        }
        #expect(excess(try WireRequest.with { $0.operations = operations }.serializedBytes()) == .log)
        #expect(excess(try WireRequest.with { $0.operations = Array(operations.prefix(128)) }.serializedBytes()) == nil)
    }

    /// Nothing that the shape lets through makes more of the log than it says.
    @Test func theCountIsWhatTheLogWrites() {
        for text in ["", "a", "é\u{202E}", "\u{0}\u{1F}\u{20}\u{7E}\u{7F}\u{80}", "\"\\/"] {
            var written: [UInt8] = []
            JSONString.append(text, to: &written)
            #expect(JSONString.length(of: text) == written.count - 2)
            #expect(JSONString.length(of: Array(text.utf8)[...]) == written.count - 2)
        }
    }

    @Test func whatIsNoMessageIsRefused() {
        #expect(excess([0xFF, 0xFF, 0xFF]) == .malformed)
        #expect(excess([0x0A, 0x05, 0x01]) == .malformed, "longer than what is there")
        #expect(excess([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]) == .malformed)
        #expect(excess([0x00, 0x00]) == .malformed, "field 0")
        #expect(excess(Array(repeating: 0x0B, count: 1_000)) == .malformed, "groups in groups")
        #expect(excess([0x0D, 0x00]) == .malformed, "half a fixed number")
        #expect(excess(Array(repeating: 0x80, count: 100)) == .malformed, "a number without end")
    }

    /// What the decoder takes for a request of a few operations is one for the counting too, however it was bent.
    @Test func itRefusesNothingThatDecodesToFewOperations() throws {
        let whole: [UInt8] = try WireRequest.with { $0.operations = [operation(3), operation(1)] }.serializedBytes()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<5_000 {
            var bytes = whole
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: .min ... .max, using: &generator)
            guard let request = try? WireRequest(serializedBytes: bytes), let shape = try? RequestShape(bytes) else { continue }
            #expect(shape.operations == request.operations.count)
        }
    }
}

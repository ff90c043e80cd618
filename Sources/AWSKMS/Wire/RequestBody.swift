import CSystemShim
import Crypto
import Foundation
import NIOCore
import SecureMemory
import Synchronization

/// A request's JSON, which may hold a plaintext. It is zeroed when the last reference goes.
final class RequestBody: Sendable {
    let buffer: ByteBuffer
    /// Where the plaintext lies, in base64.
    private let secret: Range<Int>

    /// - Parameters:
    ///   - members: Encoded as a JSON object.
    ///   - plaintext: Added to it as `Plaintext`. Goes from its own memory into the buffer and nowhere else.
    init(_ members: some Encodable, plaintext: LockedBytes? = nil) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        let object = try encoder.encode(members)
        let opening = Array(#","Plaintext":""#.utf8)
        let length = plaintext.map { Base64.encodedLength($0.count) } ?? 0
        // All the room at once: a buffer that grows leaves a copy behind.
        var buffer = ByteBufferAllocator().buffer(capacity: object.count + opening.count + length + 2)
        guard let plaintext else {
            buffer.writeBytes(object)
            self.buffer = buffer
            secret = 0..<0
            return
        }
        buffer.writeBytes(object.dropLast())
        buffer.writeBytes(opening)
        let start = buffer.writerIndex
        plaintext.withBytes { Base64.encode($0, into: &buffer) }
        secret = start..<buffer.writerIndex
        buffer.writeString(#""}"#)
        self.buffer = buffer
    }

    deinit { buffer.withUnsafeReadableBytes { csystem_zeroize($0.baseAddress, $0.count) } }

    var hash: SHA256Digest {
        var hash = SHA256()
        buffer.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        return hash.finalize()
    }

    /// A text without the plaintext, in case that the KMS or something before it gives the request back in an error.
    func redact(_ text: String) -> String {
        buffer.withUnsafeReadableBytes { Redaction.removing($0[secret], from: text) }
    }
}

/// A body on its way, which notices whether the HTTP client has asked for it: before that it has sent nothing but headers
/// at the most, and the KMS can't have acted.
struct BodySequence: AsyncSequence, Sendable {
    final class Witness: Sendable {
        private let asked = Atomic<Bool>(false)
        var wasAsked: Bool { asked.load(ordering: .acquiring) }
        func note() { asked.store(true, ordering: .releasing) }
    }

    struct Iterator: AsyncIteratorProtocol {
        var rest: ByteBuffer?
        let witness: Witness

        mutating func next() async -> ByteBuffer? {
            witness.note()
            defer { rest = nil }
            return rest
        }
    }

    let body: RequestBody
    let witness: Witness

    func makeAsyncIterator() -> Iterator { Iterator(rest: body.buffer, witness: witness) }
}

enum Redaction {
    /// The text with `<hidden>` in place of the secret, wherever that occurs.
    static func removing(_ secret: some Collection<UInt8>, from text: String) -> String {
        // Shorter ones would occur by chance.
        guard secret.count >= 4 else { return text }
        var rest = Array(text.utf8)[...]
        var kept: [UInt8] = []
        while !rest.isEmpty {
            if rest.starts(with: secret) {
                kept += "<hidden>".utf8
                rest = rest.dropFirst(secret.count)
            } else {
                kept.append(rest.removeFirst())
            }
        }
        return String(decoding: kept, as: UTF8.self)
    }

    static func removing(_ secret: SecretBytes, from text: String) -> String {
        let bytes = secret.exposed()
        defer { bytes.zeroize() }
        return removing(bytes, from: text)
    }
}

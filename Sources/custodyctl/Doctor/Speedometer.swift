import Custody
import Foundation
import PKCS11
import Synchronization

/// How many AES-GCM operations the token does in a second, on one session and on two at once.
///
/// Decryption is measured: it costs a token what encryption costs and uses up no nonce of a root key.
struct Speedometer {
    let module: Module
    let slot: SlotID
    let readWrite: Bool

    private static let time = Duration.milliseconds(500)
    private static let nonceLength = 12

    /// - Parameters:
    ///   - key: A root key; nil measures with a session key, which may be faster or slower than a key on the token.
    ///   - configured: The `sessions` of the configuration.
    func run(_ key: KeyInspection?, configured: Int?, _ session: borrowing Session, _ report: inout DoctorReport) {
        do {
            let object = try key?.object ?? session.generateKey(
                .aesKeyGeneration, KeyProvisioner.template(name: "custodyctl-doctor", id: KeyID(newFor: 1), onToken: false))
            let name = key.map { "key '\($0.name)'" } ?? "a session key, a key on the token may differ"
            let plaintext = [UInt8](repeating: 0, count: 184)
            var generator = SystemRandomNumberGenerator()
            let nonce = (0..<Self.nonceLength).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            var sealed: [UInt8] = []
            try session.encryptGCM(
                object, nonce: nonce.span.bytes, aad: [UInt8]().span.bytes, plaintext: plaintext.span.bytes, appendingTo: &sealed)
            let one = try measure(1, object, nonce, sealed)
            let two = try measure(2, object, nonce, sealed)
            if key == nil { try? session.destroyObject(object) }
            report.speed = .init(key: name, bytes: plaintext.count, oneSessionPerSecond: one, twoSessionsPerSecond: two)
            let best = two > one + one / 5 ? 2 : 1
            let text = "\(one)/s on one session, \(two)/s on two (\(plaintext.count) bytes, \(name)): "
            switch (best, configured) {
            case (1, .some(2...)): report.add("speed", .warn, text + "more sessions gain nothing, set `sessions = 1`")
            // Not a warning: the token's own rate is not yet the daemon's, where a second worker also costs wake-ups.
            case (2, 1): report.add("speed", .ok, text + "the token has room for more than `sessions = 1`; try 2 and measure the daemon")
            default: report.add("speed", .ok, text + (best == 1 ? "one session serves best" : "two sessions serve more than one"))
            }
        } catch {
            report.add("speed", .warn, "could not be measured: \(error)")
        }
    }

    /// Operations per second of several threads, each with a session of its own.
    private func measure(_ threads: Int, _ key: ObjectHandle, _ nonce: [UInt8], _ sealed: [UInt8]) throws(PKCS11Error) -> Int {
        let outcome = Mutex<(count: Int, error: PKCS11Error?)>((0, nil))
        let group = DispatchGroup()
        let start = ContinuousClock.now
        let end = start + Self.time
        for _ in 0..<threads {
            group.enter()
            // Threads, as the daemon has: a blocking call belongs on no pool.
            Thread.detachNewThread { [self] in
                var count = 0
                var failure: PKCS11Error?
                do throws(PKCS11Error) {
                    let session = try module.openSession(slot, readWrite: readWrite)
                    while ContinuousClock.now < end {
                        _ = try session.decryptGCM(key, nonce: nonce.span.bytes, aad: [UInt8]().span.bytes, ciphertext: sealed.span.bytes)
                        count += 1
                    }
                } catch {
                    failure = error
                }
                outcome.withLock { $0 = ($0.count + count, $0.error ?? failure) }
                group.leave()
            }
        }
        group.wait()
        let elapsed = ContinuousClock.now - start
        let (count, failure) = outcome.withLock { $0 }
        if let failure { throw failure }
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        return Int(Double(count) / seconds)
    }
}

import Foundation
import PKCS11
import SecureMemory
import TestSupport
import Testing

@testable import Custody

/// NSS reports the right attributes, and hands keys out all the same; a real token that lies.
@Suite(.enabled(if: NSS.module != nil, "needs libnss3")) struct NSSTests {
    @Test func itHandsTheKeyOut() async throws {
        let folder = try TemporaryDirectory()
        let path = try #require(NSS.module)
        // One module at a time in this process.
        try await SoftHSM.withToken { _ in
            let module = try Module(
                path, initializationString: "configdir='sql:\(folder.path)' certPrefix='' keyPrefix='' secmod='' flags= ")
            defer { try? module.finalize() }
            let slot = try #require(try module.slots(withToken: true).last)
            let pin = SoftHSMToken.secret(SoftHSMToken.userPIN)
            do {
                let session = try module.openSession(slot, readWrite: true)
                try session.login(.securityOfficer, pin: SecretBytes([UInt8]()))
                try session.initPIN(pin)
                try session.logout()
            }
            let session = try module.openSession(slot, readWrite: true)
            try session.login(.user, pin: pin)
            let id = KeyID(newFor: 1)
            let key = try RootKeyTemplate(id: id.bytes).generate(session)
            let attributes = try session.attributes(of: key, ProofOfCustody.attributeTypes)
            #expect(attributes.bool(.extractable) == false && attributes.bool(.sensitive) == true && attributes.bool(.neverExtractable) == true)
            let trial = ProofOfCustody.tryToExport(key, session)
            guard case .handedOut = trial.verdict else {
                Issue.record("\(trial)")
                return
            }
            #expect(!trial.isProof)
            // The key is there still: what NSS gives as a copy may be the key itself.
            #expect(try session.objects(.secretKey, matching: [.bool(.token, true), .id(id.bytes)]) == [key])
            let catalog = KeyCatalog()
            try catalog.refresh(session)
            #expect(throws: CustodyError.self) { try catalog.ring.wrappingVersion(of: "root") }
        }
    }
}

private enum NSS {
    static let module = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]
        .flatMap { ["\($0)/nss/libsoftokn3.so", "\($0)/libsoftokn3.so"] }
        .first { FileManager.default.isReadableFile(atPath: $0) }
}

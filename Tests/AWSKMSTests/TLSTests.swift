import MasterKey
import NIOCore
import NIOSSL
import SecureMemory
import Testing
import TestSupport

@testable import AWSKMS

@Suite struct TLSTests {
    /// A server whose certificate no authority has signed.
    private func server(_ directory: TemporaryDirectory, name: String) async throws -> (FaultProxy, certificate: String) {
        let (key, certificate) = (directory.file("key.pem"), directory.file("certificate.pem"))
        let made = try await run(
            "openssl",
            arguments: [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=custody test",
                "-addext", "subjectAltName=\(name)", "-keyout", key, "-out", certificate,
            ])
        guard made.status == .exited(0) else { throw UnexpectedResult(made) }
        let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
        let context = try NIOSSLContext(
            configuration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(try .init(file: key, format: .pem))))
        let proxy = try await FaultProxy.start(upstream: try await KMSServer.shared().endpoint) { channel in
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
        }
        return (proxy, certificate)
    }

    @Test func aCertificateOfTheBundleIsTrusted() async throws {
        let directory = try TemporaryDirectory()
        let (proxy, certificate) = try await server(directory, name: "IP:127.0.0.1")
        var trusting = configuration(proxy.endpoint)
        trusting.environment["AWS_CA_BUNDLE"] = certificate
        try await withClient(trusting) { kms in
            let key = try await kms.createKey(description: "")
            let ciphertext = try await kms.encrypt(plaintext, under: key, context: context)
            #expect(try await kms.decrypt(ciphertext, under: key, context: context).isEqual(to: plaintext))
        }
    }

    @Test func anotherCertificateIsNot() async throws {
        let directory = try TemporaryDirectory()
        let (proxy, _) = try await server(directory, name: "IP:127.0.0.1")
        try await withClient(configuration(proxy.endpoint)) { kms in
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == .kmsUnavailable)
            #expect(error.message.contains("certificate") && error.message.contains(proxy.endpoint))
            #expect(error.advice?.contains("AWS_CA_BUNDLE") == true)
            #expect(proxy.requests.isEmpty)
        }
    }

    @Test func aTrustedCertificateOfAnotherHostIsNot() async throws {
        let directory = try TemporaryDirectory()
        let (proxy, certificate) = try await server(directory, name: "IP:127.0.0.2")
        var trusting = configuration(proxy.endpoint)
        trusting.environment["AWS_CA_BUNDLE"] = certificate
        try await withClient(trusting) { kms in
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == .kmsUnavailable && error.message.contains("certificate"))
            #expect(proxy.requests.isEmpty)
        }
    }
}

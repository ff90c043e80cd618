import AWSKMS
import Foundation
import MasterKey
import SecureMemory
import Testing
import TestSupport
import ToolSupport

/// Runs the body with a client, which is shut down whatever happens.
func withClient<R>(
    _ configuration: AWSKMSClient.Configuration, _ body: (AWSKMSClient) async throws -> R
) async throws -> R {
    try await lending(AWSKMSClient(configuration), closing: { await $0.shutdown() }, to: body)
}

/// With a client of moto, or of what stands before it.
func withClient<R>(endpoint: String? = nil, _ body: (AWSKMSClient) async throws -> R) async throws -> R {
    let server = try await KMSServer.shared()
    return try await withClient(configuration(endpoint ?? server.endpoint), body)
}

/// With a client whose requests pass a proxy in front of moto.
func withProxy<R>(
    _ change: (inout AWSKMSClient.Configuration) -> Void = { _ in }, _ body: (AWSKMSClient, FaultProxy) async throws -> R
) async throws -> R {
    let proxy = try await FaultProxy.start(upstream: try await KMSServer.shared().endpoint)
    var configuration = configuration(proxy.endpoint)
    change(&configuration)
    return try await withClient(configuration) { try await body($0, proxy) }
}

/// Patient, so that a slow machine fails no test; one that is about time limits sets its own.
func configuration(_ endpoint: String) -> AWSKMSClient.Configuration {
    AWSKMSClient.Configuration(
        region: KMSServer.region, endpoint: endpoint, deadline: .seconds(240), perAttempt: .seconds(60), environment: keysOfATest)
}

let keysOfATest = ["AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-of-a-test"]

/// The error that the body throws.
func failure(_ body: () async throws -> Void, location: SourceLocation = #_sourceLocation) async throws -> MasterKeyError {
    let error = await #expect(throws: MasterKeyError.self, sourceLocation: location) { try await body() }
    return try #require(error, sourceLocation: location)
}

/// The error of a call that is cancelled when the condition has come true.
func cancelling(
    _ condition: () async throws -> Void, _ call: @escaping @Sendable () async throws(MasterKeyError) -> Void
) async throws -> MasterKeyError? {
    try await withThrowingTaskGroup(of: MasterKeyError?.self) { group in
        group.addTask {
            do throws(MasterKeyError) {
                try await call()
                return nil
            } catch { return error }
        }
        try await condition()
        group.cancelAll()
        return try await group.next().flatMap { $0 }
    }
}

let plaintext = LockedBytes("a plaintext of thirty-two bytes.".utf8)
let context = ["tenant": "acme", "purpose": "Schlüssel"]

import Foundation
import MasterKey
import Testing
import TestSupport

@testable import AWSKMS

@Suite struct SettingsTests {
    private func settings(
        region: String? = nil, endpoint: String? = nil, profile: String? = nil, _ environment: [String: String] = [:]
    ) throws(MasterKeyError) -> Settings {
        try Settings(.init(region: region, endpoint: endpoint, profile: profile, environment: environment))
    }

    @Test func theRegionIsLookedForInAWSsOrder() throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("config", "[default]\nregion = eu-west-1\n[profile x]\nregion = eu-west-2 # London\n")
        var environment = ["AWS_CONFIG_FILE": file]
        #expect(try settings(environment).region == "eu-west-1")
        #expect(try settings(profile: "x", environment).region == "eu-west-2")
        environment["AWS_DEFAULT_REGION"] = "eu-north-1"
        #expect(try settings(environment).region == "eu-north-1")
        environment["AWS_REGION"] = "us-east-1"
        #expect(try settings(environment).region == "us-east-1")
        #expect(try settings(region: "ap-south-1", environment).region == "ap-south-1")
    }

    @Test func noRegionSaysWhatToSet() throws {
        let error = try #require(#expect(throws: MasterKeyError.self) { try settings(["HOME": "/nowhere"]) })
        #expect(error.code == .kmsConfiguration)
        #expect(error.message.contains("AWS_REGION") && error.message.contains("/nowhere/.aws/config"))
        #expect(error.advice?.contains("AWS_REGION") == true)
    }

    @Test(arguments: ["", "EU", "eu west", "evil.example/", "eu-central-1.evil.example"])
    func whatIsNoRegionIsRefused(_ region: String) {
        #expect(throws: MasterKeyError.self) { try settings(region: region) }
    }

    @Test func theEndpointIsLookedForInAWSsOrder() throws {
        #expect(try settings(region: "eu-central-1").endpoint.url == "https://kms.eu-central-1.amazonaws.com/")
        #expect(try settings(region: "cn-north-1").endpoint.url == "https://kms.cn-north-1.amazonaws.com.cn/")
        var environment = ["AWS_ENDPOINT_URL": "https://all.example", "AWS_REGION": "eu-central-1"]
        #expect(try settings(environment).endpoint.authority == "all.example")
        environment["AWS_ENDPOINT_URL_KMS"] = "https://kms.example:8443/"
        #expect(try settings(environment).endpoint.authority == "kms.example:8443")
        #expect(try settings(endpoint: "https://flag.example:443", environment).endpoint.authority == "flag.example")
    }

    @Test(arguments: ["http://127.0.0.1:1", "http://127.8.9.10", "http://[::1]:8080", "http://localhost:5000"])
    func loopbackNeedsNoTLS(_ address: String) throws { #expect(try Endpoint(address).description == address) }

    @Test(arguments: [
        "http://kms.example", "http://10.0.0.1", "http://127.evil.example", "http://localhost.evil.example", "http://0.0.0.0",
        // Not surely loopback addresses, whatever a resolver makes of them.
        "http://127.1", "http://2130706433", "http://[::ffff:127.0.0.1]", "http://localhost.",
        "ftp://127.0.0.1", "kms.example", "https://", "https://user:PASSW0RD@kms.example", "https://kms.example/path", "https://a/?b",
        "http://127.0.0.1%00.evil:5599", "https://kms%2eexample", "https://kms.example%0a", "https://kms.example:65536",
        "http://127.0.0.1:99999999999999999999", "https://kms.example:0",
    ])
    func otherEndpointsAreRefused(_ address: String) throws {
        let error = try #require(#expect(throws: MasterKeyError.self) { _ = try Endpoint(address) })
        #expect(error.code == .kmsConfiguration)
        #expect(!"\(error)".contains("PASSW0RD"))
    }

    @Test func printingShowsNoSecrets() async throws {
        let environment = keysOfATest.merging(["OTHER_PASSWORD": "PASSW0RD", "AWS_SESSION_TOKEN": "T0KEN"]) { $1 }
        var configuration = AWSKMSClient.Configuration(
            region: "eu-central-1", endpoint: "https://user:PASSW0RD@kms.example", environment: environment)
        func expectNothing(_ value: Any, _ location: SourceLocation = #_sourceLocation) {
            var dumped = ""
            dump(value, to: &dumped)
            for text in ["\(value)", String(reflecting: value), dumped] {
                #expect(text.contains("eu-central-1") || text == dumped, sourceLocation: location)
                for secret in ["PASSW0RD", "T0KEN", "secret-of-a-test"] {
                    #expect(!text.contains(secret), sourceLocation: location)
                }
            }
        }
        expectNothing(configuration)
        configuration.endpoint = "http://127.0.0.1:1"
        try await withClient(configuration) { kms in
            expectNothing(kms)
            var caller = ""
            dump(kms.caller, to: &caller)
            #expect(!caller.contains("PASSW0RD") && !caller.contains("secret-of-a-test") && !caller.contains("T0KEN"))
        }
    }

    @Test func aMissingBundleOfCertificatesIsSaid() throws {
        let environment = keysOfATest.merging(["AWS_CA_BUNDLE": "/nowhere/ca.pem", "AWS_REGION": "eu-central-1"]) { $1 }
        let error = try #require(
            #expect(throws: MasterKeyError.self) { _ = try AWSKMSClient(.init(environment: environment)) })
        #expect(error.code == .kmsConfiguration && error.message.contains("/nowhere/ca.pem"))
    }
}

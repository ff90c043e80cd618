import Foundation
import MasterKey
import NIOHTTP1
import SecureMemory
import Testing
import TestSupport

@testable import AWSKMS

@Suite struct CredentialTests {
    /// A home directory with AWS's two files in it.
    struct Home {
        let directory: TemporaryDirectory

        init(credentials: String? = nil, config: String? = nil) throws {
            directory = try TemporaryDirectory()
            try FileManager.default.createDirectory(atPath: directory.file(".aws"), withIntermediateDirectories: false)
            if let credentials { try directory.write(".aws/credentials", credentials) }
            if let config { try directory.write(".aws/config", config) }
        }

        /// What a client would sign with.
        func keys(profile: String? = nil, _ environment: [String: String] = [:]) throws -> AWSCredentials {
            try source(profile: profile, environment).current()
        }

        func source(profile: String? = nil, _ environment: [String: String] = [:]) throws -> CredentialSource {
            let all = environment.merging(["HOME": directory.path]) { own, _ in own }
            let configuration = AWSKMSClient.Configuration(region: "eu-central-1", profile: profile, environment: all)
            return try CredentialSource(configuration, ProfileFiles(AWSEnvironment(all), profile: profile))
        }

        func refusal(profile: String? = nil, _ environment: [String: String] = [:]) throws -> MasterKeyError {
            try #require(#expect(throws: MasterKeyError.self) { try keys(profile: profile, environment) })
        }
    }

    static let two = """
        \u{FEFF}# a comment
        [default]
        aws_access_key_id = ID1
        aws_secret_access_key=S3CR3T/1+=

        [ other ]\r
          AWS_Access_Key_ID\t=  ID2   ; a comment\r
          aws_secret_access_key = S3CR3T/2\r
          aws_session_token = T0K3N==\r
        s3 =
            max_concurrent_requests = 20
            a line without an equals sign
        """

    @Test func profilesAreReadAsAWSsToolsDo() throws {
        let home = try Home(credentials: Self.two)
        let first = try home.keys()
        #expect(first.id == "ID1" && first.secret.text == "S3CR3T/1+=" && first.token == nil)
        let other = try home.keys(profile: "other")
        #expect(other.id == "ID2" && other.secret.text == "S3CR3T/2" && other.token?.text == "T0K3N==")
        #expect(try home.keys(["AWS_PROFILE": "other"]).id == "ID2")
    }

    @Test func theEnvironmentGoesBeforeFilesButNotBeforeANamedProfile() throws {
        let home = try Home(credentials: Self.two)
        let environment = [
            "AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "ENVSECRET\n", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "other",
        ]
        let keys = try home.keys(environment)
        #expect(keys.id == "ENV" && keys.secret.text == "ENVSECRET" && keys.token == nil)
        #expect(try home.keys(profile: "default", environment).id == "ID1")
    }

    @Test func profilesOfTheConfigurationFileMayHoldKeys() throws {
        let home = try Home(
            credentials: "[default]\naws_access_key_id=A\naws_secret_access_key=SECRETA\n",
            config: "[profile \"x\"]\nregion=eu-west-1\naws_access_key_id=B\naws_secret_access_key=SECRETB\n")
        #expect(try home.keys(profile: "x").id == "B")
        #expect(try home.keys().id == "A")
    }

    @Test func filesMayLieElsewhere() throws {
        let home = try Home()
        let file = try home.directory.write("keys", Self.two)
        #expect(try home.keys(["AWS_SHARED_CREDENTIALS_FILE": file]).id == "ID1")
        #expect(try home.keys(["AWS_SHARED_CREDENTIALS_FILE": "~/keys"]).id == "ID1")
    }

    @Test func noCredentialsAtAll() throws {
        let error = try Home().refusal()
        #expect(error.code == .kmsCredentials)
        #expect(error.message.contains("no credentials found in the environment or"))
        #expect(error.message.contains(".aws/credentials") && error.message.contains("instance metadata"))
        let unknown = try Home(credentials: Self.two).refusal(profile: "third")
        #expect(unknown.code == .kmsCredentials && unknown.message.contains("no profile third"))
    }

    @Test(arguments: [
        ["AWS_ACCESS_KEY_ID": "ENV"], ["AWS_SECRET_ACCESS_KEY": "S3CR3T"], ["AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": ""],
        ["AWS_ACCESS_KEY_ID": "E/V", "AWS_SECRET_ACCESS_KEY": "S3CR3T"],
        ["AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "S3CR3T", "AWS_SESSION_TOKEN": "S3CR3T\r\nX-Evil: 1"],
    ])
    func halfAnEnvironmentIsNone(_ environment: [String: String]) throws {
        // Not even where a file could help out: it would be used for another account.
        let error = try Home(credentials: Self.two).refusal(environment)
        #expect(error.code == .kmsCredentials)
        #expect(!"\(error)".contains("S3CR3T"))
    }

    @Test(arguments: [
        ("[default]\naws_access_key_id = ID\n", "only one of"), ("[default]\naws_secret_access_key = S3CR3T\n", "only one of"),
        ("[default\naws_secret_access_key = S3CR3T\n", "line 1"), ("[default]\naws_secret_access_key S3CR3T\n", "line 2"),
        ("aws_secret_access_key = S3CR3T\n", "line 1"),
    ])
    func brokenFilesAreRefusedWithoutSayingWhatIsInThem(_ content: String, _ saying: String) throws {
        let error = try Home(credentials: content).refusal()
        #expect(error.code == .kmsCredentials)
        #expect(error.message.contains(saying))
        #expect(!"\(error)".contains("S3CR3T"))
    }

    /// Of different bytes it would make one region, or one profile. A comment may be in any encoding.
    @Test func bytesThatAreNoText() throws {
        for line in ["region = eu", "[profile x", "aws_access_key_id = ID"] {
            let bytes = Array("# m".utf8) + [0xFC, 0x0A] + Array("[default]\n\(line)".utf8) + [0xFC] + (line.hasPrefix("[") ? Array("]\n".utf8) : [0x0A])
            #expect { try ProfileFile(bytes) } throws: { ($0 as? ProfileFile.Malformed)?.line == 3 }
        }
        #expect(try ProfileFile(Array("# m".utf8) + [0xFC] + Array("\n[default]\nregion = eu\n".utf8))["default"]?["region"]?.text == "eu")
    }

    @Test(arguments: ["role_arn = arn:aws:iam::1:role/x", "sso_session = x", "credential_process = /bin/x"])
    func whatIsNotSupportedIsSaid(_ setting: String) throws {
        let error = try Home(config: "[default]\n\(setting)\n").refusal()
        #expect(error.code == .kmsCredentials)
        #expect(error.message.contains(String(setting.prefix { $0 != " " })) && error.message.contains("not supported"))
    }

    @Test func aChangedFileIsReadAgain() throws {
        let home = try Home(credentials: Self.two)
        let source = try home.source()
        let first = try source.current()
        #expect(try source.current().secret === first.secret, "an unchanged file is not read again")
        try home.directory.write(".aws/credentials", "[default]\naws_access_key_id=NEW\naws_secret_access_key=NEWSECRET\n")
        #expect(try source.current().id == "NEW")
    }

    @Test func renewedKeysAreTakenUpDuringACall() async throws {
        let home = try Home(credentials: "[default]\naws_access_key_id=OLD\naws_secret_access_key=OLDSECRET\n")
        // One proxy says that the keys are expired, the other holds that back.
        let refusing = try await FaultProxy.start(upstream: try await KMSServer.shared().endpoint)
        let proxy = try await FaultProxy.start(upstream: refusing.endpoint)
        var patient = configuration(proxy.endpoint)
        patient.environment = ["HOME": home.directory.path]
        try await withClient(patient) { kms in
            let expired = refusing.on("CreateKey", .error("ExpiredTokenException"))
            let error = try await failure { _ = try await kms.createKey(description: "") }
            #expect(error.code == .kmsCredentials)
            #expect(expired.count == 1, "not asked again with the same keys")
            refusing.reset()
            refusing.on("CreateKey", .error("ExpiredTokenException"), .first(1))
            let held = proxy.on("CreateKey", .holdAnswer, .first(1))
            async let key = kms.createKey(description: "")
            try await held.reached()
            try home.directory.write(".aws/credentials", "[default]\naws_access_key_id=NEW\naws_secret_access_key=NEWSECRET\n")
            held.release()
            #expect(try await key.rawValue.hasPrefix("arn:"))
            let used = proxy.requests("CreateKey").map { $0.headers.first(name: "Authorization") ?? "" }
            #expect(used.map { $0.contains("Credential=NEW/") } == [false, false, true])
        }
    }
}

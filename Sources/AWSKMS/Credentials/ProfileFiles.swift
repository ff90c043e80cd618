import Foundation
import MasterKey
import SecureMemory

/// The two files in which AWS's tools keep profiles, and the profile that is used.
struct ProfileFiles: Sendable {
    let profile: String
    /// Whether somebody asked for this profile.
    let isNamed: Bool
    private let credentials: String?
    private let config: String?

    init(_ environment: AWSEnvironment, profile flag: String?) {
        let named = flag ?? environment["AWS_PROFILE"]
        profile = named ?? "default"
        isNamed = named != nil
        credentials = environment.path("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")
        config = environment.path("AWS_CONFIG_FILE", ".aws/config")
    }

    var credentialsPath: String { credentials ?? "~/.aws/credentials" }
    var configPath: String { config ?? "~/.aws/config" }

    /// What tells that a file has been written anew, nil for each that does not exist.
    struct Stamp: Sendable, Equatable {
        struct File: Sendable, Equatable {
            let inode: UInt64
            let size: Int64
            let seconds: Int
            let nanoseconds: Int
        }
        let files: [File?]
    }

    var stamp: Stamp {
        Stamp(
            files: [credentials, config].map { path in
                var status = stat()
                guard let path, stat(path, &status) == 0 else { return nil }
                return Stamp.File(
                    inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
                    nanoseconds: status.st_mtim.tv_nsec)
            })
    }

    func region() throws(MasterKeyError) -> String? {
        let section = try configSection(.kmsConfiguration)
        return section?["region"]?.text
    }

    /// The keys of the profile.
    func keys() throws(MasterKeyError) -> AWSCredentials {
        let configured = try configSection(.kmsCredentials)
        // With keys beside it, AWS's tools would still take the role's.
        if configured?["role_arn"] != nil { throw unsupported("role_arn") }
        let section = try section(credentials, profile, .kmsCredentials)
        for (section, path) in [(section, credentialsPath), (configured, configPath)] {
            guard let section else { continue }
            let id = section["aws_access_key_id"], secret = section["aws_secret_access_key"]
            if id == nil, secret == nil { continue }
            guard let id, let secret, !id.isEmpty, !secret.isEmpty else {
                throw MasterKeyError(
                    .kmsCredentials,
                    "profile \(profile) in \(path) has only one of aws_access_key_id and aws_secret_access_key",
                    advice: "write both into it")
            }
            let token = section["aws_session_token"].flatMap { $0.isEmpty ? nil : $0 }
            return try AWSCredentials(id: id.text, secret: secret, token: token, source: "profile \(profile) in \(path)")
        }
        let elsewhere = ["credential_process", "sso_session", "sso_start_url", "web_identity_token_file", "credential_source"]
        if let setting = elsewhere.first(where: { configured?[$0] != nil }) { throw unsupported(setting) }
        if isNamed, section == nil, configured == nil {
            throw MasterKeyError(
                .kmsCredentials, "there is no profile \(profile) in \(credentialsPath) and \(configPath)",
                advice: "correct the profile's name, or write its keys into \(credentialsPath)")
        }
        throw none
    }

    private var none: MasterKeyError {
        MasterKeyError(
            .kmsCredentials,
            "no credentials found in the environment or \(credentialsPath); \(Self.limits)",
            advice: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them into profile \(profile) of \(credentialsPath)")
    }

    private static let limits = "instance metadata, SSO, roles to assume and credential processes are not asked"

    private func unsupported(_ setting: String) -> MasterKeyError {
        MasterKeyError(
            .kmsCredentials, "profile \(profile) in \(configPath) gets its credentials by \(setting), which is not supported; \(Self.limits)",
            advice: "have a tool write temporary keys into \(credentialsPath): the file is read again when it changes")
    }

    private func configSection(_ code: MasterKeyError.Code) throws(MasterKeyError) -> ProfileFile.Section? {
        // Only there the word is needed, and not for the default.
        let name = profile == "default" ? "default" : "profile \(profile)"
        return try section(config, name, code)
    }

    private func section(
        _ path: String?, _ name: String, _ code: MasterKeyError.Code
    ) throws(MasterKeyError) -> ProfileFile.Section? {
        guard let path else { return nil }
        do {
            return try ProfileFile.read(path)?[name]
        } catch let error as ProfileFile.Malformed {
            throw MasterKeyError(code, "line \(error.line) of \(path) can't be read: \(error.why)", advice: "correct the file")
        } catch {
            throw MasterKeyError(code, "\(path) can't be read: \(error)", advice: "let this user read it", cause: error)
        }
    }
}

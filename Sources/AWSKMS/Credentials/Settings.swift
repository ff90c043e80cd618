import Foundation
import MasterKey

/// The configuration, with everything found that it left open.
struct Settings: Sendable {
    let region: String
    let endpoint: Endpoint
    let files: ProfileFiles
    /// PEM files of certificates to trust beside the system's.
    let trustRoots: String?

    init(_ configuration: AWSKMSClient.Configuration) throws(MasterKeyError) {
        let environment = AWSEnvironment(configuration.environment)
        files = ProfileFiles(environment, profile: configuration.profile)
        region = try Self.region(configuration.region, environment, files)
        let address = configuration.endpoint ?? environment["AWS_ENDPOINT_URL_KMS"] ?? environment["AWS_ENDPOINT_URL"]
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        endpoint = try Endpoint(address ?? "https://kms.\(region).\(domain)")
        trustRoots = environment["AWS_CA_BUNDLE"]
    }

    private static func region(
        _ flag: String?, _ environment: AWSEnvironment, _ files: ProfileFiles
    ) throws(MasterKeyError) -> String {
        let named = flag ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"]
        let region = if let named { named } else { try files.region() }
        guard let region else {
            throw MasterKeyError(
                .kmsConfiguration,
                "the KMS's region is not known: neither AWS_REGION nor AWS_DEFAULT_REGION is set, and profile \(files.profile) has no region in \(files.configPath)",
                advice: "set AWS_REGION, or name the region when calling")
        }
        // It becomes part of a host's name and of what is signed.
        let allowed = region.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }
        guard allowed, !region.isEmpty, region.utf8.count <= 63 else {
            throw MasterKeyError(
                .kmsConfiguration, "'\(region)' can't be a region: it has lower-case letters, digits and hyphens only",
                advice: "set AWS_REGION to a region such as eu-central-1")
        }
        return region
    }
}

/// The variables that AWS's tools read. An empty one is as good as none.
struct AWSEnvironment: Sendable {
    private let variables: [String: String]

    init(_ variables: [String: String]) { self.variables = variables }

    subscript(name: String) -> String? {
        // A line feed at the end comes with many a secret that was mounted from a file.
        guard let value = variables[name]?.trimmingCharacters(in: .whitespacesAndNewlines), !value.isEmpty else { return nil }
        return value
    }

    /// The file that a variable names, else the one in the home directory; nil if there is no home either.
    func path(_ name: String, _ usual: String) -> String? {
        let path = self[name] ?? "~/" + usual
        guard path.hasPrefix("~/") else { return path }
        return self["HOME"].map { $0 + path.dropFirst() }
    }
}

import ArgumentParser
import AWSKMS
import ToolSupport

/// Where the KMS is. Credentials come from the environment or the shared credentials file, never from an argument.
struct KMSOptions: ParsableArguments {
    @Option(name: .customLong("kms-endpoint"), help: ArgumentHelp(
        "The KMS's address (default: $AWS_ENDPOINT_URL_KMS, $AWS_ENDPOINT_URL, else AWS's of the region).", valueName: "url"))
    var endpoint: String?

    @Option(name: .customLong("kms-region"), help: ArgumentHelp(
        "The KMS's region (default: $AWS_REGION, $AWS_DEFAULT_REGION, else the profile's).", valueName: "name"))
    var region: String?

    @Option(name: .customLong("kms-profile"), help: ArgumentHelp(
        "The profile of the shared credentials file (default: $AWS_PROFILE, else default).", valueName: "name"))
    var profile: String?

    /// Makes a client, lets it be worked with, and closes it.
    func withKMS<R>(_ body: (AWSKMSClient) async throws -> R) async throws -> R {
        try await lending(
            AWSKMSClient(.init(region: region, endpoint: endpoint, profile: profile)), closing: { await $0.shutdown() }, to: body)
    }
}

import Foundation

extension AWSKMSClient {
    /// Where the KMS is, as whom to call it, and for how long to try.
    ///
    /// What is not set here comes from where AWS's own tools look. Printing one shows neither the environment nor the
    /// endpoint: there may be secrets in both.
    public struct Configuration: Sendable, CustomStringConvertible, CustomReflectable {
        /// Else `AWS_REGION`, `AWS_DEFAULT_REGION`, else `region` of the profile in the configuration file.
        public var region: String?
        /// Else `AWS_ENDPOINT_URL_KMS`, `AWS_ENDPOINT_URL`, else AWS's own endpoint of the region. `http://` is taken for
        /// loopback addresses only: plaintext keys travel over it.
        public var endpoint: String?
        /// Else `AWS_PROFILE`, else `default`. One that is set here goes before keys in the environment, `AWS_PROFILE` does
        /// not: so does the AWS CLI with `--profile`.
        public var profile: String?
        /// How long a call may take, with all its tries.
        public var deadline: Duration
        /// How long one try may take.
        public var perAttempt: Duration
        /// What is read in place of this process' environment: the `AWS_` variables, and `HOME`.
        public var environment: [String: String]

        /// The clock by which requests are signed.
        var now: @Sendable () -> Date = { Date() }
        /// How many keys are asked for at once.
        var pageSize = 1000

        public init(
            region: String? = nil, endpoint: String? = nil, profile: String? = nil, deadline: Duration = .seconds(30),
            perAttempt: Duration = .seconds(10), environment: [String: String] = ProcessInfo.processInfo.environment
        ) {
            self.region = region
            self.endpoint = endpoint
            self.profile = profile
            self.deadline = deadline
            self.perAttempt = perAttempt
            self.environment = environment
        }

        public var description: String {
            "KMS in region \(region ?? "of the environment"), profile \(profile ?? "of the environment"), within \(deadline)"
        }

        public var customMirror: Mirror { Mirror(self, children: []) }
    }
}

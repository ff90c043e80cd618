import ArgumentParser
import CustodyClient
import MasterKey

/// All three that an envelope needs: database, KMS and custodyd.
struct ServiceOptions: ParsableArguments {
    struct Services {
        let database: any TenantDatabase
        let kms: any KeyManagementService
        let custody: CustodyClient
        let pins: TenantPins
    }

    @OptionGroup var custody: CustodyOptions
    @OptionGroup var kms: KMSOptions
    @OptionGroup var trust: TrustOptions
    @OptionGroup var common: CommonOptions

    func withServices<R>(_ body: (Services) async throws -> R) async throws -> R {
        try await common.withDatabase { database in
            let pins = try trust.pins(of: database)
            return try await kms.withKMS { kms in
                try await custody.withClient { custody in
                    try await body(Services(database: database, kms: kms, custody: custody, pins: pins))
                }
            }
        }
    }

    /// Opens a tenant's master key, lends it, and forgets it.
    func withMasterKey<R>(of tenant: TenantName, _ opening: OpeningOptions, _ body: (OpenedMasterKey) throws -> R) async throws -> R {
        try await withServices { services in
            let keys = MasterKeys(
                database: services.database, kms: services.kms, custody: services.custody, cache: nil, requiring: opening.requirement,
                pins: services.pins)
            let key = try await keys.open(tenant, expecting: opening.expectedMasterKey)
            defer { key.drop() }
            return try body(key)
        }
    }
}

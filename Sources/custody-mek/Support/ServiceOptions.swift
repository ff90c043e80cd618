import ArgumentParser
import CustodyClient
import MasterKey

/// All three that an envelope needs: database, KMS and custodyd.
struct ServiceOptions: ParsableArguments {
    struct Services {
        let database: any TenantDatabase
        let kms: any KeyManagementService
        let custody: CustodyClient
    }

    @OptionGroup var custody: CustodyOptions
    @OptionGroup var kms: KMSOptions
    @OptionGroup var common: CommonOptions

    func withServices<R>(_ body: (Services) async throws -> R) async throws -> R {
        try await common.withDatabase { database in
            try await kms.withKMS { kms in
                try await custody.withClient { custody in
                    try await body(Services(database: database, kms: kms, custody: custody))
                }
            }
        }
    }

    /// Opens a tenant's master key, lends it, and forgets it.
    func withMasterKey<R>(of tenant: TenantName, _ body: (OpenedMasterKey) throws -> R) async throws -> R {
        try await withServices { services in
            let keys = MasterKeys(database: services.database, kms: services.kms, custody: services.custody, cache: nil)
            let key = try await keys.open(tenant)
            defer { key.drop() }
            return try body(key)
        }
    }
}

import MasterKey

/// The names of all tenants, page by page, in the order of their bytes.
struct TenantNames: AsyncSequence, AsyncIteratorProtocol {
    private let database: any TenantDatabase
    private var page: ArraySlice<TenantName> = []
    private var last: TenantName?

    init(_ database: any TenantDatabase) { self.database = database }

    func makeAsyncIterator() -> TenantNames { self }

    mutating func next() async throws -> TenantName? {
        if page.isEmpty { page = try await database.tenants(after: last, limit: 1_000)[...] }
        guard let name = page.popFirst() else { return nil }
        last = name
        return name
    }
}

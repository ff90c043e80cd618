/// Lends something to a body and closes it afterwards, whatever happens.
package func lending<Resource, R>(
    _ resource: Resource, closing close: (Resource) async -> Void, to body: (Resource) async throws -> R
) async throws -> R {
    do {
        let result = try await body(resource)
        await close(resource)
        return result
    } catch {
        await close(resource)
        throw error
    }
}

import CustodyClient
import Testing

/// Expects a call to fail with this code.
func expectError<R>(
    _ code: CustodyClientError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> R
) async {
    do {
        _ = try await body()
        Issue.record("expected \(code), and it succeeded", sourceLocation: sourceLocation)
    } catch let error as CustodyClientError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record(error, sourceLocation: sourceLocation)
    }
}

/// The code of the error that a call fails with; nil if it succeeds.
func errorCode<R>(_ body: () async throws -> R) async throws -> CustodyClientError.Code? {
    do {
        _ = try await body()
        return nil
    } catch let error as CustodyClientError {
        return error.code
    }
}

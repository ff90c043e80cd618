import Foundation
import Testing
import TestSupport

/// The process is killed at each system call by which it writes to the tenant database or hears from it: inside every
/// transaction, before and after the database has made it durable.
@Suite struct KilledInDatabaseTests {
    @Test(arguments: [
        (DatabaseKind.sqlite, "pwrite64"), (.sqlite, "fdatasync"), (.postgresql, "sendto"), (.postgresql, "recvfrom"),
    ]) func atEveryCall(_ kind: DatabaseKind, _ call: String) async throws {
        let service = try await TenantService(kind)
        var number = 0
        while true {
            number += 1
            let result = try await run(
                "strace",
                arguments: ["-f", "-qq", "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(call):signal=SIGKILL:when=\(number)", "\(Products.directory)/custody-mek"]
                    + service.enabling,
                environment: service.environment)
            if result.status == .exited(0) { break }
            guard result.status == .signalled(SIGKILL) else { throw UnexpectedResult(result) }
            try await service.expectSafe("killed at \(call) number \(number)")
        }
        // It goes on from where it was killed, so it meets fewer calls each time; still it was killed in each part.
        #expect(number > 10, "only \(number) calls of \(call)")
        try await service.expectEnabled("resumed")
    }
}

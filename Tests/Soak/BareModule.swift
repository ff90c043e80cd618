import ArgumentParser
import Foundation
import PKCS11
import SecureMemory
import TestSupport

/// What the module itself leaves behind each time that it is initialised, logged in to and finalised, without any daemon.
struct BareModule: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bare-module", abstract: "Measure what the module itself leaks, in a process of its own.", shouldDisplay: false)

    @Argument var module: String
    @Argument var uri: String
    @Argument var cycles: Int

    func run() throws {
        let uri = try TokenURI(self.uri)
        for _ in 0..<cycles / 4 { try cycle(uri) }
        let before = try Self.residentKilobytes()
        for _ in 0..<cycles { try cycle(uri) }
        say("\(Double(try Self.residentKilobytes() - before) / Double(cycles))")
    }

    private func cycle(_ uri: TokenURI) throws {
        let module = try Module(module)
        let session = try module.openSession(try module.token(matching: uri).slot, readWrite: false)
        try session.login(.user, pin: SecretBytes(Array(SoftHSMToken.userPIN.utf8)))
        for key in try session.objects(.secretKey, matching: []) { _ = try session.attributes(of: key, [.label, .id, .encrypt, .decrypt]) }
        _ = consume session
        try module.finalize()
    }

    private static func residentKilobytes() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) / 1_024
    }

    /// Kilobytes for each cycle, on the run's token as it is.
    static func measure(_ site: Site, cycles: Int) async throws -> Double {
        let result = try await TestSupport.run(
            "custody-soak", arguments: ["bare-module", site.token.modulePath, "\(site.token.uri)", "\(cycles)"],
            environment: site.token.environment)
        guard result.status == .exited(0), let figure = Double(result.output.split(separator: "\n").last ?? "") else {
            throw UnexpectedResult(result)
        }
        return figure
    }
}

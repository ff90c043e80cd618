import Foundation

/// OpenSC's module that passes every call on to SoftHSM and writes it down. It writes PINs down as well: for tests only.
public struct PKCS11Spy: Sendable {
    public let modulePath: String
    private let directory: TemporaryDirectory

    private static let shared: Result<PKCS11Spy, any Error> = Result {
        let path = try locate()
        let directory = try TemporaryDirectory()
        directory.removeAtExit()
        // Once per process, for the same reason as SoftHSM's configuration.
        setenv("PKCS11SPY", try SoftHSM.modulePath(), 1)
        setenv("PKCS11SPY_OUTPUT", directory.file("calls"), 1)
        return PKCS11Spy(modulePath: path, directory: directory)
    }

    /// The module's path, for a process of its own.
    public static func locate() throws -> String {
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        return try SoftHSM.firstFile(
            of: folders.flatMap { ["\($0)/pkcs11-spy.so", "\($0)/pkcs11/pkcs11-spy.so"] }, "pkcs11-spy; install opensc")
    }

    /// The spy with an empty list; to be used while holding SoftHSM's token.
    public static func forThisProcess() throws -> PKCS11Spy {
        let spy = try shared.get()
        try spy.directory.write("calls", "")
        return spy
    }

    /// How often a function was called since.
    public func calls(of function: String) throws -> Int {
        let text = try String(contentsOfFile: directory.file("calls"), encoding: .utf8)
        return text.split(separator: "\n").filter { $0.hasSuffix(": \(function)") }.count
    }
}

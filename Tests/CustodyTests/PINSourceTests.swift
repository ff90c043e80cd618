import Custody
import Foundation
import SecureMemory
import TestSupport
import Testing

@Suite struct PINSourceTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func refusal(_ path: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let error = try expectError(.tokenLocked, sourceLocation: sourceLocation) { () throws(CustodyError) in
            try PINSource(path: path).read()
        }
        #expect(error.message.contains(path), sourceLocation: sourceLocation)
        #expect(!"\(error)".contains("73591846"), sourceLocation: sourceLocation)
        return error.message
    }

    @Test(arguments: [
        ("73591846", "73591846"), ("73591846\n", "73591846"), (" 7 \n", " 7 "), ("\u{FC}\n", "\u{FC}"),
    ])
    func readsThePINWithoutItsLineFeed(_ content: String, _ pin: String) throws {
        try expect(content, holds: pin)
    }

    @Test(arguments: ["", "\n"]) func aPINMayHave256Bytes(_ end: String) throws {
        let pin = String(repeating: "1", count: 256)
        try expect(pin + end, holds: pin)
    }

    private func expect(_ content: String, holds pin: String) throws {
        let path = try directory.write("pin", content)
        #expect(try PINSource(path: path).read().isEqual(to: SecretBytes(Array(pin.utf8))))
    }

    @Test(arguments: ["", "\n", "\n\n", "73591846\n\n", "73591846\n2\n"])
    func contentThatIsNoPINIsRefused(_ content: String) throws {
        #expect(try refusal(directory.write("pin", content)).contains("1 to 256 bytes on one line"))
    }

    @Test(arguments: [257, 8_000]) func aLongerPINIsRefused(_ count: Int) throws {
        let content = String(repeating: "73591846", count: count / 8 + 1).prefix(count)
        #expect(try refusal(directory.write("pin", String(content))).contains("1 to 256 bytes on one line"))
    }

    @Test(arguments: [mode_t(0o400), 0o600, 0o700]) func ownersModesAreTaken(_ mode: mode_t) throws {
        _ = try PINSource(path: directory.write("pin", "73591846", mode: mode)).read()
    }

    @Test(arguments: [mode_t(0o604), 0o640, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
    func modesForOthersAreRefused(_ mode: mode_t) throws {
        #expect(try refusal(directory.write("pin", "73591846", mode: mode)).contains("chmod 600"))
    }

    @Test func missingFileFolderAndPipeAreRefused() throws {
        #expect(try refusal(directory.file("missing")).contains("No such file"))
        #expect(try refusal(directory.path).contains("not a regular file"))
        // Must not wait for somebody to write into it.
        let pipe = directory.file("pipe")
        try #require(mkfifo(pipe, 0o600) == 0)
        #expect(try refusal(pipe).contains("not a regular file"))
    }

    @Test func whatASymbolicLinkLeadsToCounts() throws {
        let good = try directory.write("good", "73591846")
        let open = try directory.write("open", "73591846", mode: 0o644)
        for (name, target) in [("to-good", good), ("to-open", open), ("to-folder", directory.path)] {
            try FileManager.default.createSymbolicLink(atPath: directory.file(name), withDestinationPath: target)
        }
        _ = try PINSource(path: directory.file("to-good")).read()
        #expect(try refusal(directory.file("to-open")).contains("chmod 600"))
        #expect(try refusal(directory.file("to-folder")).contains("not a regular file"))
    }

    @Test func aFolderInWhichOthersReplaceFilesIsRefused() throws {
        let path = try directory.write("pin", "73591846")
        try #require(chmod(directory.path, 0o777) == 0)
        #expect(try refusal(path).contains("everybody can replace everything"))
        // What was handed over open is found by no name.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        for place in ["/dev/fd", "/proc/self/fd"] { _ = try PINSource(path: "\(place)/\(descriptor)").read() }
        try #require(chmod(directory.path, 0o1777) == 0)
        _ = try PINSource(path: path).read()
    }

    @Test(.enabled(if: geteuid() == 0, "only root gives a file away")) func somebodyElsesFileIsRefused() throws {
        let path = try directory.write("pin", "73591846")
        try #require(chown(path, 65_534, 65_534) == 0)
        #expect(try refusal(path).contains("belongs to uid 65534"))
    }
}

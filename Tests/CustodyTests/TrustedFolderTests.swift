import Custody
import Foundation
import TestSupport
import Testing

/// Folders and files that decide what the vault does: nobody else could have made them, and no link leads elsewhere.
@Suite struct TrustedFolderTests {
    private let place: TemporaryDirectory

    init() throws { place = try TemporaryDirectory() }

    private func folder(_ name: String, mode: mode_t = 0o700) throws -> String {
        let path = place.file(name)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        guard chmod(path, mode) == 0 else { throw POSIXFailure("chmod") }
        return path
    }

    private func expectRefused(_ says: String, _ body: () throws(FileFailure) -> Void) {
        do throws(FileFailure) {
            try body()
            Issue.record("it was taken")
        } catch {
            #expect(error.code == nil && error.description.contains(says), "\(error)")
        }
    }

    @Test(arguments: [0o777, 0o770, 0o720, 0o702, 0o1777] as [mode_t])
    func othersMayWrite(_ mode: mode_t) throws {
        let path = try folder("state", mode: mode)
        expectRefused("`chmod go-w \(path)`") { () throws(FileFailure) in _ = try TrustedFolder(path) }
        try expectStateRefused(path, "chmod go-w")
    }

    private func expectStateRefused(_ path: String, _ says: String) throws {
        do throws(CustodyError) {
            _ = try StateDirectory(path)
            Issue.record("it was taken")
        } catch {
            #expect(error.code == .stateUnavailable && error.message.contains(says), "\(error.message)")
        }
    }

    @Test(.enabled(if: getuid() == 0, "only root can give a folder away"))
    func itIsSomebodyElses() throws {
        let path = try folder("state", mode: 0o755)
        try #require(chown(path, 64_105, 64_105) == 0)
        expectRefused("belongs to uid 64105") { () throws(FileFailure) in _ = try TrustedFolder(path) }
        try expectStateRefused(path, "`chown \(geteuid()) \(path)`")
        // It may belong to one who is named.
        _ = try TrustedFolder(path, trust: FileTrust(user: 64_105))
        // And so it is with what lies below.
        let below = path + "/below"
        try FileManager.default.createDirectory(atPath: below, withIntermediateDirectories: false)
        expectRefused("\(path) belongs to uid 64105, who can replace what is in it") { () throws(FileFailure) in _ = try TrustedFolder(below) }
    }

    /// /tmp is such a folder, and the sticky bit makes it one to pass through.
    @Test func everybodysFolderOnTheWay() throws {
        let way = try folder("way", mode: 0o777)
        let path = try folder("way/state")
        expectRefused("`chmod o-w \(way)`") { () throws(FileFailure) in _ = try TrustedFolder(path) }
        try #require(chmod(way, 0o1777) == 0)
        _ = try TrustedFolder(path)
        _ = try TrustedFolder(way, .shared)
    }

    @Test func linksOfOurs() throws {
        let path = try folder("real")
        try FileManager.default.createSymbolicLink(atPath: place.file("absolute"), withDestinationPath: path)
        try FileManager.default.createSymbolicLink(atPath: place.file("relative"), withDestinationPath: "./absolute/../real")
        for name in ["absolute", "relative"] {
            try TrustedFolder(place.file(name)).replace(name, with: Array("x".utf8).span.bytes)
            #expect(FileManager.default.fileExists(atPath: path + "/" + name))
        }
        for (name, target) in [("loop", "loop"), ("a", "b"), ("b", "a")] {
            try FileManager.default.createSymbolicLink(atPath: place.file(name), withDestinationPath: target)
        }
        for name in ["loop", "a"] { #expect(throws: FileFailure.self) { try TrustedFolder(place.file(name)) } }
    }

    /// Whoever may write to a folder on the way must not decide where it leads.
    @Test(.enabled(if: getuid() == 0, "only root can make a link of somebody else"))
    func linksOfOthers() throws {
        let path = try folder("real")
        let link = place.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        try #require(lchown(link, 64_105, 64_105) == 0)
        expectRefused("\(link) is a symbolic link that others could have made") { () throws(FileFailure) in _ = try TrustedFolder(link) }
        // One of ours in a folder of somebody else's could have been moved there.
        let theirs = try folder("theirs")
        try FileManager.default.createSymbolicLink(atPath: theirs + "/link", withDestinationPath: path)
        try #require(chown(theirs, 64_105, 64_105) == 0)
        expectRefused("is a symbolic link") { () throws(FileFailure) in
            _ = try TrustedFolder(theirs + "/link", trust: FileTrust(user: 64_105))
        }
    }

    /// Within a folder no link is followed at all, whoever made it.
    @Test func linksInIt() throws {
        let path = try folder("state")
        let victim = place.file("victim")
        try "precious".write(toFile: victim, atomically: false, encoding: .utf8)
        let state = try TrustedFolder(path)
        for name in ["count", "count.new"] {
            try FileManager.default.createSymbolicLink(atPath: path + "/" + name, withDestinationPath: victim)
        }
        expectRefused("symbolic link") { () throws(FileFailure) in _ = try state.read("count") }
        try state.replace("count", with: Array("7".utf8).span.bytes)
        #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
        #expect(try state.read("count") == Array("7".utf8))
        try FileManager.default.createSymbolicLink(atPath: path + "/folder", withDestinationPath: place.path)
        expectRefused("symbolic link") { () throws(FileFailure) in _ = try state.openOrMake("folder", owner: nil) }
    }

    /// What is in it stays in it, wherever its name leads by now.
    @Test func theFolderStaysTheSame() throws {
        let path = try folder("state")
        let state = try TrustedFolder(path)
        try #require(rename(path, place.file("moved")) == 0)
        _ = try folder("state")
        try state.replace("count", with: Array("7".utf8).span.bytes)
        #expect(FileManager.default.fileExists(atPath: place.file("moved/count")))
        #expect(!FileManager.default.fileExists(atPath: path + "/count"))
    }

    @Test func filesOfOthers() throws {
        let path = try folder("state")
        let state = try TrustedFolder(path)
        try state.replace("count", with: Array("7".utf8).span.bytes)
        try #require(chmod(path + "/count", 0o666) == 0)
        expectRefused("chmod go-w") { () throws(FileFailure) in _ = try state.read("count") }
        #expect(TrustedFile.trouble(with: path + "/count")?.contains("chmod go-w") == true)
        #expect(mkfifo(path + "/pipe", 0o600) == 0)
        expectRefused("not a regular file") { () throws(FileFailure) in _ = try state.read("pipe") }
        #expect(try state.read("absent") == nil)
    }

    /// A file that was left half written is not written into: somebody may hold it open.
    @Test func aHalfWrittenFileIsLeftAlone() throws {
        let path = try folder("state")
        try place.write("state/count.new", "half")
        try #require(link(path + "/count.new", place.file("held")) == 0)
        try TrustedFolder(path).replace("count", with: Array("7".utf8).span.bytes, mode: 0o640)
        #expect(try String(contentsOfFile: place.file("held"), encoding: .utf8) == "half")
        #expect(try FileManager.default.attributesOfItem(atPath: path + "/count")[.posixPermissions] as? Int == 0o640)
    }

    @Test func theAuditLogToo() throws {
        let path = try folder("log", mode: 0o777)
        func opened() throws { _ = try AuditLog(AuditSettings(file: path + "/audit.jsonl", stateDirectory: place.file("state"))) }
        #expect { try opened() } throws: { "\($0)".contains("chmod o-w \(path)") }
        try #require(chmod(path, 0o755) == 0)
        try opened()
        try #require(chmod(path + "/audit.jsonl", 0o622) == 0)
        #expect { try opened() } throws: { "\($0)".contains("chmod go-w \(path)/audit.jsonl") }
    }
}

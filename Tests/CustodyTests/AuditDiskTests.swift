import Foundation
import TestSupport
import Testing

@testable import Custody

/// A disk that fills up and can be emptied again: a small file system in memory.
@Suite(.enabled(if: getuid() == 0, "only root may mount a file system")) struct AuditDiskTests {
    /// 64 KiB of disk, unmounted when the last reference goes.
    private final class SmallDisk: Sendable {
        let directory: TemporaryDirectory
        var path: String { directory.path }

        init() async throws {
            directory = try TemporaryDirectory()
            let mounted = try await run("mount", arguments: ["-t", "tmpfs", "-o", "size=64k", "custody-test", directory.path])
            guard mounted.status == .exited(0) else { throw UnexpectedResult(mounted) }
        }

        deinit { umount2(directory.path, Int32(MNT_DETACH)) }

        /// Takes all the room that is left.
        func fill() throws {
            let descriptor = open("\(path)/filler", O_WRONLY | O_CREAT | O_APPEND, 0o600)
            let block = [UInt8](repeating: 0, count: 4_096)
            while write(descriptor, block, block.count) > 0 {}
            close(descriptor)
        }

        func empty() { unlink("\(path)/filler") }
    }

    @Test(arguments: [AuditSettings.Durability.write, .interval(.milliseconds(5)), .fsync])
    func aFullDiskStopsEverythingAndRoomLetsItGoOn(_ durability: AuditSettings.Durability) async throws {
        let disk = try await SmallDisk()
        let place = try AuditPlace(folder: disk.path)
        let log = try place.open(durability)
        try disk.fill()
        var written = 0
        var refused = 0
        // The page that is begun has room still.
        while refused < 50 {
            do throws(CustodyError) {
                try log.append([.example(), .example(), .example()])
                written += 3
            } catch {
                #expect(error.code == .auditUnavailable)
                #expect(error.cause == "\(place.path): No space left on device")
                refused += 1
            }
        }
        #expect(!log.isWritable)
        #expect(log.report.failure != nil)
        // Between a failed write and its cutting off half a line may be seen.
        try await eventually("no half line") { try AuditTrail([place.path]).breaks == [] }
        #expect(try AuditTrail([place.path]).decisions.count == written)

        disk.empty()
        try await eventually("it to be writable again") { log.isWritable }
        try log.append([.example()])
        let trail = try AuditTrail([place.path])
        #expect(trail.breaks == [])
        #expect(trail.decisions.count == written + 1)
        #expect(trail.events.contains("log-writable-again"))
    }

    @Test func aFullDiskAtTheStartIsNoReasonToStayDown() async throws {
        let disk = try await SmallDisk()
        let place = try AuditPlace(folder: disk.path)
        try #require(FileManager.default.createFile(atPath: place.path, contents: nil))
        try disk.fill()
        let log = try place.open()
        #expect(!log.isWritable)
        disk.empty()
        try await eventually("it to be writable") { log.isWritable }
        let trail = try AuditTrail([place.path])
        #expect(trail.breaks == [])
        #expect(trail.events == ["log-begins", "log-writable-again"])
    }

    @Test func aFileSystemThatIsReadOnlyForAWhile() async throws {
        let disk = try await SmallDisk()
        let place = try AuditPlace(folder: disk.path)
        let log = try place.open()
        try log.append([.example()])
        // The file is renamed, so that the new one meets it: an open file keeps the file system writable.
        try FileManager.default.moveItem(atPath: place.path, toPath: place.path + ".1")
        log.close()
        func remount(_ mode: String) async throws {
            let result = try await run("mount", arguments: ["-o", "remount,\(mode)", disk.path])
            guard result.status == .exited(0) else { throw UnexpectedResult(result) }
        }
        try await remount("ro")
        let error = try expectError(.auditUnavailable) { () throws(CustodyError) in try AuditLog(place.settings()) }
        #expect(error.message.contains("Read-only file system"))
        try await remount("rw")
        try place.open().append([.example()])
        #expect(try AuditTrail([place.path + ".1", place.path]).breaks == [])
    }
}

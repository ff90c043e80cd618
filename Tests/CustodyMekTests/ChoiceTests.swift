import AWSKMS
import Foundation
import MasterKey
import TestSupport
import Testing

/// What an operation was begun with stands in the journal: a run that goes on takes it from there, and asks before it changes.
@Suite struct ChoiceTests {
    /// Begins, and is killed after a step.
    private func begin(_ options: [String], killedAfter step: Int, _ kind: DatabaseKind = .sqlite) async throws -> TenantService {
        let service = try await TenantService(kind)
        let run = try PausedRun(service, service.enabling + options)
        try await run.go(to: step)
        try await run.kill()
        return service
    }

    private func deletions(_ service: TenantService) -> [String] {
        service.proxy.requests.filter { $0.operation == "ScheduleKeyDeletion" }.map(\.text)
    }

    private func state(_ service: TenantService) async throws -> KMSKeyDescription.State {
        try await service.withKMS { try await $0.describe(service.firstKey.rawValue).state }
    }

    @Test(arguments: DatabaseKind.allCases, [1, 9]) func aKeyThatWasToBeKeptIsKept(_ kind: DatabaseKind, _ step: Int) async throws {
        let service = try await begin(["--keep-old-key"], killedAfter: step, kind)
        let finished = try await service.enable()
        #expect(finished.output.contains("was left as it is, as asked for"))
        #expect(try await state(service) == .enabled && deletions(service).isEmpty)
        #expect(try await service.journal().first?.operation.retiresOldKey == false)
        #expect(try await service.open() == service.masterKey)
    }

    @Test(arguments: [
        (["--keep-old-key"], ["--retire-old-key"]), (["--retire-old-key"], ["--keep-old-key"]), ([], ["--keep-old-key"]),
        ([], ["--deletion-days", "7"]), (["--deletion-days", "9"], ["--deletion-days", "30"]),
    ])
    func anotherChoiceHasToBeConfirmed(_ begun: [String], _ told: [String]) async throws {
        let service = try await begin(begun, killedAfter: 9)
        let journal = try await service.unfinished()
        // Nobody is at the terminal.
        let refusal = try await service.refusal(service.enabling + told, exit: 64)
        #expect(refusal.code == "choice-changed", "\(refusal)")
        #expect(refusal.message.contains(told.joined(separator: " ")) && refusal.advice?.contains("--change-choices") == true, "\(refusal)")
        #expect(begun.isEmpty || refusal.message.contains(begun.joined(separator: " ")), "\(refusal)")
        #expect(try await service.unfinished() == journal && deletions(service).isEmpty)
        // What was confirmed is journalled in its turn: killed before it is done, it holds.
        let hold = service.proxy.on("ScheduleKeyDeletion", .holdRequest)
        let run = try ChildProcess("custody-mek", arguments: service.enabling + told + ["--change-choices"], environment: service.environment)
        if told == ["--keep-old-key"] {
            #expect(try await run.end().status == .exited(0))
        } else {
            try await hold.reached()
            run.signal(SIGKILL)
            try await run.end()
        }
        hold.release()
        service.proxy.reset()
        let before = deletions(service).count
        try await service.enable()
        #expect(try await state(service) == (told == ["--keep-old-key"] ? .enabled : .pendingDeletion))
        let days = told.first == "--deletion-days" ? told[1] : "30"
        for request in deletions(service).dropFirst(before) { #expect(request.contains("\"PendingWindowInDays\":\(days)")) }
    }

    @Test func theSameChoiceIsNoOther() async throws {
        let service = try await begin(["--keep-old-key", "--deletion-days", "8"], killedAfter: 4)
        try await service.ok(arguments: service.enabling + ["--keep-old-key", "--deletion-days", "8"])
        #expect(try await state(service) == .enabled)
    }

    /// The command that every error names goes on by itself.
    @Test func theRootKeyIsTheJournals() async throws {
        let service = try await begin([], killedAfter: 4)
        let name = "\(service.tenant)"
        let other = try await service.refusal(["enable", name, "--root-key", "other", "--yes-i-understand", name], exit: 64)
        #expect(other.code == "choice-changed" && other.message.contains("--root-key root") && other.message.contains("--root-key other"), "\(other)")
        try await service.ok("enable", name, "--yes-i-understand", name)
        try await service.expectEnabled("gone on")
        // A tenant that is enabled is not done under another key.
        #expect(try await service.refusal(["enable", name, "--root-key", "other"], exit: 64).code == "choice-changed")
        try await service.ok("enable", name, "--root-key", "root")
    }

    @Test func theRootKeyCantChangeAfterwards() async throws {
        let service = try await begin([], killedAfter: 9)
        let name = "\(service.tenant)"
        let late = try await service.refusal(["enable", name, "--root-key", "other", "--change-choices"], exit: 64)
        #expect(late.code == "choice-changed" && late.message.contains("is replaced"), "\(late)")
        try await service.ok("enable", name)
        try await service.expectEnabled("gone on")
    }

    /// An older release's entry does not say what becomes of the key: it is not guessed.
    @Test func whatWasNotRecordedIsAskedFor() async throws {
        let service = try await begin(["--keep-old-key"], killedAfter: 9)
        try await HeldSession.run(service, "UPDATE custody_operation SET retires_old_key = NULL, tag = NULL")
        let refusal = try await service.refusal(service.enabling, exit: 64)
        #expect(refusal.code == "choice-missing" && refusal.advice?.contains("--keep-old-key") == true, "\(refusal)")
        #expect(deletions(service).isEmpty)
        try await service.ok(arguments: service.enabling + ["--keep-old-key"])
        #expect(try await state(service) == .enabled)
        #expect(try await service.unfinished() == nil)
    }

    /// Where the row names another key meanwhile no key dies, neither the one that was to be kept nor the one that was made: who
    /// has written that into the row is not known.
    @Test func noKeyDiesWhereTheRowWasMovedOn() async throws {
        let service = try await begin(["--keep-old-key"], killedAfter: 9)
        var record = try await service.record()
        record.kmsKey = try await service.withKMS { try await $0.createKey(description: "another's") }
        let moved = record
        try await service.withDatabase { try await $0.replace(moved, recording: nil) }
        let run = try await service.mek(service.enabling, service.elsewhere)
        #expect(run.status != .exited(0), "\(run)")
        #expect(deletions(service).isEmpty)
        #expect(try await state(service) == .enabled)
    }
}

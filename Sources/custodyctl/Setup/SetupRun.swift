import Custody
import CustodyServer
import Foundation
import ToolSupport

/// One thing that `setup` sees to.
struct SetupStep {
    let title: String
    /// What a dry run can't know.
    var unknown: String?
    /// What is there already; nil if it has to be made. Must not change anything.
    let existing: () throws -> String?
    /// Makes it; returns what to tell the operator.
    let make: () throws -> String
}

/// Takes one step after the other and tells of each.
struct SetupRun {
    let isDry: Bool

    func take(_ step: SetupStep) throws {
        do {
            if let existing = try step.existing() { return tell("kept", step.title, existing) }
            guard !isDry else { return tell("would", step.title, step.unknown) }
            tell("done", step.title, try step.make())
        } catch {
            tell("FAILED", step.title, nil)
            var failure = ToolError(error)
            failure.message += "; what is listed above stays, and `custodyctl setup` goes on from there"
            throw failure
        }
    }

    private func tell(_ what: String, _ title: String, _ detail: String?) {
        let column = what.padding(toLength: 7, withPad: " ", startingAt: 0)
        Output.say("\(column)\(title)\(detail.map { ": \($0)" } ?? "")")
    }
}

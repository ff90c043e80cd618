/// What came of a cell.
public struct CellResult: Sendable {
    public let cell: Cell
    /// What did not hold; empty if the cell is passed.
    public var problems: [String] = []
    /// From the end of the trouble to the first operation that was served.
    public var recovery = Duration.zero
    /// Errors that callers were answered with.
    public var errors = 0

    /// Of `problems`, those that say no more than that something took too long.
    public var late = 0
    /// It was late at the first try, on a machine that may have had other work, and not at the second.
    public var isSecondTry = false
    /// What the daemon has said, if the cell is not passed.
    public var daemonLog = ""

    public init(_ cell: Cell) { self.cell = cell }
    public var isPassed: Bool { problems.isEmpty }
    /// Nothing is wrong but how long it took.
    public var isOnlyLate: Bool { !isPassed && late == problems.count }
}

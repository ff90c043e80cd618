/// What came of a cell.
public struct CellResult: Sendable {
    public let cell: Cell
    /// What did not hold; empty if the cell is passed.
    public var problems: [String] = []
    /// From the end of the trouble to the first operation that was served.
    public var recovery = Duration.zero
    /// Errors that callers were answered with.
    public var errors = 0

    public init(_ cell: Cell) { self.cell = cell }
    public var isPassed: Bool { problems.isEmpty }
}

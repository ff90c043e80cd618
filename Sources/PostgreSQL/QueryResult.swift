/// What a statement did.
public struct QueryResult: Sendable, Hashable {
    public var rows: [[Value]]
    /// How many rows it inserted, changed, deleted or returned.
    public var affected: Int
    /// What was done, such as `COMMIT`; a COMMIT that could not be is a `ROLLBACK`.
    public var tag: String

    public init(rows: [[Value]], affected: Int, tag: String = "") {
        self.rows = rows
        self.affected = affected
        self.tag = tag
    }
}

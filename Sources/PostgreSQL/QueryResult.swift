/// What a statement did.
public struct QueryResult: Sendable, Hashable {
    public var rows: [[Value]]
    /// How many rows it inserted, changed, deleted or returned.
    public var affected: Int
    /// What was done, such as `COMMIT`; a COMMIT that could not be is a `ROLLBACK`.
    public var tag: String

    /// The details of the notices that came with it.
    public var details: [String]

    public init(rows: [[Value]], affected: Int, tag: String = "", details: [String] = []) {
        self.rows = rows
        self.affected = affected
        self.tag = tag
        self.details = details
    }
}

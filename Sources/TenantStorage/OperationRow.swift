import MasterKey
import PostgreSQL

/// The rows of `custody_operation`.
enum OperationRow {
    static let columns = [
        "id", "tenant", "version", "kind", "state", "step", "base_revision", "old_key", "new_key", "lost_creations",
        "lost_creation_at", "root_key", "deletion_days", "retires_old_key", "tag", "started_at", "changed_at",
    ]

    static func read(_ row: [SQLValue]) throws(MasterKeyError) -> OperationRecord {
        let row = RowReader(row, columns: columns)
        return OperationRecord(
            id: try row.identifier("id"), tenant: try row.tenant("tenant"), version: try row.integer("version"), kind: try row.known("kind"),
            state: try row.known("state"), step: try row.optional("step", row.step),
            baseRevision: try row.integer("base_revision"), oldKey: try row.key("old_key"),
            newKey: try row.optional("new_key", row.key), lostCreations: Int(clamping: try row.integer("lost_creations")),
            lostCreationAt: try row.optional("lost_creation_at", row.date), rootKey: try row.text("root_key"),
            deletionDays: Int(clamping: try row.integer("deletion_days")), retiresOldKey: try row.optional("retires_old_key", row.flag), tag: try row.optional("tag", row.bytes),
            startedAt: try row.date("started_at"), changedAt: try row.date("changed_at"))
    }
}

/// The rows of `custody_operation_step`, with the tenant of their operation.
enum StepRow {
    static let columns = ["operation", "tenant", "step", "at"]

    static func read(_ row: [SQLValue]) throws(MasterKeyError) -> (operation: Identifier, step: StepRecord) {
        let row = RowReader(row, columns: columns)
        return (try row.identifier("operation"), StepRecord(step: try row.step("step"), at: try row.date("at")))
    }
}

import MasterKey
import PostgreSQL

extension SQLTenantDatabase {
    private static let selection = OperationRow.columns.joined(separator: ", ")

    func unfinishedOperation(of tenant: TenantName) async throws(MasterKeyError) -> OperationRecord? {
        try await transaction(.reading) { session throws(MasterKeyError) in
            let found = try session.run(
                "SELECT \(Self.selection) FROM custody_operation WHERE tenant = $1 AND state = 'unfinished'", SQLValue(tenant))
            guard let row = found.rows.first else { return nil }
            return try OperationRow.read(row)
        }
    }

    func operations(
        of tenant: TenantName
    ) async throws(MasterKeyError) -> [(operation: OperationRecord, steps: [StepRecord])] {
        let (operations, steps) = try await transaction(.reading) { session throws(MasterKeyError) in
            let operations = try session.run(
                "SELECT \(Self.selection) FROM custody_operation WHERE tenant = $1 ORDER BY number DESC", SQLValue(tenant))
            let steps = try session.run(
                """
                SELECT done.operation, entry.tenant, done.step, done.at FROM custody_operation_step done
                JOIN custody_operation entry ON entry.id = done.operation
                WHERE entry.tenant = $1 ORDER BY done.operation, done.ordinal
                """, SQLValue(tenant))
            return (try Self.map(operations.rows, OperationRow.read), try Self.map(steps.rows, StepRow.read))
        }
        let stepsOf = Dictionary(grouping: steps, by: \.operation)
        return operations.map { ($0, stepsOf[$0.id, default: []].map(\.step)) }
    }

    func begin(_ operation: OperationRecord) async throws(MasterKeyError) {
        try await transaction(.writing) { session throws(MasterKeyError) in
            try Self.require(operation.tenant, session)
            // The number says which entry is the newest. Whoever computes the same at the same time is turned away by an index.
            let last = try session.run("SELECT MAX(number) FROM custody_operation WHERE tenant = $1", SQLValue(operation.tenant))
            var number: Int64 = 1
            if case .integer(let highest)? = last.rows.first?.first { number = highest + 1 }
            let done = try session.run(
                """
                INSERT INTO custody_operation (id, tenant, number, version, kind, state, step, base_revision, old_key, new_key,
                lost_creations, lost_creation_at, root_key, deletion_days, retires_old_key, tag, started_at,
                changed_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT DO NOTHING
                """,
                [
                    SQLValue(operation.id), SQLValue(operation.tenant), .integer(number), .integer(operation.version),
                    .text(operation.kind.rawValue), .text(operation.state.rawValue), SQLValue(operation.step), .integer(operation.baseRevision),
                    SQLValue(operation.oldKey), SQLValue(operation.newKey), .integer(Int64(operation.lostCreations)),
                    SQLValue(operation.lostCreationAt), .text(operation.rootKey), .integer(Int64(operation.deletionDays)),
                    SQLValue(operation.retiresOldKey), SQLValue(operation.tag), SQLValue(operation.startedAt), SQLValue(operation.changedAt),
                ])
            guard done.affected == 1 else { throw Self.underWay(operation.tenant) }
            if let step = operation.step { try Self.add(step, to: operation, session) }
        }
    }

    func update(_ operation: OperationRecord, done step: Step?) async throws(MasterKeyError) {
        try await transaction(.writing) { session throws(MasterKeyError) in
            try Self.write(operation, done: step, session)
        }
    }

    /// What is constant of an entry is not written again.
    static func write(_ operation: OperationRecord, done step: Step?, _ session: any SQLSession) throws(MasterKeyError) {
        let done = try session.run(
            """
            UPDATE custody_operation SET state = $1, step = $2, base_revision = $3, old_key = $4, new_key = $5,
            lost_creations = $6, lost_creation_at = $7, root_key = $8, deletion_days = $9, retires_old_key = $10, tag = $11,
            changed_at = $12, version = version + 1 WHERE id = $13 AND tenant = $14 AND version = $15
            """,
            [
                .text(operation.state.rawValue), SQLValue(operation.step), .integer(operation.baseRevision),
                SQLValue(operation.oldKey), SQLValue(operation.newKey), .integer(Int64(operation.lostCreations)),
                SQLValue(operation.lostCreationAt), .text(operation.rootKey),
                .integer(Int64(operation.deletionDays)), SQLValue(operation.retiresOldKey), SQLValue(operation.tag), SQLValue(operation.changedAt),
                SQLValue(operation.id), SQLValue(operation.tenant), .integer(operation.version),
            ])
        guard done.affected == 1 else {
            throw MasterKeyError(.rowChanged, "the journal of tenant \(operation.tenant) has no operation \(operation.id) of version \(operation.version): another run has gone on with it")
        }
        if let step { try add(step, to: operation, session) }
    }

    /// After the entry was written: its lock keeps the ordinals apart.
    private static func add(_ step: Step, to operation: OperationRecord, _ session: any SQLSession) throws(MasterKeyError) {
        let last = try session.run("SELECT MAX(ordinal) FROM custody_operation_step WHERE operation = $1", SQLValue(operation.id))
        var ordinal: Int64 = 1
        if case .integer(let highest)? = last.rows.first?.first { ordinal = highest + 1 }
        try session.run(
            "INSERT INTO custody_operation_step (operation, ordinal, step, at) VALUES ($1, $2, $3, $4)",
            SQLValue(operation.id), .integer(ordinal), SQLValue(step), SQLValue(operation.changedAt))
    }

    private static func underWay(_ tenant: TenantName) -> MasterKeyError {
        MasterKeyError(
            .operationUnderWay, "the journal of tenant \(tenant) has a change that is not finished",
            advice: "finish it first")
    }
}

extension Configuration {
    /// The tables that differ and can't change while the daemon runs; rules and `[keys]` can.
    func differencesThatNeedRestart(from old: Configuration) -> [String] {
        var tables: [String] = []
        if server != old.server { tables.append("[server]") }
        if token != old.token || environment != old.environment { tables.append("[token]") }
        if audit != old.audit { tables.append("[audit]") }
        if stateDirectory != old.stateDirectory { tables.append("[state]") }
        if logLevel != old.logLevel { tables.append("[log]") }
        return tables
    }
}

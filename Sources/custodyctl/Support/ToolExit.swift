/// The exit codes of `custodyctl`; they are part of its interface.
enum ToolExit {
    static let failed: Int32 = 1
    static let notFitting: Int32 = 2
    static let usage: Int32 = 64
    static let unavailable: Int32 = 69
    static let denied: Int32 = 77
    static let configuration: Int32 = 78
}

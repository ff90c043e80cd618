/// The exit codes of the tools; they are part of their interface.
package enum ToolExit {
    package static let failed: Int32 = 1
    package static let notFitting: Int32 = 2
    package static let usage: Int32 = 64
    package static let unavailable: Int32 = 69
    /// The system withholds what every program gets.
    package static let system: Int32 = 71
    /// Somebody else is at it; a later try makes sense.
    package static let busy: Int32 = 75
    package static let denied: Int32 = 77
    package static let configuration: Int32 = 78
}

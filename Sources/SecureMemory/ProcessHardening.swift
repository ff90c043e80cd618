import CSystemShim

/// Keeps a process' memory out of core files, debuggers of the same user, and swap.
public enum ProcessHardening {
    public enum MemoryLock: Sendable, Equatable {
        case locked
        /// The limit on locked memory is finite; swap must be forbidden by the service manager.
        case limited
        case failed(errno: Int32)
    }

    /// Makes the process not dumpable and forbids core files. Returns the errno if the kernel refused.
    public static func forbidDumps() -> Int32? {
        let failure = csystem_forbid_dumps()
        return failure == 0 ? nil : failure
    }

    /// Raises the soft limit on open files to the hard one.
    public static func raiseDescriptorLimit() { csystem_raise_descriptor_limit() }

    /// Locks all memory where the limit allows it.
    public static func lockMemory() -> MemoryLock {
        switch csystem_lock_memory() {
        case 1: .locked
        case 0: .limited
        case let failure: .failed(errno: -failure)
        }
    }
}

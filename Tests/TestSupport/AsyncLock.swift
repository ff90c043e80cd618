/// Lets one task at a time through; the others wait without holding up a thread, first come first served.
public actor AsyncLock {
    private var isHeld = false
    private var waiters: [CheckedContinuation<Void, Never>] = []

    public init() {}

    public func acquire() async {
        guard isHeld else {
            isHeld = true
            return
        }
        await withCheckedContinuation { waiters.append($0) }
    }

    public func release() {
        // Handed over, not opened: nobody may slip in between.
        if waiters.isEmpty { isHeld = false } else { waiters.removeFirst().resume() }
    }
}

/// Lets those who make things happen through, unless somebody wants everything to rest.
actor Gate {
    private var inside = 0
    private var isClosed = false

    func enter() async {
        while isClosed { try? await Task.sleep(for: .milliseconds(10)) }
        inside += 1
    }

    func leave() { inside -= 1 }

    /// Returns when nobody is inside.
    func close() async {
        isClosed = true
        while inside > 0 { try? await Task.sleep(for: .milliseconds(10)) }
    }

    func open() { isClosed = false }
}

// What AddressSanitizer must find: `memory past-the-end` and `memory after-free`, but nothing without an argument.
@main struct Memory {
    static func main() {
        let what = CommandLine.arguments.dropFirst().first
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 16)
        bytes.initialize(repeating: 1, count: 16)
        if what == "past-the-end" { print(bytes[16]) }
        let last = bytes + 15
        bytes.deallocate()
        if what == "after-free" { print(last.pointee) }
    }
}

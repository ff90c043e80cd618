import Fuzzing
import Glibc

// What libFuzzer, whose main this program has, calls.

/// Named by CUSTODY_FUZZ_TARGET: one program for all targets links once.
private let target: any FuzzTarget.Type = {
    let name = getenv("CUSTODY_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTargets.named(name) else {
        let names = FuzzTargets.all.map { $0.name }.joined(separator: " ")
        fatalError("CUSTODY_FUZZ_TARGET must be one of: \(names)")
    }
    return target
}()

@_cdecl("LLVMFuzzerInitialize")
public func initialize(
    _ count: UnsafeMutablePointer<CInt>?, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> CInt {
    _ = target
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func test(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    do {
        try target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    } catch {
        // libFuzzer takes a crash for a finding, and keeps the input.
        fatalError("\(target.name): \(error)")
    }
    return 0
}

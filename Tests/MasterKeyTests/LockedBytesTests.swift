import Glibc
import SecureMemory
import Testing

@Suite struct LockedBytesTests {
    @Test(arguments: [0, 1, 31, 32, 63, 64, 65, 4_096, 10_000]) func holdsWhatItGot(_ count: Int) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
        let locked = LockedBytes(bytes)
        #expect(locked.count == count)
        #expect(locked.exposed() == bytes)
        #expect(locked.withBytes { $0.byteCount } == count)
        #expect(locked.isEqual(to: LockedBytes(bytes)))
        if count > 0 {
            var other = bytes
            other[count - 1] ^= 1
            #expect(!locked.isEqual(to: LockedBytes(other)))
        }
        #expect(!locked.isEqual(to: LockedBytes(bytes + [0])))
    }

    /// A key's place is zeroed before another key gets it, and none gets another's.
    @Test func thousandsDoNotMix() async {
        await withTaskGroup(of: Bool.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for round in 0..<50 {
                        let keys = (0..<100).map { LockedBytes(Array(repeating: UInt8(truncatingIfNeeded: task &* 31 &+ round &+ $0), count: 1 + $0 % 64)) }
                        for (index, key) in keys.enumerated() {
                            let expected = UInt8(truncatingIfNeeded: task &* 31 &+ round &+ index)
                            guard key.exposed() == Array(repeating: expected, count: 1 + index % 64) else { return false }
                        }
                    }
                    return true
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }

    /// What the kernel says of this process' locked memory (proc(5), VmLck).
    @Test func isLockedWhereTheLimitAllows() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(8), &limit)  // RLIMIT_MEMLOCK
        try #require(limit.rlim_cur >= 1 << 20, "the limit on locked memory is too low here to try it")
        #expect(LockedBytes([1, 2, 3]).isLocked)
        #expect(LockedBytes(Array(repeating: 1, count: 5_000)).isLocked)
    }

    /// What is left of the limit is used to its last page. In a process of its own, since a limit can't be raised again.
    @Test func aSmallLimitIsUsedUp() async {
        await #expect(processExitsWith: .success) {
            // The limit is none for root.
            try #require(geteuid() != 0 || setuid(65534) == 0)
            let page = Int(getpagesize())
            var limit = rlimit(rlim_cur: rlim_t(2 * page), rlim_max: rlim_t(2 * page))
            try #require(setrlimit(__rlimit_resource_t(8), &limit) == 0)  // RLIMIT_MEMLOCK
            let keys = (0..<3 * page / 64).map { LockedBytes([UInt8(truncatingIfNeeded: $0)]) }
            #expect(keys.filter(\.isLocked).count == 2 * page / 64)
            #expect(keys.enumerated().allSatisfy { $1.exposed() == [UInt8(truncatingIfNeeded: $0)] })
            #expect(!LockedBytes(Array(repeating: 1, count: 65)).isLocked)
        }
    }
}
